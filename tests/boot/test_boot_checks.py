"""Boot checks of real disks: one that serves, one whose app crashes, one that cannot boot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.config.settings import cache_home
from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.boot_checks import BootReport, Probe, why_unfit
from ovenbird.sandbox import base_images
from ovenbird.system.boots.boot_containers import ContainerBoots
from ovenbird.system.disks import overlays
from ovenbird.system.disks.disks import clone
from ovenbird.system.rooms import applying, base_roots
from tests.boot.conftest import until
from tests.unit.domain.test_provenance import BASE

pytestmark = pytest.mark.boot
PROBE = Probe(port=8000, path="/")
SERVES = "ExecStart=/usr/bin/python3 -m http.server 8000 --directory /usr/share/doc"
CRASHES = "ExecStart=/bin/sh -c 'echo no database; exit 3'"
UNIT = "[Service]\n{0}\n[Install]\nWantedBy=multi-user.target\n"
IS_KILLED = """
import sys
from pathlib import Path
from ovenbird.domain.boot_checks import Probe
from ovenbird.system.boots.boot_containers import ContainerBoots
from tests.unit.domain.test_provenance import BASE
disk, place = map(Path, sys.argv[1:])
ContainerBoots(place).boot(BASE, disk, probe=Probe(port=1), progress=print)
"""


def disk_of(tmp_path: Path, change: Callable[[Path], None]) -> Path:
    """Return a disk like the base image's, with a change of its root file system."""
    base = base_images.ensure_base_disk(cache_home(), print)
    disk = tmp_path / "disk.raw"
    clone(base, disk)
    with base_roots.opened(base, tmp_path / "made") as opened:
        change(opened.root)
        changed = overlays.changes(opened.upper, opened.lower)
        blocks = applying.apply(opened, changed).blocks
    with disk.open("r+b") as file:
        for index, block in blocks.items():
            os.pwrite(file.fileno(), block, index * BLOCK_BYTES)
    return disk


def service(*lines: str) -> Callable[[Path], None]:
    """Return a change that adds a service `web`, which starts at boot."""

    def add(root: Path) -> None:
        (root / "etc/systemd/system/web.service").write_text(UNIT.format("\n".join(lines)))
        wants = root / "etc/systemd/system/multi-user.target.wants"
        (wants / "web.service").symlink_to("/etc/systemd/system/web.service")

    return add


def without_init(root: Path) -> None:
    init = root / "usr/lib/systemd/systemd"
    init.unlink()
    init.write_text("#!/bin/sh\necho ovenbird-boot: running\nexit 1\n")
    init.chmod(0o755)


def boot(tmp_path: Path, disk: Path, *, within_s: float = 120) -> BootReport:
    boots = ContainerBoots(tmp_path / "boots", within_s=within_s)
    assert boots.missing(BASE) == ""
    return boots.boot(BASE, disk, probe=PROBE, progress=lambda _: None)


def left(tmp_path: Path) -> list[str]:
    """Return what the kernel still has of a check."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    groups = Path("/sys/fs/cgroup").glob("**/ovb-boot-*")
    inside = [path for path in tmp_path.glob("boots/*") if path.suffix != ".lock"]
    return [*(line for line in mounts if str(tmp_path) in line), *map(str, inside),
            *(str(one) for one in groups if (one / "cgroup.procs").read_text())]  # fmt: skip


def test_an_image_that_serves_is_fit(tmp_path: Path) -> None:
    disk = disk_of(tmp_path, service(SERVES))
    before = disk.stat().st_mtime_ns

    report = boot(tmp_path, disk)

    assert why_unfit(report, PROBE) == ""
    assert (report.status, report.ended) == (200, False)
    assert disk.stat().st_mtime_ns == before
    assert left(tmp_path) == []


def test_an_image_whose_app_crashes_is_not_fit_and_the_unit_is_named(tmp_path: Path) -> None:
    report = boot(tmp_path, disk_of(tmp_path, service(CRASHES, "Restart=always")))

    assert why_unfit(report, PROBE) == "`web.service` failed"
    assert report.last is not None
    assert [name for name, _ in report.last.restarted] == ["web.service"]
    assert "no database" in report.console
    assert left(tmp_path) == []


def test_an_image_that_cannot_boot_is_not_fit(tmp_path: Path) -> None:
    report = boot(tmp_path, disk_of(tmp_path, without_init))

    assert report.last is None
    assert why_unfit(report, PROBE).startswith("The guest ended without a word")
    assert left(tmp_path) == []


def test_a_check_that_is_killed_leaves_no_guest(tmp_path: Path) -> None:
    disk, place = disk_of(tmp_path, service(SERVES)), tmp_path / "boots"
    argv = [sys.executable, "-c", IS_KILLED, str(disk), str(place)]
    checking = subprocess.Popen(argv, cwd=Path(__file__).parents[2])  # noqa: S603 - our own

    def guests() -> list[int]:
        words = (path for path in Path("/proc").glob("[0-9]*/cmdline"))
        return [int(path.parent.name) for path in words if _says(path, str(place))]

    try:
        until(lambda: any(_says(Path(f"/proc/{pid}/cmdline"), "--boot") for pid in guests()))
    finally:
        os.kill(checking.pid, signal.SIGKILL)
        checking.wait()
    until(lambda: guests() == [])
    report = boot(tmp_path, disk)

    assert why_unfit(replace(report, seconds=0.0), PROBE) == ""
    assert left(tmp_path) == []


def _says(path: Path, word: str) -> bool:
    try:
        return word.encode() in path.read_bytes()
    except OSError:  # it went while we looked
        return False
