"""What a killed bake, a slow EC2 and a damaged block do to snapshots; EBS is played by a fake."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.domain.blocks import BLOCK_BYTES, checksum, linear_checksum
from ovenbird.domain.errors import CloudError
from ovenbird.domain.images import SnapshotId

BLOCKS = {1: b"a" * BLOCK_BYTES, 3: b"b" * BLOCK_BYTES}


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Do")


@dataclass
class Ebs:
    """EBS and EC2 in one: snapshots by client token, states, blocks."""

    states: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, dict[int, bytes]] = field(default_factory=dict)
    aggregate: str = ""
    unknown_puts: int = 0  # how many puts meet a snapshot that is not known yet
    unknown_to_ec2: int = 0  # how many describes do
    damage: bool = False

    def start_snapshot(self, **given: Any) -> dict[str, str]:
        token = given["ClientToken"]
        if token not in self.tokens:
            self.tokens[token] = f"snap-{len(self.tokens)}"
            self.states[self.tokens[token]] = "pending"
            self.blocks[self.tokens[token]] = {}
        # The first answer is repeated, whatever has become of the snapshot.
        return {"SnapshotId": self.tokens[token], "Status": "pending"}

    def put_snapshot_block(self, **given: Any) -> None:
        if self.unknown_puts > 0 or given["SnapshotId"] not in self.states:
            self.unknown_puts -= 1
            raise refused("ResourceNotFoundException")
        self.blocks[given["SnapshotId"]][given["BlockIndex"]] = given["BlockData"]

    def complete_snapshot(self, **given: Any) -> None:
        assert given["ChangedBlocksCount"] == len(self.blocks[given["SnapshotId"]])
        self.aggregate = given["Checksum"]
        self.states[given["SnapshotId"]] = "completed"

    def describe_snapshots(self, SnapshotIds: list[str]) -> dict[str, Any]:  # noqa: N803 - boto's name
        self.unknown_to_ec2 -= 1
        if self.unknown_to_ec2 >= 0 or SnapshotIds[0] not in self.states:
            raise refused("InvalidSnapshot.NotFound")
        return {"Snapshots": [{"State": self.states[SnapshotIds[0]]}]}

    def list_snapshot_blocks(self, **given: Any) -> dict[str, Any]:
        start = int(given.get("NextToken", 0))
        rows = [{"BlockIndex": i, "BlockToken": f"t{i}"} for i in sorted(BLOCKS) if i >= start]
        more = {"NextToken": str(rows[1]["BlockIndex"])} if len(rows) > 1 else {}
        return {"VolumeSize": 1, "Blocks": rows[:1], **more}

    def get_snapshot_block(self, **given: Any) -> dict[str, Any]:
        data = BLOCKS[given["BlockIndex"]]
        arrived = b"x" + data[1:] if self.damage else data
        return {"BlockData": io.BytesIO(arrived), "Checksum": checksum(data)}

    def delete_snapshot(self, SnapshotId: str) -> None:  # noqa: N803 - boto's name
        if self.states.pop(SnapshotId, None) is None:
            raise refused("InvalidSnapshot.NotFound")


Upload = Callable[[], SnapshotId]


@pytest.fixture
def ebs() -> Ebs:
    return Ebs()


@pytest.fixture
def snapshots(ebs: Ebs, tmp_path: Path) -> EbsSnapshots:
    access = SimpleNamespace(endpoint_url="http://here")
    account = SimpleNamespace(ebs=ebs, ec2=ebs, account_id="1" * 12, access=access)
    return EbsSnapshots(cast("Account", account), cache=tmp_path, clock=Clock())


@pytest.fixture
def upload(snapshots: EbsSnapshots) -> Upload:
    def go() -> SnapshotId:
        return snapshots.upload(
            BLOCKS,
            parent=SnapshotId("snap-base"),
            size_gib=1,
            token="t",  # noqa: S106 - a client token
            tags={"Name": "x"},
        )

    return go


def test_blocks_are_written_and_the_aggregate_is_said(ebs: Ebs, upload: Upload) -> None:
    assert upload() == "snap-0"

    assert ebs.blocks["snap-0"] == BLOCKS
    assert ebs.aggregate == linear_checksum({i: checksum(b) for i, b in BLOCKS.items()})


def test_a_new_snapshot_may_be_unknown_for_a_while(ebs: Ebs, upload: Upload) -> None:
    ebs.unknown_puts, ebs.unknown_to_ec2 = 5, 3

    assert upload() == "snap-0"
    assert ebs.states == {"snap-0": "completed"}


def test_what_a_killed_upload_left_is_completed(ebs: Ebs, upload: Upload) -> None:
    ebs.start_snapshot(ClientToken="t")
    ebs.put_snapshot_block(SnapshotId="snap-0", BlockIndex=1, BlockData=BLOCKS[1])

    assert (upload(), upload()) == ("snap-0", "snap-0")
    assert ebs.states == {"snap-0": "completed"}


@pytest.mark.parametrize("fate", ["error", "deleted"])
def test_a_snapshot_that_timed_out_or_is_gone_is_started_anew(
    ebs: Ebs, upload: Upload, fate: str
) -> None:
    ebs.start_snapshot(ClientToken="t")
    if fate == "error":
        ebs.states["snap-0"] = "error"
    else:
        del ebs.states["snap-0"]

    assert upload() == "snap-1"
    assert upload() == "snap-1"
    assert ebs.blocks["snap-1"] == BLOCKS


def test_a_disk_is_read_over_all_pages_once_and_stays_sparse(
    snapshots: EbsSnapshots, ebs: Ebs
) -> None:
    disk = snapshots.download(SnapshotId("snap-base"))
    ebs.damage = True  # would be noticed if it were read again

    assert snapshots.download(SnapshotId("snap-base")) == disk
    assert disk.stat().st_size == 2**30
    assert disk.stat().st_blocks * 512 <= 3 * BLOCK_BYTES
    with disk.open("rb") as file:
        file.seek(3 * BLOCK_BYTES)
        assert file.read(BLOCK_BYTES) == BLOCKS[3]


def test_a_damaged_block_leaves_no_disk_in_the_cache(
    snapshots: EbsSnapshots, ebs: Ebs, tmp_path: Path
) -> None:
    ebs.damage = True

    with pytest.raises(CloudError, match="arrived damaged"):
        snapshots.download(SnapshotId("snap-base"))

    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
