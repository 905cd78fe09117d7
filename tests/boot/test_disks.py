"""An image's root file system, out of the block store."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.config.settings import cache_home
from ovenbird.domain.errors import NotFound
from ovenbird.sandbox import base_images, leftovers
from ovenbird.sandbox.disks import IDLE_S, RootDisks, assemble
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import Places
from ovenbird.system.clock import SystemClock
from ovenbird.system.disks.root_file_systems import find_root

pytestmark = pytest.mark.boot


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(home=tmp_path, cache=tmp_path)


@pytest.fixture
def disks(places: Places) -> Iterator[RootDisks]:
    found = RootDisks(places)
    yield found
    found.close()


@pytest.fixture
def snapshot_id(endpoint: Endpoint, tmp_path: Path) -> str:
    disk = base_images.ensure_base_disk(cache_home(), print)
    account = endpoint.development
    snapshots = EbsSnapshots(account, cache=tmp_path / "downloads", clock=SystemClock())
    image_id = base_images.register(disk, account=account, snapshots=snapshots)
    (image,) = account.ec2.describe_images(ImageIds=[image_id])["Images"]
    return image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]


def mounts(places: Places) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if f" {places.disks}/" in line]


def test_a_snapshot_is_mounted_once_and_read_only(
    disks: RootDisks, places: Places, snapshot_id: str
) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda n: disks.lower("ami-1", snapshot_id, user=f"i-{n}"), range(4)))

    (root,) = found
    assert (root / "etc/debian_version").read_text().startswith("12")
    assert len(mounts(places)) == 1
    with pytest.raises(OSError, match="Read-only"):
        (root / "new").touch()

    disks.close()

    assert mounts(places) == []


def test_a_disk_that_nobody_uses_goes_and_comes_again(places: Places, snapshot_id: str) -> None:
    now = 0.0
    disks = RootDisks(places, clock=lambda: now)
    for user in ("i-1", "i-2"):
        disks.lower("ami-1", snapshot_id, user=user)
    disks.release(snapshot_id, user="i-1")
    now = 1000.0
    disks.drop_idle()
    assert len(mounts(places)) == 1  # i-2 has it

    disks.release(snapshot_id, user="i-2")
    disks.drop_idle()
    assert len(mounts(places)) == 1  # not for long enough

    now += IDLE_S
    disks.drop_idle()
    assert mounts(places) == []
    assert list(places.disks.glob("*.raw")) == []
    root = disks.lower("ami-1", snapshot_id, user="i-3")
    assert (root / "etc/debian_version").exists()
    disks.close()


def test_what_a_crash_left_mounted_is_swept(places: Places, snapshot_id: str) -> None:
    disk, where = places.disks / f"{snapshot_id}.raw", places.disks / snapshot_id
    where.mkdir(parents=True)
    assemble("ami-1", snapshot_id, disk)
    options = f"loop,ro,noload,offset={find_root(disk).offset}"
    subprocess.run(["mount", "-o", options, disk, where], check=True)  # noqa: S603, S607 - fixed
    assert len(mounts(places)) == 1

    assert leftovers.sweep(places)[0].startswith("mount ")

    assert mounts(places) == []
    assert leftovers.loops_below(places.home) == ()


def test_a_snapshot_without_blocks_is_refused(disks: RootDisks, endpoint: Endpoint) -> None:
    with pytest.raises(NotFound, match="has no blocks"):
        disks.lower("ami-1", "snap-00000000", user="i-1")
