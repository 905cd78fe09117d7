from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents, disk_digest
from ovenbird.system.disks.disks import DiskBlocks, extents


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
