"""Root disks: a snapshot's blocks as a mounted file system, once for each snapshot.

    block map ─▶ sparse file ─▶ loop mount, read-only, at the root partition's offset

All instances of all images on one snapshot share the mount as their overlay's lower layer.
One that no instance has used for a while is unmounted and its file deleted, since each takes
as much room as the whole system in the image; the next launch assembles it again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, GIB_BLOCKS, ZERO_BLOCK
from ovenbird.domain.errors import CommandFailed, NotFound
from ovenbird.sandbox import blocks, leftovers
from ovenbird.sandbox.places import Places
from ovenbird.system.disks.root_file_systems import mounted_root

IDLE_S = 60.0


@dataclass(kw_only=True)
class _Root:
    """A mounted root file system.

    Args:
        users: Instances.
        idle_since: When its last user went, on the clock of :class:`RootDisks`.
    """

    path: Path
    mount: ExitStack
    users: set[str] = field(default_factory=set)
    idle_since: float = 0.0


class RootDisks:
    """The mounted root file systems of one sandbox; safe between threads.

    Args:
        places: Files are assembled and mounted below ``places.disks``.
        clock: Seconds that only grow.
    """

    def __init__(self, places: Places, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._clock = places.disks, clock
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._roots: dict[str, _Root] = {}

    def lower(self, image_id: str, snapshot_id: str, *, user: str) -> Path:
        """Return where the snapshot's root file system is mounted, read-only.

        The first call for a snapshot takes about a second; who asks meanwhile waits for it.

        Args:
            image_id: For words.
            snapshot_id: Whose blocks.
            user: The instance that needs it, until :meth:`release`.

        Raises:
            NotFound: The snapshot has no blocks.
            InvalidRequest: It has no GUID partition table, or no Linux partition.
        """
        with self._lock(snapshot_id):
            if snapshot_id not in self._roots:
                self._roots[snapshot_id] = self._mounted(image_id, snapshot_id)
            root = self._roots[snapshot_id]
            root.users.add(user)
            return root.path

    def disk(self, snapshot_id: str) -> Path:
        """Return the disk whose root file system :meth:`lower` has mounted."""
        return self._disk(snapshot_id)

    def release(self, snapshot_id: str, *, user: str) -> None:
        """Let an instance need a root file system no more."""
        with self._lock(snapshot_id):
            if root := self._roots.get(snapshot_id):
                root.users.discard(user)
                root.idle_since = self._clock()

    def drop_idle(self) -> None:
        """Unmount and delete what nobody has used for a minute."""
        for snapshot_id in list(self._roots):
            with self._lock(snapshot_id):
                root = self._roots[snapshot_id]
                if not root.users and self._clock() >= root.idle_since + IDLE_S:
                    del self._roots[snapshot_id]
                    root.mount.close()
                    self._disk(snapshot_id).unlink()

    def close(self) -> None:
        """Unmount everything, and wait until it is; machines must be gone."""
        with ExitStack() as mounts:
            for root in self._roots.values():
                mounts.push(root.mount)
            self._roots.clear()
        with suppress(CommandFailed):  # the sweep will say so
            leftovers.await_detached(self._directory, within=leftovers.ENDS_WITHIN)

    def _lock(self, snapshot_id: str) -> threading.Lock:
        with self._guard:
            return self._locks[snapshot_id]

    def _disk(self, snapshot_id: str) -> Path:
        return self._directory / f"{snapshot_id}.raw"

    def _mounted(self, image_id: str, snapshot_id: str) -> _Root:
        disk = self._disk(snapshot_id)
        if not disk.exists():
            part = disk.with_suffix(".part")
            assemble(image_id, snapshot_id, part)
            part.replace(disk)
        mount = ExitStack()
        path = mount.enter_context(mounted_root(disk, disk.with_suffix("")))
        return _Root(path=path, mount=mount)


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
