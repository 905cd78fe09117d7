"""From what an overlay changed to the blocks of a disk: clone, apply, check, compare.

    changes ─▶ clone ─┬─ ext4: debugfs, e2fsck ──────┬─▶ as in the overlay? ─▶ changed blocks
                      └─ XFS, btrfs: kernel, mounted ─┘

The only place that knows which file system is changed in which way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ovenbird.domain.blocks import blocks_of_extents
from ovenbird.domain.errors import CommandFailed
from ovenbird.system.disks import debugfs, kernel_changes
from ovenbird.system.disks.clones import Clone, cloned
from ovenbird.system.disks.disks import extents
from ovenbird.system.disks.overlays import Change, not_carried_over
from ovenbird.system.disks.root_file_systems import Kind, mounted_file_system
from ovenbird.system.rooms.base_roots import BaseRoot

LESS_EXACT = (
    "The root file system is {kind}, changed by the kernel: less exact, since times and "
    "generations of files differ between two bakes of the same input"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a bake changed.

    Args:
        blocks: Index → bytes of the blocks that differ from the base disk's.
        total: How many blocks of the image hold data.
        notes: What a person should know about the image.
    """

    blocks: dict[int, bytes] = field(default_factory=dict)
    total: int = 0
    notes: tuple[str, ...] = ()


def apply(base: BaseRoot, changed: Sequence[Change]) -> Applied:
    """Apply an overlay's changes to a clone of its base, and compare; the clone goes.

    Raises:
        CommandFailed: The changes could not be applied, or the result is not what the
            overlay shows.
        OvenbirdError: There is no room for a clone.
    """
    found = cloned(base.file_system, origin=base.origin, scratch=base.scratch, place=base.place)
    with found as clone:
        _change(base, clone, changed)
        _verify(base, clone, changed)
        blocks = clone.changed_blocks()
    kept = blocks_of_extents(extents(base.origin.disk))
    kind = base.origin.kind
    return Applied(
        blocks=blocks,
        total=len({*kept, *blocks}),
        notes=() if kind is Kind.EXT4 else (LESS_EXACT.format(kind=kind),),
    )


def _change(base: BaseRoot, clone: Clone, changed: Sequence[Change]) -> None:
    if clone.base.kind is Kind.EXT4:
        debugfs.apply(clone.path, changed, upper=base.upper, lower=base.lower, work=base.scratch)
        return
    with mounted_file_system(clone.root, base.place / "made", writable=True) as root:
        kernel_changes.apply(root, changed, upper=base.upper, newest_s=debugfs.EPOCH_S)


def _verify(base: BaseRoot, clone: Clone, changed: Sequence[Change]) -> None:
    """Look at each change through the kernel: is the image what the overlay shows?"""
    image = clone.path if clone.base.kind is Kind.EXT4 else None
    with mounted_file_system(clone.root, base.place / "check") as made:
        wrong = not_carried_over(changed, base.upper, made, image=image)
    if wrong:
        raise CommandFailed(
            f"The image differs from what was installed, first at `/{wrong[0]}`",
            hint="This is a bug in the bake; keep the log",
            stderr="\n".join(wrong[:20]),
        )
