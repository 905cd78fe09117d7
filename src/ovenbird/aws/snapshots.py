"""Snapshots by the EBS direct APIs: one door to reading, writing, comparing and tidying.

snapshots ─┬─▶ snapshot_reading ─┬─▶ block_calls ─▶ pacing, block_transports ─▶ signatures
           ├─▶ snapshot_writing ─┘
           └─▶ unregistered

Source: EBS direct APIs reference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

from ovenbird.aws.block_calls import BlockCalls
from ovenbird.aws.clients import Account
from ovenbird.aws.snapshot_reading import SnapshotReading
from ovenbird.aws.snapshot_writing import SnapshotWriting
from ovenbird.aws.unregistered import Unregistered
from ovenbird.domain.errors import CloudError
from ovenbird.domain.images import SnapshotId
from ovenbird.domain.ports import Clock
from ovenbird.system.disks.disk_cache import DiskCache

CACHE_GIB = 20.0
AGREES_WITHIN = timedelta(seconds=30)  # EBS may list a new snapshot's blocks late
LOOK_EVERY_S = 0.5


class EbsSnapshots:
    """The :class:`ovenbird.domain.ports.Snapshots` of one account.

    Permissions: ebs:ListSnapshotBlocks, ebs:GetSnapshotBlock, ebs:StartSnapshot,
    ebs:PutSnapshotBlock, ebs:CompleteSnapshot, ebs:ListChangedBlocks,
    ec2:DescribeSnapshots, ec2:DeleteSnapshot, ec2:CreateTags, ec2:DeleteTags.

    Args:
        account: Whose snapshots.
        cache: Directory of downloaded disks, by snapshot id.
        clock: Waits.
        cache_gib: How much those disks may take together.
    """

    def __init__(
        self, account: Account, *, cache: Path, clock: Clock, cache_gib: float = CACHE_GIB
    ) -> None:
        self._clock = clock
        self._calls = BlockCalls(account, clock=clock)
        self._disks = DiskCache(cache, limit_gib=cache_gib, clock=clock)
        place = "local" if account.access.endpoint_url else "aws"
        self._reading = SnapshotReading(
            self._calls, cache=self._disks, prefix=f"{place}-{account.account_id}"
        )
        self._writing = SnapshotWriting(account, self._calls, clock=clock)
        self._unregistered = Unregistered(account.ec2, clock=clock)

    def download(self, snapshot_id: SnapshotId, *, parent: SnapshotId | None = None) -> Path:
        """Return a sparse file with the snapshot's bytes; read once, then cached.

        The file is never to be written to. Two downloads of one snapshot wait for each other.
        Nothing is left of one that fails.

        Args:
            snapshot_id: Completed.
            parent: Only what differs from it is read; a snapshot from which this one descends.

        Raises:
            NotFound: The snapshot is gone, or goes while it is read.
            CloudError: A block does not arrive with the checksum that EBS gave.
            OvenbirdError: The cache's disk is full.
        """
        return self._reading.download(snapshot_id, parent=parent)

    def upload(
        self,
        blocks: Mapping[int, bytes],
        *,
        parent: SnapshotId | None,
        size_gib: int,
        token: str,
        tags: Mapping[str, str],
    ) -> SnapshotId:
        """Write a snapshot that differs from its parent in these blocks.

        Safe to repeat: a snapshot that an earlier, killed call with this token left is
        completed, or returned as it is. What fails deletes its snapshot.

        Args:
            blocks: Index → 524,288 bytes; read when they are written. Without a parent those
                that are all zero are left out.
            parent: A completed snapshot of the same account; None to write a whole one.
            size_gib: Volume size.
            token: Client token; to be another one when any argument is.
            tags: Written in the creating call. With a bake's key among them, the snapshot is
                also marked as one that no image has.
        """
        return self._writing.upload(
            blocks, parent=parent, size_gib=size_gib, token=token, tags=tags
        )

    def forget_unfinished(self, tag: str, value: str, *, keep: SnapshotId) -> None:
        """Delete what dead bakes left, but one: what is pending with this tag, and all that is old.

        Old are marked snapshots of any bake that no image has two hours after they were
        completed, and those that are pending for more than a day: an upload may be slow.
        """
        self._unregistered.sweep(tag, value, keep=keep)

    def changed(self, first: SnapshotId, second: SnapshotId) -> frozenset[int]:
        """Return the indexes of the blocks in which two snapshots differ, as EBS sees both.

        Raises:
            NotFound: One of them is gone.
            CloudError: They are not related.
        """
        return frozenset(self._calls.changed(first, second)[1])

    def verify(
        self, snapshot_id: SnapshotId, *, parent: SnapshotId, blocks: Collection[int]
    ) -> None:
        """Compare a snapshot with its parent, as EBS sees both.

        One that is wrong is deleted, if no image has it: it would be found again.

        Raises:
            CloudError: Other blocks than these differ.
        """
        wanted, deadline = set(blocks), self._clock.now() + AGREES_WITHIN
        while True:
            found = set(self._calls.changed(parent, snapshot_id)[1])
            # Blocks too many stay so; missing ones may only not be listed yet.
            if found >= wanted or self._clock.now() > deadline:
                break
            self._clock.sleep(LOOK_EVERY_S)
        if wrong := found ^ wanted:
            self._unregistered.discard(snapshot_id)
            raise CloudError(
                f"Snapshot `{snapshot_id}` differs from `{parent}` in {len(found)} blocks,"
                f" not in the {len(wanted)} that were written; first at block {min(wrong)}",
                hint="Start the same command again; it bakes anew",
            )
