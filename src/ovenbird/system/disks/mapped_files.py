"""Files of a mounted image, read from the image's own bytes where the kernel says they lie.

The kernel tells each file's extents without reading its data; reading the data through a loop
device costs a switch to another thread for each file (measured on 2026-11-28 on a busy machine,
4,000 files: 2.5 s).

Source: kernel documentation, filesystems/fiemap.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC = 1
MOST = 64  # extents; a file with more is read as any other
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQQQIIII")
_LAST, _MERGED = 0x1, 0x1000  # all other flags say that the bytes are not simply there


def read(path: Path, image: int) -> bytes:
    """Return a file's bytes.

    Args:
        path: In a file system that is mounted.
        image: Open file that holds this file system from its first byte on.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        spans = _spans(file.fileno(), size)
        if spans is None:
            return file.readall()
    data = bytearray(size)
    for logical, physical, length in spans:
        piece = os.pread(image, min(length, size - logical), physical)
        data[logical : logical + len(piece)] = piece
    return bytes(data)


def _spans(descriptor: int, size: int) -> list[tuple[int, int, int]] | None:
    """Return (first byte in the file, first byte in the image, length); None: read it."""
    if not size:
        return []
    asked = bytearray(
        _HEAD.pack(0, size, FIEMAP_FLAG_SYNC, 0, MOST, 0) + bytes(_EXTENT.size * MOST)
    )
    try:
        fcntl.ioctl(descriptor, FS_IOC_FIEMAP, asked)
    except OSError:  # of FUSE, or of a file system that does not tell
        return None
    count = _HEAD.unpack_from(asked)[3]
    found = [_EXTENT.unpack_from(asked, _HEAD.size + _EXTENT.size * n) for n in range(count)]
    if count == MOST or any(one[5] & ~(_LAST | _MERGED) for one in found):
        return None
    return [(one[0], one[1], one[2]) for one in found if one[0] < size]
