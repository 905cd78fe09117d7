"""Root file systems of each kind, changed for real: ext4 with and without a journal to replay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.errors import CommandFailed, InvalidRequest, OvenbirdError
from ovenbird.system.disks import clones, layers, mapped_files, root_file_systems
from ovenbird.system.disks.disks import mounted
from ovenbird.system.disks.root_file_systems import find_root, mounted_root
from ovenbird.system.rooms import base_roots
from tests.boot.small_disks import (
    AT,
    MIB,
    applied,
    baked,
    change,
    listed,
    made,
    run,
    tree,
    with_blocks,
)

pytestmark = pytest.mark.boot
EXACT = ["ext4", "small"]  # the second has blocks of 1 KiB
LESS_EXACT = ["xfs", "btrfs"]


@pytest.fixture(scope="module", params=[*EXACT, *LESS_EXACT])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind: str = request.param
    return made(tmp_path_factory.mktemp(kind) / f"{kind}.raw", kind, tree)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in run("losetup", "--list", "--noheadings", "--output", "BACK-FILE")


def test_what_was_changed_is_in_the_image(disk: Path, tmp_path: Path) -> None:
    before = disk.read_bytes()
    with base_roots.opened(disk, tmp_path / "place") as base:
        change(base.root)
        wanted = listed(base.root)
        result = applied(base)

    image = with_blocks(disk, result.blocks, tmp_path / "image.raw")
    with mounted_root(image, tmp_path / "root") as root:
        assert listed(root) == wanted
    assert disk.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"place.lock", "image.raw", "root"}
    is_exact = disk.stem in EXACT
    assert ("less exact" in " ".join(result.notes)) is not is_exact
    again = baked(disk, tmp_path / "place", change)
    assert (again.blocks == result.blocks) is is_exact


def test_nothing_changed_is_no_block(tmp_path: Path) -> None:
    disk = made(tmp_path / "d.raw", "ext4", tree)

    assert baked(disk, tmp_path / "place", lambda root: None).blocks == {}


def in_use(path: Path, kind: str) -> Path:
    """Make a disk as a snapshot of a running machine has it: copied while it is mounted."""
    disk = made(path, kind, tree)
    live = path.with_suffix(".live")
    options = f"loop,offset={AT}"
    with mounted(disk, path.with_suffix(".mnt"), options=options) as root:
        for number in range(50):
            (root / f"etc/live-{number}").write_text(f"{number}\n" * 100)
        descriptor = os.open(root / "var/open", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x" * 100_000)
        (root / "var/open").unlink()  # an orphan: in use, without a name
        os.fsync(descriptor)
        run("sync", "-f", root)
        run("cp", "--sparse=always", disk, live)
        os.close(descriptor)
    live.rename(disk)
    return disk


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_journal_is_replayed_first_once_and_never_in_the_base(tmp_path: Path, kind: str) -> None:
    disk = in_use(tmp_path / f"{kind}.raw", kind)
    before = disk.read_bytes()
    assert find_root(disk).needs_replay is (kind == "ext4")  # XFS is asked by mounting it

    first = baked(disk, tmp_path / "place", change)
    kept = list((tmp_path / "replayed").glob("*.raw"))
    made_at = kept[0].stat().st_mtime_ns
    second = baked(disk, tmp_path / "place", change)

    assert disk.read_bytes() == before
    assert kept[0].stat().st_mtime_ns == made_at
    assert (first.blocks == second.blocks) is (kind == "ext4")
    image = with_blocks(disk, first.blocks, tmp_path / "image.raw")
    assert not find_root(image).needs_replay
    if kind == "ext4":
        run("e2fsck", "-fn", f"{image}?offset={AT}")
    with mounted_root(image, tmp_path / "root") as root:
        assert (root / "etc/live-49").read_text() == "49\n" * 100
        assert (root / "etc/hostname").read_text() == "baked\n"


def test_nearly_all_of_a_file_system_may_be_written(tmp_path: Path) -> None:
    disk = made(tmp_path / "disk.raw", "ext4", tree)
    with base_roots.opened(disk, tmp_path / "place", bounded=True) as base:
        (base.root / "usr/large").write_bytes(os.urandom(20 * MIB))

        assert len(applied(base).blocks) >= 20 * MIB // BLOCK_BYTES


def test_replaying_gives_the_same_bytes_on_another_day(tmp_path: Path) -> None:
    disk = in_use(tmp_path / "d.raw", "ext4")
    results = []
    for _ in range(2):
        results.append(baked(disk, tmp_path / "place", change).blocks)
        for path in (tmp_path / "replayed").iterdir():
            path.unlink()

    assert results[0] == results[1]


def test_a_journal_that_cannot_be_replayed_is_said_so(tmp_path: Path) -> None:
    disk = in_use(tmp_path / "d.raw", "ext4")
    with disk.open("r+b") as file:
        file.seek(AT + 4096)  # the block groups' descriptors
        file.write(b"\xff" * 1024)

    with pytest.raises(InvalidRequest, match="cannot be replayed"):
        baked(disk, tmp_path / "place", change)

    assert not list((tmp_path / "replayed").glob("*.raw"))


@pytest.mark.parametrize("way", ["outline", "copy", "qcow2"])
def test_each_way_to_clone_gives_the_same_blocks(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = made(tmp_path / "d.raw", "ext4", tree, garbage=b"garbage!" * 512)
    wanted = baked(disk, tmp_path / "place", change).blocks
    if way != "outline":
        monkeypatch.setattr(clones, "_holes_are_fine", lambda directory: False)
    if way == "qcow2":
        monkeypatch.setattr(clones, "LARGE_BYTES", 0)
    ways = []
    with base_roots.opened(disk, tmp_path / "place") as base:
        change(base.root)
        with clones.cloned(
            base.file_system, origin=base.origin, scratch=base.scratch, place=base.place
        ) as clone:
            ways.append(clone.kind)
        found = applied(base).blocks

    assert ways == [way]
    assert found == wanted


def test_blocks_are_shared_where_the_host_can(tmp_path: Path) -> None:
    host = tmp_path / "host.raw"
    with host.open("wb") as file:
        file.truncate(600 << 20)
    run("mkfs.xfs", "-q", host)
    with mounted(host, tmp_path / "host", options="loop") as shared:
        disk = made(shared / "d.raw", "ext4", tree)
        root = find_root(disk)
        before = os.statvfs(shared).f_bfree
        with clones.copied(root, shared / "copy.raw") as copy:
            os.sync()
            taken = (before - os.statvfs(shared).f_bfree) * os.statvfs(shared).f_bsize
            assert taken < 1 << 20
            with mounted_root(copy.disk, tmp_path / "root") as made_root:
                assert (made_root / "etc/hostname").read_text() == "base\n"


def test_too_little_space_says_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = made(tmp_path / "d.raw", "ext4", tree)
    monkeypatch.setattr(clones, "_holes_are_fine", lambda directory: False)
    monkeypatch.setattr(clones, "SPARE_BYTES", 2**60)
    monkeypatch.setattr(layers, "missing", lambda: "`qemu-img`")

    with pytest.raises(OvenbirdError, match=r"needs \d+ bytes below .* \d+ are free") as caught:
        baked(disk, tmp_path / "place", change)

    assert "`qemu-img`" in caught.value.hint


def test_a_damaged_file_system_is_no_image(tmp_path: Path) -> None:
    disk = made(tmp_path / "d.raw", "ext4", tree)
    with base_roots.opened(disk, tmp_path / "place") as base:
        change(base.root)
        with disk.open("r+b") as file:  # a block bitmap goes under the bake's feet
            told = run("dumpe2fs", f"{disk}?offset={AT}")
            block = int(told.split("Block bitmap at ")[1].split(" ")[0])
            file.seek(AT + block * 4096)
            file.write(b"\xff" * 1024)
        with pytest.raises(CommandFailed):
            applied(base)


def test_without_loop_devices_the_bits_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = made(tmp_path / "d.raw", "ext4", tree)
    wanted = baked(disk, tmp_path / "place", change).blocks
    monkeypatch.setattr(root_file_systems, "LOOPS", tmp_path / "none")

    assert baked(disk, tmp_path / "place", change).blocks == wanted


def test_without_loop_devices_xfs_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = made(tmp_path / "d.raw", "xfs", tree)
    monkeypatch.setattr(root_file_systems, "LOOPS", tmp_path / "none")

    with pytest.raises(InvalidRequest, match="without loop devices needs an ext4 root") as caught:
        baked(disk, tmp_path / "place", change)

    assert "module `loop`" in caught.value.hint


def test_mapped_files_are_read_as_the_kernel_reads_them(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "empty").touch()
        (root / "small").write_bytes(b"small")
        (root / "large").write_bytes(os.urandom(3_000_001))
        with (root / "sparse").open("wb") as file:
            for at in range(0, 100 * 8192, 8192):  # more extents than are asked for at once
                os.pwrite(file.fileno(), b"data", at)
            file.truncate(1_000_000)
        with (root / "holes").open("wb") as file:
            os.pwrite(file.fileno(), b"end", 50_000)
        descriptor = os.open(root / "reserved", os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(descriptor, 0, 40_000)
        os.close(descriptor)

    disk = made(tmp_path / "d.raw", "ext4", fill, garbage=b"garbage!" * 512)
    root = find_root(disk)
    with (
        clones.copied(root, tmp_path / "part") as part,
        part.disk.open("rb") as image,
        mounted_root(part.disk, tmp_path / "root") as found,
    ):
        for path in sorted(path for path in found.iterdir() if path.is_file()):
            assert mapped_files.read(path, image.fileno()) == path.read_bytes(), path.name
