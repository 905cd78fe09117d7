"""Disk images: what is no hole, block by block; mounts that end.

Source: lseek(2), SEEK_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents
from ovenbird.system.commands import run
from ovenbird.system.mount_namespaces import is_confined

TIMEOUT_S = 60.0


def extents(disk: Path) -> Iterator[tuple[int, int]]:
    """Yield (first byte, byte after the last) of all that is not a hole, rising."""
    with disk.open("rb") as file:
        yield from extents_between(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def extents_between(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what is no hole between two bytes of an open file, rising."""
    at = start
    while at < end:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only holes follow
            return
        if at < end:
            begun, at = at, min(os.lseek(descriptor, at, os.SEEK_HOLE), end)
            yield begun, at


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
    if not bind or Path(what).is_dir():
        where.mkdir(parents=True, exist_ok=True)
    if kind == "overlay" and is_confined():
        options += ",userxattr"  # its own marks, where nobody may set those of `trusted`
    argv = ["mount", *(["--bind"] if bind else []), *(["-t", kind] if kind else [])]
    argv += ["-o", options] if options else []
    run([*argv, str(what), str(where)], timeout_s=TIMEOUT_S)
    try:
        yield where
    finally:
        run(["umount", "--lazy", where], timeout_s=TIMEOUT_S)
