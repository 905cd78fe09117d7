"""Bakes without a machine or a mount: only what they ask of AWS is real."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.domain.blocks import BLOCK_BYTES, ZERO_BLOCK, checksum
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.images import Baked, BakeRequest, ImageId, PackagePin, SnapshotId
from ovenbird.domain.ports import DirectRoom, Progress
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen

STATE = RepositoryState(
    repository="main", channel="candidate", number=1, url="file:/r",
    suite="candidate-1", component="main", key_path="/k",
)  # fmt: skip
BASE_BLOCKS = {0: 1, 5: 2, 7: 3, 2047: 4}  # index → the byte that fills it
CHANGED = (5, 7, 9)
UNPAUSED_S = 0.002  # what a pause takes


class HastyClock:
    """Sleeps a moment, and says that it was as long as it was asked for."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now(tz=UTC) + self._ahead  # noqa: TID251 - a clock

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, UNPAUSED_S))  # noqa: TID251 - a clock
        self._ahead += timedelta(seconds=seconds)


@dataclass
class TinyRoom:
    """Changes three blocks; one of them to all zeros."""

    disk: Path

    def perform(self, step: object, *, directory: object) -> None: ...

    def install(self, pins: object) -> None: ...

    def clean(self) -> None: ...

    def check(self) -> None: ...

    def changed_blocks(self) -> dict[int, bytes]:
        with self.disk.open("rb") as file:
            file.seek(5 * BLOCK_BYTES)
            changed = bytes(byte ^ 255 for byte in file.read(16)) + bytes(BLOCK_BYTES - 16)
        return {5: changed, 7: ZERO_BLOCK, 9: b"9" * BLOCK_BYTES}

    def total_blocks(self) -> int:
        return len(BASE_BLOCKS)

    def notes(self) -> tuple[str, ...]:
        return ()


class TinyWorkshop:
    """Opens any disk."""

    @contextmanager
    def open(
        self, disk: Path, *, key: str, repository: object, progress: Progress
    ) -> Iterator[DirectRoom]:
        del key, repository, progress
        yield cast("DirectRoom", TinyRoom(disk))

    def contents(self, disk: Path) -> ImageContents:
        assert disk.exists()
        return ImageContents()


@dataclass(frozen=True, kw_only=True)
class TinyBake:
    """One bake, that can be made again, also in another process.

    Args:
        later: By how much its clock is ahead.
    """

    access: AccountAccess
    base: ImageId
    cache: Path
    version: str
    later: timedelta = timedelta(0)

    def run(self, account: Account | None = None) -> Baked:
        """Bake; as the same account, or as one that is opened now."""
        account, clock = account or open_account(self.access), HastyClock(self.later)
        kitchen = Kitchen(
            images=Ec2Images(account, clock=clock),
            snapshots=EbsSnapshots(account, cache=self.cache, clock=clock),
            workshop=TinyWorkshop(),
        )
        return bake(self._request(), kitchen=kitchen, progress=lambda _: None)

    def _request(self) -> BakeRequest:
        pin = PackagePin(
            name="hello", version=self.version, architecture="all", digest_sha256="d" * 64
        )
        return BakeRequest(
            app="hello", version=self.version, commit="c" * 40, release_id="r",
            base_image_id=self.base, recipe=(), packages=(pin,), repository=STATE,
        )  # fmt: skip


def register_base(account: Account, name: str) -> ImageId:
    """Make a base image of four blocks."""
    ebs, ec2 = account.ebs, account.ec2
    snapshot_id = SnapshotId(ebs.start_snapshot(VolumeSize=1)["SnapshotId"])
    for index, fill in BASE_BLOCKS.items():
        data = bytes([fill]) * BLOCK_BYTES
        ebs.put_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=index, BlockData=data, DataLength=len(data),
            Checksum=checksum(data), ChecksumAlgorithm="SHA256",
        )  # fmt: skip
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(BASE_BLOCKS))
    await_completed(account, snapshot_id)
    return ImageId(
        ec2.register_image(
            Name=name,
            Architecture="x86_64",
            BootMode="uefi",
            TpmSupport="v2.0",
            EnaSupport=True,
            VirtualizationType="hvm",
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[
                {
                    "DeviceName": "/dev/xvda",
                    "Ebs": {"SnapshotId": snapshot_id, "VolumeType": "gp3", "Throughput": 300},
                }
            ],
        )["ImageId"]
    )


def await_completed(account: Account, snapshot_id: SnapshotId) -> None:
    """Look until a snapshot is completed."""
    look: Callable[..., Any] = account.ec2.describe_snapshots
    for _ in range(1000):
        if look(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "completed":
            return
        time.sleep(0.01)  # noqa: TID251 - the sandbox completes by the host's time
    raise AssertionError(f"{snapshot_id} is not completed")
