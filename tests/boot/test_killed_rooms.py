"""A process that is killed with a room open leaves no mount, no loop device and no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovenbird.config.settings import cache_home
from ovenbird.sandbox import base_images
from ovenbird.system.rooms import base_roots
from tests.boot.conftest import until
from tests.boot.small_disks import baked, change, made, tree

pytestmark = pytest.mark.boot
ROOM = """
import subprocess, sys
from pathlib import Path
from ovenbird.system.rooms import base_roots
with base_roots.opened(Path(sys.argv[1]), Path(sys.argv[2])) as base:
    line = ["sh", "-c", "sleep 4321 & echo inside; sleep 4321"]
    subprocess.run(base_roots.inside(base.root, line))
"""


@pytest.fixture(scope="module")
def disk() -> Path:
    return base_images.ensure_base_disk(cache_home(), print)


@pytest.fixture
def room(disk: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a room open, in which a command runs that never ends."""
    line = [sys.executable, "-c", ROOM, str(disk), str(tmp_path / "place")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=env) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"inside\n"
            yield process
        finally:
            process.kill()


def left(place: Path) -> list[str]:
    """Return what of a room is left, anywhere on this host."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            mounts = (process / "mounts").read_text()
        except OSError:
            continue  # it ended
        if "sleep 4321" in line and str(place) in mounts:
            found.append(line)
        found += [line for line in mounts.splitlines() if str(place) in line]
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return found + [f"{file}" for file in files if str(place) in file.read_text()]


def test_what_is_mounted_in_a_room_is_seen_by_nobody_else(
    room: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    seen = Path(f"/proc/{room.pid}/mounts").read_text()

    assert str(tmp_path / "place/root") in seen
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_a_kill_takes_mounts_and_commands_along(
    room: subprocess.Popen[bytes], disk: Path, tmp_path: Path
) -> None:
    assert left(tmp_path / "place")

    os.kill(room.pid, signal.SIGKILL)
    room.wait()

    until(lambda: left(tmp_path / "place") == [], within_s=10)
    assert (tmp_path / "place").exists()  # directories alone; the next room takes them away
    with base_roots.opened(disk, tmp_path / "place") as base:
        assert (base.root / "etc/debian_version").exists()
    assert not (tmp_path / "place").exists()


def test_rooms_in_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    small = made(tmp_path / "d.raw", "ext4", tree)
    here = Path.cwd()

    def bake(number: int) -> tuple[dict[int, bytes], Path]:
        return baked(small, tmp_path / f"place-{number}", change).blocks, Path.cwd()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(bake, range(4)))

    assert all(blocks == results[0][0] for blocks, _ in results)
    assert {cwd for _, cwd in results} == {here}
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
