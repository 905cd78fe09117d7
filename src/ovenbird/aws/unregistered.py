"""Snapshots of bakes that no image has yet: marked when they are started, unmarked later.

A bake that died between the two leaves a snapshot that costs money and that nobody looks
for; so does what removes an image and dies, which marks the snapshot first. The mark tells it
from one whose image a person deregistered and that is kept on purpose: only what is marked is
ever deleted here, and EC2 refuses to delete what an image uses.

Source: EC2 API reference, DescribeSnapshots, DeleteSnapshot (InvalidSnapshot.InUse).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import from_aws, to_aws
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.images import BAKE_KEY_TAG, UNREGISTERED_TAG, SnapshotId
from ovenbird.domain.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ORPHANED_AFTER = timedelta(hours=2)  # from its completion on: then it is registered at once
UPLOADED_WITHIN = timedelta(days=1)  # EBS ends what is not written to; a slow upload goes on


def marked(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a new snapshot's tags; those of a bake's say that no image has it yet."""
    return {**tags, UNREGISTERED_TAG: "true"} if BAKE_KEY_TAG in tags else dict(tags)


def mark(ec2: EC2Client, snapshot_id: SnapshotId) -> None:
    """Say that the image that has the snapshot goes; safe to repeat."""
    with cloud_errors(f"tagging `{snapshot_id}`"):
        ec2.create_tags(Resources=[snapshot_id], Tags=to_aws({UNREGISTERED_TAG: "true"}))


def unmark(ec2: EC2Client, snapshot_id: SnapshotId) -> None:
    """Say that an image has the snapshot; safe to repeat."""
    with cloud_errors(f"untagging `{snapshot_id}`"):
        ec2.delete_tags(Resources=[snapshot_id], Tags=[{"Key": UNREGISTERED_TAG}])


class Unregistered:
    """The marked snapshots of one account.

    Args:
        ec2: Of that account.
        clock: Tells which are old.
    """

    def __init__(self, ec2: EC2Client, *, clock: Clock) -> None:
        self._ec2, self._clock = ec2, clock

    def sweep(self, tag: str, value: str, *, keep: SnapshotId) -> None:
        """Delete what dead bakes left: pending ones of this value now, all others when old."""
        for raw in self._marked([]):
            snapshot_id = SnapshotId(raw["SnapshotId"])
            if snapshot_id == keep:
                continue
            unfinished = raw.get("State") in {"pending", "error"}
            same = from_aws(raw.get("Tags", [])).get(tag) == value
            if (same and unfinished) or self._is_old(raw):
                self._delete(snapshot_id)

    def discard(self, snapshot_id: SnapshotId) -> None:
        """Delete a snapshot if it is marked."""
        if self._marked([{"Name": "snapshot-id", "Values": [snapshot_id]}]):
            self._delete(snapshot_id)

    def every(self) -> list[tuple[Mapping[str, Any], bool]]:
        """Return all marked snapshots as EC2 tells them, each with whether no bake needs it."""
        return [(raw, self._is_old(raw)) for raw in self._marked([])]

    def _is_old(self, raw: Mapping[str, Any]) -> bool:
        """Tell whether no bake can need it any more, on this host or on another one."""
        is_pending = raw.get("State") == "pending"
        since = raw.get("CompletionTime") or raw.get("StartTime")
        most = UPLOADED_WITHIN if is_pending else ORPHANED_AFTER
        return since is not None and self._clock.now() - since > most

    def _delete(self, snapshot_id: SnapshotId) -> None:
        try:
            with suppress(NotFound), cloud_errors(f"deleting `{snapshot_id}`"):
                self._ec2.delete_snapshot(SnapshotId=snapshot_id)
        except Conflict:  # the bake died when it had registered its image
            unmark(self._ec2, snapshot_id)

    def _marked(self, filters: list[Any]) -> list[Any]:
        wanted = [{"Name": "tag-key", "Values": [UNREGISTERED_TAG]}, *filters]
        with cloud_errors("looking for unfinished snapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=wanted
            )
            return [found for page in pages for found in page["Snapshots"]]
