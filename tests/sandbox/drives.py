"""Snapshots with a few blocks, and waiting until EC2 has finished with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.domain.blocks import BLOCK_BYTES, checksum

WITHIN_S = 10.0


def block(fill: int) -> bytes:
    """Return a block of one byte again and again."""
    return bytes([fill]) * BLOCK_BYTES


def put(account: Account, snapshot_id: str, index: int, data: bytes) -> None:
    """Write one block."""
    account.ebs.put_snapshot_block(
        SnapshotId=snapshot_id,
        BlockIndex=index,
        BlockData=data,
        DataLength=len(data),
        Checksum=checksum(data),
        ChecksumAlgorithm="SHA256",
    )


def snapshot_of(account: Account, blocks: Mapping[int, bytes], **more: Any) -> str:
    """Make a completed snapshot of 1 GiB with these blocks; return its id."""
    snapshot_id = account.ebs.start_snapshot(VolumeSize=1, **more)["SnapshotId"]
    for index, data in blocks.items():
        put(account, snapshot_id, index, data)
    account.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks))
    return completed(account, snapshot_id)


def completed(account: Account, snapshot_id: str, *, state: str = "completed") -> str:
    """Wait until a snapshot is in a state; return its id."""

    def now() -> str:
        found = account.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        return found[0]["State"]

    _until(now, state)
    return snapshot_id


def image_state(account: Account, image_id: str, state: str) -> str:
    """Wait until an image is in a state, and return it."""
    return _until(
        lambda: account.ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"], state
    )


def _until(now: Callable[[], str], state: str) -> str:
    end = time.monotonic() + WITHIN_S
    while (found := now()) != state:
        assert time.monotonic() < end, f"still {found}, not {state}"
        time.sleep(0.02)  # noqa: TID251 - a test's own wait
    return state
