from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents, disk_digest
from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.disks import DiskBlocks, extents, root_partition

ROOT = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"


def disk(path: Path, table: list[tuple[str, int, int]]) -> Path:
    """Write a disk with these (type, first sector, last sector)."""
    entries = b"".join(
        uuid.UUID(kind).bytes_le + bytes(16) + struct.pack("<QQ", first, last) + bytes(80)
        for kind, first, last in table
    )
    header = b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 128, 128)
    with path.open("wb") as file:
        file.truncate(8 * BLOCK_BYTES)
        file.seek(512)
        file.write(header)
        file.seek(1024)
        file.write(entries.ljust(128 * 128, b"\0"))
    return path


def test_the_root_partition_is_the_largest_one_for_linux(tmp_path: Path) -> None:
    path = disk(tmp_path / "d.raw", [(ESP, 2048, 9000), (ROOT, 34, 40), (ROOT, 100, 299)])

    found = root_partition(path)

    assert (found.kind, found.offset, found.size) == (ROOT, 100 * 512, 200 * 512)


def test_a_disk_without_linux_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=ESP):
        root_partition(disk(tmp_path / "d.raw", [(ESP, 2048, 9000)]))


def test_a_file_that_is_no_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(4096))

    with pytest.raises(InvalidRequest, match="no GUID partition table"):
        root_partition(tmp_path / "x")


def test_holes_are_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(6 * BLOCK_BYTES)
        file.seek(3 * BLOCK_BYTES + 5)
        file.write(b"x")

    blocks = DiskBlocks(path)

    assert list(blocks) == [3]
    assert (blocks[3][5:6], len(blocks[3])) == (b"x", BLOCK_BYTES)
    assert next(iter(extents(path)))[0] >= 3 * BLOCK_BYTES


@given(st.lists(st.integers(1, 3 * BLOCK_BYTES), max_size=12))
def test_blocks_of_extents_rise_and_cover_every_byte(steps: list[int]) -> None:
    edges = [sum(steps[:i]) for i in range(1, len(steps) + 1)]
    spans = list(zip(edges[::2], edges[1::2], strict=False))

    indexes = list(blocks_of_extents(spans))

    assert indexes == sorted(set(indexes))
    wanted = {b for start, end in spans for b in {start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES}}
    assert wanted <= set(indexes)


def test_a_disks_digest_depends_on_places_and_bytes() -> None:
    assert disk_digest({1: "a", 2: "b"}) == disk_digest({2: "b", 1: "a"})
    assert disk_digest({1: "a"}) != disk_digest({2: "a"})
    assert disk_digest({1: "a"}) != disk_digest({1: "b"})
