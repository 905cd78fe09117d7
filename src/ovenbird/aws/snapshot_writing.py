"""Snapshots, written by block.

    started (client token) ─▶ blocks put in parallel ─▶ completed with the aggregate ─▶ awaited
       └── killed: the next call with the token goes on    └── failed: deleted

A snapshot of a bake is marked until an image has it (``ovenbird:unregistered``): by the mark
the next bake knows what a dead one left.

Source: EBS direct APIs reference, StartSnapshot (client token, Timeout), CompleteSnapshot;
EC2 API reference, DescribeSnapshots, DeleteSnapshot.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from ovenbird.aws.block_calls import BlockCalls
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.parallel import in_parallel
from ovenbird.aws.tags import to_aws
from ovenbird.aws.unregistered import marked
from ovenbird.aws.waiting import await_state
from ovenbird.domain.blocks import ZERO_BLOCK, linear_checksum
from ovenbird.domain.errors import CloudError, Conflict, NotFound, OvenbirdError, Unhealthy
from ovenbird.domain.images import SnapshotId
from ovenbird.domain.ports import Clock

UNKNOWN_WITHIN = timedelta(minutes=2)  # how long EBS may not know a snapshot that it started
DESCRIBED_WITHIN = timedelta(seconds=15)  # how long EC2 may not know it
SEALED_WITHIN = timedelta(minutes=1)  # how long one that takes no blocks may need to complete
SEALED = frozenset({"ValidationException", "ConflictException"})
COMPLETE_WITHIN = timedelta(minutes=30)
LOOK_EVERY = (timedelta(seconds=0.1), timedelta(seconds=5))  # growing
ATTEMPTS = 3
TIMEOUT_MINUTES = 60  # then EBS cancels a snapshot that nobody completes
ENCRYPTION = (
    "When the account encrypts by default, the base image must be encrypted: copy it, encrypted"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What StartSnapshot answered.

    Args:
        age: More than 0 when an earlier call with the token started it.
        known_by: Until when EBS may not know it.
    """

    snapshot_id: SnapshotId
    age: timedelta
    known_by: datetime


class SnapshotWriting:
    """Writes snapshots of one account.

    Args:
        account: Whose.
        calls: To EBS.
        clock: Waits.
    """

    def __init__(self, account: Account, calls: BlockCalls, *, clock: Clock) -> None:
        self._ebs, self._ec2 = account.ebs, account.ec2
        self._calls, self._clock = calls, clock

    def upload(
        self,
        blocks: Mapping[int, bytes],
        *,
        parent: SnapshotId | None,
        size_gib: int,
        token: str,
        tags: Mapping[str, str],
    ) -> SnapshotId:
        """Write a snapshot; see EbsSnapshots."""
        for _ in range(ATTEMPTS):
            started = self._start(parent, size_gib, token, tags)
            with self._deleted_on_failure(started.snapshot_id):
                if self._is_written(started, blocks, skip_zeros=parent is None):
                    return started.snapshot_id
            # EBS answers a token with its first snapshot, though that has timed out or is gone.
            token = hashlib.sha256(f"{token}:{started.snapshot_id}".encode()).hexdigest()
        raise CloudError(
            f"Snapshots with tags {dict(tags)} vanish while they are written",
            hint="Does something else in the account delete snapshots?",
        )

    def delete(self, snapshot_id: SnapshotId) -> None:
        """Delete a snapshot; one that is gone is deleted.

        Raises:
            Conflict: An image uses it.
        """
        try:
            with cloud_errors(f"deleting `{snapshot_id}`"):
                self._ec2.delete_snapshot(SnapshotId=snapshot_id)
        except NotFound:
            return

    def _start(
        self, parent: SnapshotId | None, size_gib: int, token: str, tags: Mapping[str, str]
    ) -> Started:
        """Return the token's snapshot."""
        inherits: Any = {"ParentSnapshotId": parent} if parent else {}

        def call() -> Any:
            with cloud_errors("starting a snapshot", hints={"ValidationException": ENCRYPTION}):
                return self._ebs.start_snapshot(
                    VolumeSize=size_gib,
                    **inherits,
                    ClientToken=token,
                    Description=tags.get("Name", ""),
                    Tags=to_aws(marked(tags)),
                    Timeout=TIMEOUT_MINUTES,
                )

        answer = self._calls.patiently(call)
        age = _age(answer)
        return Started(
            snapshot_id=SnapshotId(answer["SnapshotId"]),
            age=age,
            known_by=self._clock.now() + UNKNOWN_WITHIN - age,
        )

    def _is_written(
        self, started: Started, blocks: Mapping[int, bytes], *, skip_zeros: bool
    ) -> bool:
        """Write and complete a snapshot unless it is; false when it cannot be any more."""
        snapshot_id = started.snapshot_id
        # One that was started just now is pending; if not, what is written to it is refused.
        state = self._state(snapshot_id) if started.age else "pending"
        if state == "completed":
            return True
        if state == "error":
            self.delete(snapshot_id)
            return False
        if not state and started.age > DESCRIBED_WITHIN:
            return False  # deleted: EC2 knows a new one much sooner
        try:
            with self._unless_sealed(snapshot_id):
                checksums = self._put_all(started, blocks, skip_zeros=skip_zeros)
                self._complete(snapshot_id, checksums)
        except NotFound:
            return False
        return self._is_completed(snapshot_id)

    def _is_completed(self, snapshot_id: SnapshotId) -> bool:
        """Wait for a snapshot that completes; false when somebody deleted it meanwhile."""
        seen_at = self._clock.now()

        def look(snapshot_id: SnapshotId) -> str:
            nonlocal seen_at
            state, now = self._progress(snapshot_id), self._clock.now()
            if state != "unknown":
                seen_at = now
            return "gone" if now - seen_at > DESCRIBED_WITHIN else state

        state = self._await(snapshot_id, {"completed", "gone"}, look=look, within=COMPLETE_WITHIN)
        return state == "completed"

    @contextmanager
    def _deleted_on_failure(self, snapshot_id: SnapshotId) -> Iterator[None]:
        """Leave no unfinished snapshot when the block fails, whatever ends it."""
        try:
            yield
        except BaseException as error:
            try:
                self.delete(snapshot_id)
            except OvenbirdError as other:
                error.add_note(f"`{snapshot_id}` stays, until a later bake deletes it: {other}")
            raise

    @contextmanager
    def _unless_sealed(self, snapshot_id: SnapshotId) -> Iterator[None]:
        """Pass over a refusal of a snapshot that gets completed all the same.

        A killed bake, or a call whose answer was lost, may have completed it before.
        """
        try:
            yield
        except (CloudError, Conflict) as error:
            if error.facts.get("code") not in SEALED or not self._gets_completed(snapshot_id):
                raise

    def _gets_completed(self, snapshot_id: SnapshotId) -> bool:
        try:
            state = self._await(
                snapshot_id, {"completed", "error", ""}, look=self._state, within=SEALED_WITHIN
            )
        except Unhealthy:
            return False
        return state == "completed"

    def _put_all(
        self, started: Started, blocks: Mapping[int, bytes], *, skip_zeros: bool
    ) -> dict[int, str]:
        """Return index → base64 SHA-256 of what was written.

        Args:
            started: The snapshot.
            blocks: Each is read when its turn comes.
            skip_zeros: There is no parent, so what is not written is zero.
        """
        checksums: dict[int, str] = {}
        adding = threading.Lock()
        with self._calls.carrying(len(blocks)) as transport:

            def put(index: int) -> None:
                data = blocks[index]
                if skip_zeros and data == ZERO_BLOCK:
                    return
                digest = self._calls.put(
                    transport, started.snapshot_id, index, data, known_by=started.known_by
                )
                with adding:
                    checksums[index] = digest

            in_parallel(put, blocks, threads=min(transport.threads, len(blocks) or 1))
        return checksums

    def _complete(self, snapshot_id: SnapshotId, checksums: Mapping[int, str]) -> None:
        aggregate: Any = {
            "Checksum": linear_checksum(checksums),
            "ChecksumAlgorithm": "SHA256",
            "ChecksumAggregationMethod": "LINEAR",
        }

        def call() -> None:
            with cloud_errors(f"completing `{snapshot_id}`"):
                self._ebs.complete_snapshot(
                    SnapshotId=snapshot_id,
                    ChangedBlocksCount=len(checksums),
                    **(aggregate if checksums else {}),
                )

        self._calls.patiently(call)

    def _await(
        self,
        snapshot_id: SnapshotId,
        wanted: Collection[str],
        *,
        look: Callable[[SnapshotId], str],
        within: timedelta,
    ) -> str:
        return await_state(
            f"Snapshot `{snapshot_id}`",
            lambda: look(snapshot_id),
            done=lambda state: state in wanted,
            within=within,
            every=LOOK_EVERY,
            clock=self._clock,
        )

    def _state(self, snapshot_id: SnapshotId) -> str:
        """Return a snapshot's state; empty while EC2 does not know it."""
        return str(self._described(snapshot_id).get("State", ""))

    def _progress(self, snapshot_id: SnapshotId) -> str:
        found = self._described(snapshot_id)
        if found.get("State") == "error":
            said = found.get("StateMessage") or "EC2 says no more"
            raise CloudError(f"Snapshot `{snapshot_id}` ended in state `error`: {said}")
        return found.get("State") or "unknown"

    def _described(self, snapshot_id: SnapshotId) -> Mapping[str, Any]:
        def call() -> Any:
            with cloud_errors(f"describing `{snapshot_id}`"):
                return self._ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]

        try:
            found = self._calls.patiently(call)
        except NotFound:
            return {}
        return found[0] if found else {}


def _age(answer: Mapping[str, Any]) -> timedelta:
    """Return how old a started snapshot is by EBS's own clock: more than 0 for an earlier one."""
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not said or "StartTime" not in answer:
        return timedelta(0)
    age: timedelta = parsedate_to_datetime(said) - answer["StartTime"]
    return max(age, timedelta(0))
