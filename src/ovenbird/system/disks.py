"""Disk images: partitions, holes, loop mounts.

The partition table is read here: some kernels show no partitions of loop devices.

Source: UEFI specification 2.10, 5.3 (GUID Partition Table); Discoverable Partitions
Specification (types of root partitions); lseek(2), SEEK_DATA.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents
from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.commands import run

SECTOR_BYTES = 512
TIMEOUT_S = 60.0
LINUX_TYPES = frozenset(
    {
        "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",  # root, x86-64
        "b921b045-1df0-41c3-af44-4c6f280d3fae",  # root, ARM 64
        "0fc63daf-8483-4772-8e79-3d69d8477de4",  # Linux file system data
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition.

    Args:
        kind: GUID of its type, lower case.
        offset: Bytes from the disk's begin.
        size: Bytes.
    """

    kind: str
    offset: int
    size: int


def partitions(disk: Path) -> tuple[Partition, ...]:
    """Read a disk's GUID partition table.

    Raises:
        InvalidRequest: The disk has none.
    """
    with disk.open("rb") as file:
        file.seek(SECTOR_BYTES)
        header = file.read(92)
        if header[:8] != b"EFI PART":
            raise InvalidRequest(f"`{disk.name}` has no GUID partition table")
        first, count, size = struct.unpack_from("<QII", header, 72)
        file.seek(first * SECTOR_BYTES)
        entries = [file.read(size) for _ in range(min(count, 128))]
    found = []
    for entry in entries:
        kind = uuid.UUID(bytes_le=entry[:16])
        start, end = struct.unpack_from("<QQ", entry, 32)
        if kind.int:
            found.append(
                Partition(
                    kind=str(kind),
                    offset=start * SECTOR_BYTES,
                    size=(end - start + 1) * SECTOR_BYTES,
                )
            )
    return tuple(found)


def root_partition(disk: Path) -> Partition:
    """Return the partition that holds the root file system: the largest one for Linux.

    Raises:
        InvalidRequest: There is none.
    """
    found = partitions(disk)
    linux = [partition for partition in found if partition.kind in LINUX_TYPES]
    if not linux:
        kinds = ", ".join(partition.kind for partition in found)
        raise InvalidRequest(f"`{disk.name}` has no Linux partition, only {kinds or 'none'}")
    return max(linux, key=lambda partition: partition.size)


def extents(disk: Path) -> Iterator[tuple[int, int]]:
    """Yield (first byte, byte after the last) of all that is not a hole, rising."""
    with disk.open("rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: only holes follow
                return
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            yield start, at


class DiskBlocks(Mapping[int, bytes]):
    """A disk's blocks that are no holes, read when they are asked for."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._indexes = tuple(blocks_of_extents(extents(disk)))

    def __getitem__(self, index: int) -> bytes:
        with self._disk.open("rb") as file:
            return os.pread(file.fileno(), BLOCK_BYTES, index * BLOCK_BYTES)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indexes)

    def __len__(self) -> int:
        return len(self._indexes)


def clone(disk: Path, target: Path) -> None:
    """Copy a disk; shared blocks where the file system can, otherwise only what is no hole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "--reflink=auto", "--sparse=always", disk, target], timeout_s=600)


@contextmanager
def mounted(
    what: str | Path, where: Path, *, kind: str = "", options: str = "", bind: bool = False
) -> Iterator[Path]:
    """Mount something for as long as the block runs.

    Args:
        what: Device, file, directory (to bind) or a word (for ``tmpfs``).
        where: Directory; made when missing.
        kind: File system type; guessed by mount(8) when empty.
        options: As after ``-o``.
        bind: Show a directory or file in a second place.
    """
    if not (bind and Path(what).is_file()):
        where.mkdir(parents=True, exist_ok=True)
    argv = ["mount", *(["--bind"] if bind else []), *(["-t", kind] if kind else [])]
    argv += ["-o", options] if options else []
    run([*argv, str(what), str(where)], timeout_s=TIMEOUT_S)
    try:
        yield where
    finally:
        run(["umount", "--lazy", where], timeout_s=TIMEOUT_S)


@contextmanager
def mounted_root(disk: Path, where: Path) -> Iterator[Path]:
    """Mount a disk's root file system read-only, without replaying its journal."""
    offset = root_partition(disk).offset
    with mounted(disk, where, options=f"loop,ro,noload,offset={offset}") as root:
        yield root
