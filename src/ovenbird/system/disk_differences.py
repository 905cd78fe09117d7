"""Two disks side by side, block by block; only where one of them has data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents
from ovenbird.system.disks import extents


def differing_blocks(first: Path, second: Path) -> Iterator[tuple[int, bytes]]:
    """Yield index and bytes of the blocks of the second disk that differ from the first's."""
    suspects = {*blocks_of_extents(extents(first)), *blocks_of_extents(extents(second))}
    with first.open("rb") as old, second.open("rb") as new:
        for index in sorted(suspects):
            at = index * BLOCK_BYTES
            block = os.pread(new.fileno(), BLOCK_BYTES, at)
            if block != os.pread(old.fileno(), BLOCK_BYTES, at):
                yield index, block
