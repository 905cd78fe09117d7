"""Blocks: a disk as EBS sees it, in pieces of 512 KiB.

Source: EBS direct APIs, "Learn the basics": 524,288 bytes is the only block size; the
aggregate checksum of CompleteSnapshot is the digest of the blocks' digests in order (LINEAR).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping

BLOCK_BYTES = 524_288
GIB_BLOCKS = 2**30 // BLOCK_BYTES
ZERO_BLOCK = bytes(BLOCK_BYTES)


def checksum(block: bytes) -> str:
    """Return a block's SHA-256 as EBS writes it, in base64."""
    return base64.b64encode(hashlib.sha256(block).digest()).decode()


def linear_checksum(checksums: Mapping[int, str]) -> str:
    """Return the aggregate checksum of uploaded blocks.

    Args:
        checksums: Index → base64 SHA-256 of the block.
    """
    digests = (base64.b64decode(checksums[index]) for index in sorted(checksums))
    return base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()


def blocks_of_extents(extents: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield the index of each block that an extent touches, rising, each once.

    Args:
        extents: (first byte, byte after the last), rising and apart.
    """
    done = -1
    for start, end in extents:
        for index in range(max(start // BLOCK_BYTES, done + 1), -(-end // BLOCK_BYTES)):
            done = index
            yield index


def disk_digest(checksums: Mapping[int, str]) -> str:
    """Return one digest for a disk that differs from its base in these blocks, lowercase hex.

    Args:
        checksums: Index → base64 SHA-256 of the block.
    """
    digest = hashlib.sha256()
    for index in sorted(checksums):
        digest.update(f"{index}:{checksums[index]}\n".encode())
    return digest.hexdigest()
