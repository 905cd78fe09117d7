"""Partition tables, read from a disk's bytes: GPT, MBR, or none at all.

They are read here, not asked for: some kernels show no partitions of loop devices.

Source: UEFI specification 2.10, 5.2 (MBR) and 5.3 (GUID Partition Table); Discoverable
Partitions Specification (types of root partitions).
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ovenbird.domain.errors import InvalidRequest

SECTOR_BYTES = 512
MBR_SIGNATURE = b"\x55\xaa"
MOST_ENTRIES = 1024  # of a GPT; the usual number is 128
MOST_LOGICAL = 64  # partitions in an extended one; a chain that is longer goes in circles
ROOTS = frozenset(
    {
        "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",  # root, x86-64
        "b921b045-1df0-41c3-af44-4c6f280d3fae",  # root, ARM 64
    }
)
LINUX = frozenset(
    {
        "0fc63daf-8483-4772-8e79-3d69d8477de4",  # Linux file system data
        "e6d6d379-f507-44c2-a23c-238f2a3df928",  # LVM
        "ca7d7ccb-63ed-4c53-861c-1742536059cc",  # LUKS
        "83",  # MBR: Linux
        "8e",  # MBR: LVM
    }
)
_EXTENDED = frozenset({"05", "0f", "85"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition.

    Args:
        kind: Its type: a GUID in a GPT, two hex digits in an MBR, lower case; empty when
            the disk has no table and is one file system.
        offset: Bytes from the disk's begin.
        size: Bytes.
    """

    kind: str
    offset: int
    size: int


def partitions(disk: Path) -> tuple[Partition, ...]:
    """Read a disk's partition table; a disk without one has no partitions.

    Raises:
        InvalidRequest: The table is damaged, or the disk ends before a partition does.
    """
    with disk.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(SECTOR_BYTES)
        header = file.read(92).ljust(92, b"\0")
        if header[:8] == b"EFI PART":
            found = tuple(_gpt(file, header, disk.name))
        else:
            found = tuple(_mbr(file))
    for partition in found:
        if partition.offset + partition.size > size:
            raise InvalidRequest(
                f"`{disk.name}` is cut short: a partition ends at byte "
                f"{partition.offset + partition.size}, the disk at {size}",
                hint="Was the base image's volume or its download cut off?",
            )
    return found


def _gpt(file: BinaryIO, header: bytes, name: str) -> Iterator[Partition]:
    size, checksum = struct.unpack_from("<II", header, 12)
    first, count, width, entries_checksum = struct.unpack_from("<QIII", header, 72)
    file.seek(SECTOR_BYTES)
    bare = bytearray(file.read(size) if 92 <= size <= SECTOR_BYTES else b"")
    bare[16:20] = bytes(4)
    is_sane = zlib.crc32(bare) == checksum and count <= MOST_ENTRIES and 128 <= width <= 4096
    file.seek(first * SECTOR_BYTES if is_sane else 0)
    table = file.read(count * width) if is_sane else b""
    if not is_sane or zlib.crc32(table) != entries_checksum:
        raise InvalidRequest(
            f"`{name}` has a damaged GUID partition table",
            hint="Repair it with `sgdisk` or `gdisk`, or use another base image",
        )
    for at in range(0, count * width, width):
        kind = uuid.UUID(bytes_le=table[at : at + 16])
        start, end = struct.unpack_from("<QQ", table, at + 32)
        if kind.int:
            yield _partition(str(kind), start, end - start + 1)


def _mbr(file: BinaryIO) -> Iterator[Partition]:
    for kind, start, count in _mbr_entries(file, 0):
        if kind in _EXTENDED:
            yield from _logical(file, start)
        else:
            yield _partition(kind, start, count)


def _logical(file: BinaryIO, extended: int) -> Iterator[Partition]:
    """Follow an extended partition's chain: each link has a partition and the next link."""
    at = extended
    for _ in range(MOST_LOGICAL):
        following = 0
        for kind, start, count in _mbr_entries(file, at):
            if kind in _EXTENDED:
                following = extended + start if start else 0
            else:
                yield _partition(kind, at + start, count)
        if not following:
            return
        at = following


def _mbr_entries(file: BinaryIO, sector: int) -> Iterator[tuple[str, int, int]]:
    """Yield (type, first sector, sectors) of a boot record that is one."""
    file.seek(sector * SECTOR_BYTES)
    record = file.read(SECTOR_BYTES)
    entries = [record[446 + 16 * number :][:16] for number in range(4)]
    # A file system's boot sector ends in the same signature, with code for a table.
    if record[510:] != MBR_SIGNATURE or any(entry[0] not in (0, 0x80) for entry in entries):
        return
    for entry in entries:
        start, count = struct.unpack_from("<II", entry, 8)
        if entry[4] and count:
            yield f"{entry[4]:02x}", start, count


def _partition(kind: str, start: int, count: int) -> Partition:
    return Partition(kind=kind, offset=start * SECTOR_BYTES, size=count * SECTOR_BYTES)
