"""Bakes without root: an ordinary account makes the same bits that root makes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ovenbird.config.settings import cache_home
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.sandbox import base_images
from ovenbird.system.directory_storage import DirectoryStorage
from tests.boot import ordinary_users
from tests.boot.conftest import until
from tests.unit.packaging.repositories import built

pytestmark = pytest.mark.boot
AT = datetime(2026, 1, 1, tzinfo=UTC)
BAKE = """
import hashlib, json, os, sys, time
from pathlib import Path
from typing import Any
from ovenbird.domain.blocks import checksum, disk_digest
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.images import PackagePin
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.system.rooms.rootless import workshop_here

disk, home, state, pin, lines = sys.argv[1:]
workshop = workshop_here(Path(home, "bakes"), cache=Path(home, "apt"))
repository = RepositoryState(**json.loads(state))
said = []
try:
    opened = workshop.open(Path(disk), key="a" * 64, repository=repository, progress=said.append)
    with opened as room:
        room.perform(RecipeStep(work=Shell(lines=tuple(json.loads(lines)))), directory=None)
        room.install([PackagePin(**json.loads(pin))])
        room.clean()
        room.check()
        blocks = room.changed_blocks()
        files = {one.path: [one.mode, one.uid, one.digest_sha256] for one in room.contents().files}
        digest = disk_digest({index: checksum(block) for index, block in blocks.items()})
        base = hashlib.sha256(repr(workshop.contents(Path(disk))).encode()).hexdigest()
        print(json.dumps({"uid": os.geteuid(), "blocks": len(blocks), "digest": digest,
                          "base": base, "total": room.total_blocks(), "files": files,
                          "said": said}))
except OvenbirdError as error:
    print(json.dumps(error.to_json() | {"said": said}))
"""
LINES = [
    "useradd --system hello",
    "mkdir -p /opt/tree && echo data > /opt/tree/data && ln /opt/tree/data /opt/tree/same",
    "chown 33:33 /opt/tree/data && chmod 4751 /opt/tree/data && mkfifo /opt/pipe",
    "cp /bin/true /opt/low && setcap cap_net_bind_service=+ep /opt/low",
    "rm -rf /etc/apt/apt.conf.d && mkdir /etc/apt/apt.conf.d && rm /etc/motd",
    "ln -s nowhere /opt/link && id -u > /opt/whoami",
]


class Bench:
    """A base disk and a repository that anybody may read, and the program that bakes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.disk = home / "base.raw"
        disk = base_images.ensure_base_disk(cache_home(), print)
        subprocess.run(["cp", "--sparse=always", disk, self.disk], check=True)  # noqa: S603, S607
        self.disk.chmod(0o444)
        package = built(home / "hello", "hello")
        storage, key = DirectoryStorage(home / "repository"), SigningKey(home / "keys")
        repository = PackageRepository(storage, name="main", signer=key)
        state = repository.publish([package], channel="candidate", at=AT)
        public = home / "key.gpg"
        shutil.copyfile(state.key_path, public)
        self.pin = {
            "name": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "digest_sha256": package.digest_sha256,
        }
        self.state = asdict(state) | {"key_path": str(public)}

    def line(self, place: Path, lines: list[str]) -> list[str | Path]:
        words = [json.dumps(one) for one in (self.state, self.pin, lines)]
        return [sys.executable, "-c", BAKE, self.disk, place, *words]

    def as_root(self, lines: list[str]) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603 - our own program
            self.line(self.home / "roots", lines), capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, timeout=300,
        )  # fmt: skip
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def as_ordinary(self, lines: list[str], **how: bool) -> dict[str, Any]:
        done = ordinary_users.run(self.home, self.line(self.home / "own", lines), **how)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ordinary_users.home() as home:
        yield Bench(home)


def test_an_ordinary_account_makes_the_bits_that_root_makes(bench: Bench) -> None:
    roots, own = bench.as_root(LINES), bench.as_ordinary(LINES)

    assert "error" not in roots, roots
    assert "error" not in own, own
    assert (roots["uid"], own["uid"]) == (0, ordinary_users.ID)
    assert own["files"] == roots["files"]
    assert own["base"] == roots["base"]  # read by `contents`, beside the room
    assert (own["digest"], own["blocks"], own["total"]) == tuple(
        roots[name] for name in ("digest", "blocks", "total")
    )


def test_a_failing_step_is_told_and_nothing_is_left(bench: Bench) -> None:
    found = bench.as_ordinary(["echo once", "exit 7"])

    assert found["error"] == "CommandFailed"
    assert "exited with status 7" in str(found["message"])
    assert "once" in found["said"]
    assert not (bench.home / "own/bakes" / ("a" * 16)).exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [({"ids": False}, "ids for `ovenbird-baker` in `/etc/subuid`"), ({"fuse": False}, "/dev/fuse")],
)
def test_what_is_missing_is_named(bench: Bench, how: dict[str, bool], words: str) -> None:
    found = bench.as_ordinary([], **how)

    assert found["error"] == "InvalidRequest"
    assert words in str(found["message"])


def test_a_kill_takes_the_room_along(bench: Bench) -> None:
    mark = f"6{os.getpid()}"
    argv = ordinary_users.line(bench.home, bench.line(bench.home / "own", [f"sleep {mark}"]))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(argv, env=env) as process:  # noqa: S603 - our own program
        try:
            until(lambda: running(f"sleep {mark}", "sleep"), within_s=60)
        finally:
            process.send_signal(signal.SIGKILL)
    until(lambda: not running(mark, "") and not running(str(bench.disk), "fuse2fs"), within_s=10)

    assert "error" not in bench.as_ordinary([])


def running(words: str, program: str) -> bool:
    """Tell whether a program runs whose line has these words."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended
        if words in line and line.startswith(program):
            return True
    return False
