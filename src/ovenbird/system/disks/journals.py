"""Journals that hold what their file system does not yet: of snapshots of running machines.

Nothing may be written to the base disk. Its root file system is copied once, the copy is
brought up to date under a fixed clock, and is used in the base's place from then on. What
that changes is part of what a bake changes: blocks are compared with the base disk's.

Source: e2fsck(8), measured on 2026-11-23: with `?offset=` it does not replay; mount(8), xfs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.system.clock import SystemClock
from ovenbird.system.commands import run
from ovenbird.system.disks.clones import copied
from ovenbird.system.disks.debugfs import FIXED_CLOCK
from ovenbird.system.disks.disk_cache import DiskCache
from ovenbird.system.disks.disks import DiskBlocks
from ovenbird.system.disks.root_file_systems import (
    Kind,
    RootFileSystem,
    find_root,
    mounted_file_system,
)

HEAD_BYTES = 4096  # superblocks: of XFS at 0, of ext4 at 1,024
KEPT_GIB = 20.0
TIMEOUT_S = 600.0
CORRECTED = frozenset({0, 1})  # 1: it did what it was asked for


@contextmanager
def replayed(root: RootFileSystem, *, place: Path) -> Iterator[RootFileSystem]:
    """Give a root file system with nothing left in its journal: itself, or a copy.

    The copy is kept beside the disk, for the next one who asks.

    Args:
        root: As it lies on the base disk.
        place: Directory for mounts; there already.

    Raises:
        InvalidRequest: The journal cannot be replayed.
        OvenbirdError: There is too little space for a copy.
    """
    if not _needs_replay(root, place):
        yield root
        return
    cache = DiskCache(root.disk.parent / "replayed", limit_gib=KEPT_GIB, clock=SystemClock())
    kept = cache.get(_kept_name(root), lambda part: _replay(root, part, place))
    yield find_root(kept)
    del cache  # it holds the copy until here


def _needs_replay(root: RootFileSystem, place: Path) -> bool:
    """Ask ext4's superblock, or the kernel, which mounts no other journal read-only."""
    if root.kind is Kind.EXT4:
        return root.needs_replay
    try:
        with mounted_file_system(root, place / "asked", replaying=True):
            return False
    except CommandFailed:
        with mounted_file_system(root, place / "asked"):  # otherwise it is not the journal
            return True


def _kept_name(root: RootFileSystem) -> str:
    """Return a name for the copy; another file system under one disk's name has another."""
    with root.disk.open("rb") as file:
        head = os.pread(file.fileno(), HEAD_BYTES, root.offset)
    return f"{root.disk.stem}-{hashlib.sha256(head).hexdigest()[:12]}"


def _replay(root: RootFileSystem, part: Path, place: Path) -> dict[int, bytes]:
    with copied(root, part) as copy:
        try:
            if root.kind is Kind.EXT4:
                line = ["e2fsck", "-f", "-p"]
                run([*line, part], timeout_s=TIMEOUT_S, env=FIXED_CLOCK, ok=CORRECTED)
            else:
                with mounted_file_system(copy, place / "asked", writable=True):
                    pass
        except CommandFailed as error:
            raise InvalidRequest(
                f"The journal of `{root.disk.name}` cannot be replayed",
                hint="Make the base image anew, of a volume that is not in use",
                stderr=error.facts.get("stderr", ""),
            ) from error
    return {index: hashlib.sha256(block).digest() for index, block in DiskBlocks(part).items()}
