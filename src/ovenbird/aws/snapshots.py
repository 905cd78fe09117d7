"""Snapshots by the EBS direct APIs: read once into a sparse file, uploaded as a difference.

Source: EBS direct APIs reference; coldsnap #43 and #56 (a new snapshot may be unknown for
up to two minutes); facts measured on 2026-11-23: 16 threads fill two cores.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import to_aws
from ovenbird.aws.waiting import await_state
from ovenbird.domain.blocks import (
    BLOCK_BYTES,
    GIB_BLOCKS,
    ZERO_BLOCK,
    checksum,
    linear_checksum,
)
from ovenbird.domain.errors import CloudError, NotFound
from ovenbird.domain.images import SnapshotId
from ovenbird.domain.ports import Clock
from ovenbird.system.caches import forget_idle, full_disk_errors
from ovenbird.system.locks import file_lock

THREADS = 16
UNKNOWN_WITHIN_S = 120.0  # how long a new snapshot may be unknown to PutSnapshotBlock
KEPT_DISKS = 4  # however long they are idle
ATTEMPTS = 3
COMPLETE_WITHIN = timedelta(minutes=30)


class EbsSnapshots:
    """The :class:`ovenbird.domain.ports.Snapshots` of one account.

    Permissions: ebs:ListSnapshotBlocks, ebs:GetSnapshotBlock, ebs:StartSnapshot,
    ebs:PutSnapshotBlock, ebs:CompleteSnapshot, ebs:ListChangedBlocks,
    ec2:DescribeSnapshots, ec2:DeleteSnapshot, ec2:CreateTags.

    Args:
        account: Whose snapshots.
        cache: Directory of downloaded disks, by snapshot id.
        clock: Waits.
    """

    def __init__(self, account: Account, *, cache: Path, clock: Clock) -> None:
        self._account, self._cache, self._clock = account, cache, clock
        self._ebs, self._ec2 = account.ebs, account.ec2

    def download(self, snapshot_id: SnapshotId) -> Path:
        """Return a sparse file with the snapshot's bytes; read once, then cached.

        The file is never to be written to. Two downloads of one snapshot wait for each other.

        Raises:
            CloudError: A block's bytes do not have the checksum that EBS gave.
            OvenbirdError: The cache's disk is full.
        """
        endpoint = "aws" if not self._account.access.endpoint_url else "local"
        target = self._cache / f"{endpoint}-{self._account.account_id}-{snapshot_id}.raw"
        with file_lock(target.with_suffix(".lock")):
            if not target.exists():
                part = target.with_suffix(".part")
                try:
                    with full_disk_errors(self._cache):
                        self._read_into(snapshot_id, part)
                    part.replace(target)
                finally:
                    part.unlink(missing_ok=True)  # half a disk only takes room
            target.touch()
        disks = sorted(self._cache.glob("*-snap-*.raw"))
        forget_idle(disks, keep=KEPT_DISKS, now=self._clock.now())
        return target

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
        completed, or returned as it is. On failure a pending one may be left behind, which
        AWS ends after an hour.

        Args:
            blocks: Index → 524,288 bytes.
            parent: A completed snapshot of the same account; None to write a whole one.
            size_gib: Volume size.
            token: Client token; to be another one when any argument is.
            tags: Written in the creating call.
        """
        for _ in range(ATTEMPTS):
            snapshot_id, state = self._start(parent, size_gib, token, tags)
            if state == "completed":
                return snapshot_id
            if state != "error" and self._is_written(snapshot_id, blocks):
                return snapshot_id
            # EBS answers a token with its first snapshot, though that has timed out or is gone.
            token = hashlib.sha256(f"{token}:{snapshot_id}".encode()).hexdigest()
        raise CloudError(f"Snapshots with tags {dict(tags)} vanish while they are written")

    def forget_unfinished(self, tag: str, value: str, *, keep: SnapshotId) -> None:
        """Delete pending snapshots with this tag, of bakes that died; all but one."""
        with cloud_errors("looking for unfinished snapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"],
                Filters=[
                    {"Name": f"tag:{tag}", "Values": [value]},
                    {"Name": "status", "Values": ["pending"]},
                ],
            )
            found = {SnapshotId(s["SnapshotId"]) for page in pages for s in page["Snapshots"]}
        for snapshot_id in sorted(found - {keep}):
            with suppress(NotFound), cloud_errors(f"deleting `{snapshot_id}`"):
                self._ec2.delete_snapshot(SnapshotId=snapshot_id)

    def verify(
        self, snapshot_id: SnapshotId, *, parent: SnapshotId, blocks: Collection[int]
    ) -> None:
        """Compare a snapshot with its parent, as EBS sees both.

        Raises:
            CloudError: Other blocks than these differ.
        """
        found = set(self._changed(parent, snapshot_id))
        if wrong := found.symmetric_difference(blocks):
            raise CloudError(
                f"Snapshot `{snapshot_id}` differs from `{parent}` in {len(found)} blocks,"
                f" not in the {len(blocks)} that were written; first at block {min(wrong)}",
                hint="Bake again with `--fresh`",
            )

    def _changed(self, first: SnapshotId, second: SnapshotId) -> Iterator[int]:
        request: dict[str, Any] = {"FirstSnapshotId": first, "SecondSnapshotId": second}
        with cloud_errors(f"comparing `{second}` with `{first}`"):
            while True:  # boto has no paginator for it
                page = self._ebs.list_changed_blocks(**request)
                yield from (block["BlockIndex"] for block in page["ChangedBlocks"])
                if not page.get("NextToken"):
                    return
                request["NextToken"] = page["NextToken"]

    def _start(
        self, parent: SnapshotId | None, size_gib: int, token: str, tags: Mapping[str, str]
    ) -> tuple[SnapshotId, str]:
        """Return the token's snapshot and its state."""
        inherits: Any = {"ParentSnapshotId": parent} if parent else {}
        with cloud_errors("starting a snapshot"):
            answer = self._ebs.start_snapshot(
                VolumeSize=size_gib,
                **inherits,
                ClientToken=token,
                Description=tags.get("Name", ""),
                Tags=to_aws(tags),
                Timeout=60,
            )
        snapshot_id = SnapshotId(answer["SnapshotId"])
        return snapshot_id, self._state(snapshot_id) or answer["Status"]

    def _is_written(self, snapshot_id: SnapshotId, blocks: Mapping[int, bytes]) -> bool:
        """Write and complete a snapshot; false when EBS does not know it any more."""
        try:
            self._write(snapshot_id, blocks)
        except NotFound:
            return False
        return True

    def _read_into(self, snapshot_id: SnapshotId, path: Path) -> None:
        size, tokens = self._listed(snapshot_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size * GIB_BLOCKS * BLOCK_BYTES)
            lock = threading.Lock()

            def fetch(index: int) -> None:
                data = self._block(snapshot_id, index, tokens[index])
                if data != ZERO_BLOCK:  # holes stay holes
                    with lock:
                        file.seek(index * BLOCK_BYTES)
                        file.write(data)

            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(fetch, sorted(tokens)))

    def _listed(self, snapshot_id: SnapshotId) -> tuple[int, dict[int, str]]:
        """Return the volume's size in GiB and index → block token."""
        tokens: dict[int, str] = {}
        request: dict[str, Any] = {"SnapshotId": snapshot_id}
        with cloud_errors(f"listing the blocks of `{snapshot_id}`"):
            while True:  # boto has no paginator for it
                page = self._ebs.list_snapshot_blocks(**request)
                tokens |= {b["BlockIndex"]: b["BlockToken"] for b in page["Blocks"]}
                if not page.get("NextToken"):
                    return page["VolumeSize"], tokens
                request["NextToken"] = page["NextToken"]

    def _block(self, snapshot_id: SnapshotId, index: int, token: str) -> bytes:
        with cloud_errors(f"reading block {index} of `{snapshot_id}`"):
            answer = self._ebs.get_snapshot_block(
                SnapshotId=snapshot_id, BlockIndex=index, BlockToken=token
            )
            data = answer["BlockData"].read()
        if checksum(data) != answer["Checksum"]:
            raise CloudError(f"Block {index} of `{snapshot_id}` arrived damaged")
        return data

    def _write(self, snapshot_id: SnapshotId, blocks: Mapping[int, bytes]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            written = pool.map(lambda index: self._put(snapshot_id, index, blocks[index]), blocks)
            checksums = dict(zip(blocks, written, strict=True))
        with cloud_errors(f"completing `{snapshot_id}`"):
            self._ebs.complete_snapshot(
                SnapshotId=snapshot_id,
                ChangedBlocksCount=len(blocks),
                Checksum=linear_checksum(checksums),
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="LINEAR",
            )
        await_state(
            f"Snapshot `{snapshot_id}`",
            lambda: self._progress(snapshot_id),
            done=lambda state: state == "completed",
            within=COMPLETE_WITHIN,
            every=timedelta(seconds=0.2),
            clock=self._clock,
        )

    def _put(self, snapshot_id: SnapshotId, index: int, data: bytes) -> str:
        waited_s, pause_s = 0.0, 0.5
        digest = checksum(data)
        while True:
            try:
                with cloud_errors(f"writing block {index} of `{snapshot_id}`"):
                    self._ebs.put_snapshot_block(
                        SnapshotId=snapshot_id,
                        BlockIndex=index,
                        BlockData=data,
                        DataLength=BLOCK_BYTES,
                        Checksum=digest,
                        ChecksumAlgorithm="SHA256",
                    )
            except NotFound:
                if waited_s > UNKNOWN_WITHIN_S:
                    raise
                self._clock.sleep(pause_s)
                waited_s, pause_s = waited_s + pause_s, min(pause_s * 2, 15.0)
            else:
                return digest

    def _state(self, snapshot_id: SnapshotId) -> str:
        """Return a snapshot's state; empty while EC2 does not know it."""
        try:
            with cloud_errors(f"describing `{snapshot_id}`"):
                found = self._ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        except NotFound:
            return ""
        return str(found[0]["State"]) if found else ""

    def _progress(self, snapshot_id: SnapshotId) -> str:
        state = self._state(snapshot_id)
        if state == "error":
            raise CloudError(f"Snapshot `{snapshot_id}` ended in state `error`")
        return state or "unknown"
