"""Two disks side by side, block by block; only where one of them has data."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents
from ovenbird.system.disks.disks import extents


def differing_blocks(
    first: Path | None, second: Path, *, among: Collection[int] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield index and bytes of the blocks of the second disk that differ from the first's.

    Args:
        first: May be smaller; it has zeros behind its end. None for zeros alone.
        second: In bytes a multiple of a block.
        among: Only these are compared, when it is known that no others differ.
    """
    disks = (second,) if first is None else (first, second)
    suspects = among
    if suspects is None:
        suspects = {index for disk in disks for index in blocks_of_extents(extents(disk))}
    with (first or Path(os.devnull)).open("rb") as old, second.open("rb") as new:
        for index in sorted(suspects):
            at = index * BLOCK_BYTES
            block = os.pread(new.fileno(), BLOCK_BYTES, at)
            if block != os.pread(old.fileno(), BLOCK_BYTES, at).ljust(BLOCK_BYTES, b"\0"):
                yield index, block
