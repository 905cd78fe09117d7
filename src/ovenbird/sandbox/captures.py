"""Captures: what a machine's volumes hold at one moment, as blocks of new snapshots.

A machine's root volume is not a disk here but an overlay above its image's blocks. Its
snapshot is what the disk would be: the image's blocks, with the overlay's changes applied to
them, as a bake does it. It begins with the image's blocks, as a child does, and differs in
those that changed. No file in it is newer than a bake's would be; sockets are left out.

Source: EC2 API reference, CreateImage, CreateSnapshot; EBS user guide, "How snapshots work".
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ovenbird.sandbox import blocks
from ovenbird.sandbox.block_store import SnapshotBlocks
from ovenbird.system.disks import overlays
from ovenbird.system.disks.root_file_systems import find_root
from ovenbird.system.rooms import applying
from ovenbird.system.rooms.base_roots import BaseRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What is to be taken of an instance's volumes, all at one moment.

    Args:
        key: The instance's id; of a volume that no instance has, its own.
        snapshots: Volume id → the snapshot that takes its blocks, not sealed yet.
        root_volume_id: Which of them is the instance's root volume; empty for none.
        root_snapshot_id: What that one began with.
        restart: Whether a running machine is shut down for it, and boots again after it.
    """

    key: str
    snapshots: Mapping[str, SnapshotBlocks]
    root_volume_id: str = ""
    root_snapshot_id: str = ""
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RootVolume:
    """A machine's root volume.

    Args:
        disk: The image's disk, below the overlay.
        upper: What the machine wrote.
        lower: The image's root file system, mounted.
    """

    disk: Path
    upper: Path
    lower: Path


def fill(snapshot: SnapshotBlocks, changed: Mapping[int, bytes]) -> None:
    """Write blocks into a snapshot, and seal it."""
    for index, data in changed.items():
        blocks.store().keep(snapshot, index, data)
    snapshot.seal()


def changed_blocks(root: RootVolume, work: Path) -> Mapping[int, bytes]:
    """Return index → bytes of the blocks in which a machine's disk differs from its image's.

    Args:
        root: Nothing may write to its overlay meanwhile.
        work: Directory for a copy of the disk; nothing is left in it.

    Raises:
        CommandFailed: The changes could not be applied, as when the disk would be full.
    """
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="capture-") as name:
        found = find_root(root.disk)
        base = BaseRoot(place=Path(name), root=root.lower, file_system=found, origin=found)
        for path in (base.scratch, base.upper.parent):
            path.mkdir()
        base.lower.symlink_to(root.lower)
        base.upper.symlink_to(root.upper)
        return applying.apply(base, overlays.changes(root.upper, root.lower)).blocks
