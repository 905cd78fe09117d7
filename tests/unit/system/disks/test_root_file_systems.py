from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.commands import run
from ovenbird.system.disks.root_file_systems import Kind, find_root
from tests.unit.system.disks.test_partitions import ESP, ROOT, gpt, mbr, written

DATA = "0fc63daf-8483-4772-8e79-3d69d8477de4"
LVM = "e6d6d379-f507-44c2-a23c-238f2a3df928"
AT = 2048 * 512  # where the partition begins
MIB = 2**20


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ext4") / "fs"
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", path], timeout_s=30)
    return path.read_bytes()


def on_gpt(path: Path, data: bytes, *, size: int = 16 * MIB, kind: str = ROOT) -> Path:
    disk = gpt(path, [(kind, 2048, 2047 + size // 512)], sectors=2048 + size // 512)
    with disk.open("r+b") as file:
        file.seek(AT)
        file.write(data)
    return disk


def test_an_ext4_is_found_in_a_gpt_an_mbr_and_on_a_whole_disk(tmp_path: Path, ext4: bytes) -> None:
    sectors = 2048 + len(ext4) // 512
    record = mbr((0x82, 64, 100), (0x83, 2048, len(ext4) // 512))
    disks = {
        AT: on_gpt(tmp_path / "gpt.raw", ext4),
        AT + 0: written(tmp_path / "mbr.raw", {0: record, AT: ext4}, sectors=sectors),
        0: written(tmp_path / "whole.raw", {0: ext4}, sectors=len(ext4) // 512),
    }

    for offset, disk in disks.items():
        root = find_root(disk)
        assert (root.kind, root.offset, root.size) == (Kind.EXT4, offset, len(ext4))
        assert not root.needs_replay


def test_a_root_type_wins_over_a_larger_one_for_data(tmp_path: Path, ext4: bytes) -> None:
    end = 2047 + len(ext4) // 512
    table = [(DATA, end + 1, end + 100_000), (ROOT, 34, 40), (ROOT, 2048, end)]
    disk = gpt(tmp_path / "d.raw", table, sectors=end + 200_000)
    with disk.open("r+b") as file:
        file.seek(AT)
        file.write(ext4)

    assert find_root(disk).offset == AT


@pytest.mark.parametrize(
    ("at", "mark", "word"),
    [
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0x218, b"LVM2 001", "LVM"),
        (4086, b"SWAPSPACE2", "swap"),
        (0, b"hsqs", "squashfs"),
    ],
)
def test_what_no_direct_bake_knows_is_named_with_the_way_out(
    tmp_path: Path, at: int, mark: bytes, word: str
) -> None:
    disk = on_gpt(tmp_path / "d.raw", bytes(at) + mark, kind=LVM if word == "LVM" else ROOT)

    with pytest.raises(InvalidRequest, match=f"{word}.*ext4, xfs, btrfs") as caught:
        find_root(disk)

    assert "`instance`" in caught.value.hint


@pytest.mark.parametrize(
    ("at", "mark", "kind"), [(0, b"XFSB", Kind.XFS), (0x10040, b"_BHRfS_M", Kind.BTRFS)]
)
def test_xfs_and_btrfs_are_recognised(tmp_path: Path, at: int, mark: bytes, kind: Kind) -> None:
    assert find_root(on_gpt(tmp_path / "d.raw", bytes(at) + mark)).kind is kind


def test_a_disk_without_linux_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=ESP):
        find_root(gpt(tmp_path / "d.raw", [(ESP, 2048, 4000)]))


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"root partition of `d\.raw` is empty"):
        find_root(on_gpt(tmp_path / "d.raw", b""))
    with pytest.raises(InvalidRequest, match=r"disk of `e\.raw` is empty"):
        find_root(written(tmp_path / "e.raw", {}))
    with pytest.raises(InvalidRequest, match="no known file system"):
        find_root(written(tmp_path / "f.raw", {0: b"hello"}))


def changed(ext4: bytes, at: int, data: bytes) -> bytes:
    return ext4[: 1024 + at] + data + ext4[1024 + at + len(data) :]


def test_a_damaged_superblock_is_told_from_its_backup(tmp_path: Path, ext4: bytes) -> None:
    for number, broken in enumerate([changed(ext4, 0, bytes(1024)), changed(ext4, 24, b"\xff")]):
        with pytest.raises(InvalidRequest, match=r"superblock of .* is damaged") as caught:
            find_root(on_gpt(tmp_path / f"{number}.raw", broken))
        assert "e2fsck" in caught.value.hint


def test_a_file_system_larger_than_its_partition_is_cut_short(tmp_path: Path, ext4: bytes) -> None:
    with pytest.raises(InvalidRequest, match="cut short: it has 16777216 bytes"):
        find_root(on_gpt(tmp_path / "d.raw", ext4[: 12 * MIB], size=12 * MIB))


def test_known_errors_are_refused_before_the_bake(tmp_path: Path, ext4: bytes) -> None:
    with pytest.raises(InvalidRequest, match="has errors"):
        find_root(on_gpt(tmp_path / "d.raw", changed(ext4, 58, struct.pack("<H", 3))))


def test_a_journal_to_be_replayed_is_seen(tmp_path: Path, ext4: bytes) -> None:
    (features,) = struct.unpack_from("<I", ext4, 1024 + 96)
    marked = changed(ext4, 96, struct.pack("<I", features | 4))

    assert find_root(on_gpt(tmp_path / "d.raw", marked)).needs_replay
