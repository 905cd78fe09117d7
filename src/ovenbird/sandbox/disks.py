"""Root disks: a snapshot's blocks as a mounted file system, once for each snapshot.

    block map ─▶ sparse file ─▶ loop mount, read-only, at the root partition's offset

All instances of all images on one snapshot share the mount as their overlay's lower layer.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, GIB_BLOCKS, ZERO_BLOCK
from ovenbird.domain.errors import CommandFailed, NotFound
from ovenbird.sandbox import blocks, leftovers
from ovenbird.sandbox.places import Places
from ovenbird.system.disks import mounted_root


class RootDisks:
    """The mounted root file systems of one sandbox; safe between threads.

    Args:
        places: Files are assembled and mounted below ``places.disks``.
    """

    def __init__(self, places: Places) -> None:
        self._directory = places.disks
        self._mounts = ExitStack()
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._roots: dict[str, Path] = {}

    def lower(self, image_id: str, snapshot_id: str) -> Path:
        """Return where the snapshot's root file system is mounted, read-only.

        The first call for a snapshot takes about a second; who asks meanwhile waits for it.

        Raises:
            NotFound: The snapshot has no blocks.
            InvalidRequest: It has no GUID partition table, or no Linux partition.
        """
        with self._guard:
            lock = self._locks[snapshot_id]
        with lock:
            if snapshot_id not in self._roots:
                self._roots[snapshot_id] = self._mounted(image_id, snapshot_id)
            return self._roots[snapshot_id]

    def close(self) -> None:
        """Unmount everything, and wait until it is; machines must be gone."""
        with self._guard:
            self._roots.clear()
            self._mounts.close()
        with suppress(CommandFailed):  # the sweep will say so
            leftovers.await_detached(self._directory)

    def _mounted(self, image_id: str, snapshot_id: str) -> Path:
        disk = self._directory / f"{snapshot_id}.raw"
        if not disk.exists():
            part = disk.with_suffix(".part")
            assemble(image_id, snapshot_id, part)
            part.replace(disk)
        with self._guard:
            return self._mounts.enter_context(mounted_root(disk, disk.with_suffix("")))


def assemble(image_id: str, snapshot_id: str, disk: Path) -> None:
    """Write a snapshot's blocks into a sparse file; blocks of zeros become holes.

    Raises:
        NotFound: The snapshot has no blocks.
    """
    found = blocks.block_map(snapshot_id)
    if not found:
        raise NotFound(f"Snapshot `{snapshot_id}` of image `{image_id}` has no blocks")
    disk.parent.mkdir(parents=True, exist_ok=True)
    with disk.open("wb") as file:
        gib = max(found) // GIB_BLOCKS + 1
        file.truncate(gib * GIB_BLOCKS * BLOCK_BYTES)
        for index, digest in sorted(found.items()):
            data = blocks.block_path(digest).read_bytes()
            if data != ZERO_BLOCK:
                os.pwrite(file.fileno(), data, index * BLOCK_BYTES)
