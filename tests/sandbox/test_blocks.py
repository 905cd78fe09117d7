"""The EBS direct APIs through boto3; the same would hold on AWS."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.domain.blocks import BLOCK_BYTES, checksum, linear_checksum
from ovenbird.domain.images import SnapshotId
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.faults import BadDay, Call, Fault
from ovenbird.system.clock import SystemClock

pytestmark = pytest.mark.sandbox


def block(fill: int) -> bytes:
    return bytes([fill]) * BLOCK_BYTES


def put(ebs: Any, snapshot_id: str, index: int, data: bytes, **changed: Any) -> None:
    ebs.put_snapshot_block(
        **{
            "SnapshotId": snapshot_id,
            "BlockIndex": index,
            "BlockData": data,
            "DataLength": len(data),
            "Checksum": checksum(data),
            "ChecksumAlgorithm": "SHA256",
        }
        | changed
    )


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.fixture
def snapshots(endpoint: Endpoint, tmp_path: Path) -> EbsSnapshots:
    return EbsSnapshots(endpoint.development, cache=tmp_path, clock=SystemClock())


@pytest.fixture
def base(endpoint: Endpoint) -> SnapshotId:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for index in (0, 5, 2047):
        put(ebs, snapshot_id, index, block(index % 250 + 1))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=3)
    endpoint.development.ec2.get_waiter("snapshot_completed").wait(
        SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1}
    )
    return SnapshotId(snapshot_id)


def test_a_snapshot_is_read_back_as_it_was_written(
    snapshots: EbsSnapshots, base: SnapshotId
) -> None:
    disk = snapshots.download(base)

    with disk.open("rb") as file:
        file.seek(5 * BLOCK_BYTES)
        assert file.read(BLOCK_BYTES) == block(6)
    assert disk.stat().st_size == 2**30
    assert disk.stat().st_blocks * 512 < 8 * BLOCK_BYTES


def test_a_child_inherits_and_only_its_own_blocks_are_changed(
    endpoint: Endpoint, snapshots: EbsSnapshots, base: SnapshotId
) -> None:
    child = snapshots.upload(
        {5: block(99), 7: block(7)}, parent=base, size_gib=1, token=f"t-{base}", tags={"a": "b"}
    )

    ebs = endpoint.development.ebs
    changed = ebs.list_changed_blocks(FirstSnapshotId=base, SecondSnapshotId=child)
    listed = ebs.list_snapshot_blocks(SnapshotId=child)
    assert [row["BlockIndex"] for row in changed["ChangedBlocks"]] == [5, 7]
    assert [row["BlockIndex"] for row in listed["Blocks"]] == [0, 5, 7, 2047]
    assert listed["BlockSize"] == BLOCK_BYTES


def test_a_child_is_read_as_its_parent_and_what_differs(
    endpoint: Endpoint, snapshots: EbsSnapshots, base: SnapshotId
) -> None:
    child = snapshots.upload(
        {0: bytes(BLOCK_BYTES), 5: block(99), 7: block(7)},
        parent=base, size_gib=2, token=f"c-{base}", tags={},
    )  # fmt: skip
    gets: list[Call] = []

    def decide(call: Call) -> None:
        if call.action == "GetSnapshotBlock":
            gets.append(call)

    snapshots.download(base)
    with endpoint.faults.deciding(decide):
        disk = snapshots.download(child, parent=base)

    assert len(gets) == 3
    assert disk.stat().st_size == 2 * 2**30
    with disk.open("rb") as file:
        for index, wanted in ((0, 0), (5, 99), (7, 7), (2047, 2047 % 250 + 1), (2048, 0)):
            file.seek(index * BLOCK_BYTES)
            assert file.read(BLOCK_BYTES) == block(wanted)


def test_on_a_bad_day_a_whole_image_is_written_and_read_all_the_same(
    endpoint: Endpoint, snapshots: EbsSnapshots, tmp_path: Path
) -> None:
    blocks = {index: block(index % 200 + 1) for index in range(60)}
    day = BadDay(share=0.04, unknown_for=timedelta(seconds=0.3), seed=7)
    met: Counter[str] = Counter()

    def decide(call: Call) -> Fault | None:
        fault = day(call)
        met.update([fault.code] if fault else [])
        return fault

    with endpoint.faults.deciding(decide):
        snapshot_id = snapshots.upload(
            blocks, parent=None, size_gib=1, token=str(tmp_path), tags={}
        )
        disk = snapshots.download(snapshot_id)

    assert {"RequestThrottledException", "ResourceNotFoundException"} <= met.keys()
    with disk.open("rb") as file:
        assert all(file.read(BLOCK_BYTES) == data for data in blocks.values())


def test_the_same_client_token_starts_one_snapshot(
    snapshots: EbsSnapshots, base: SnapshotId
) -> None:
    first = snapshots.upload({1: block(1)}, parent=base, size_gib=1, token=f"x-{base}", tags={})
    again = snapshots.upload({1: block(1)}, parent=base, size_gib=1, token=f"x-{base}", tags={})

    assert first == again


def test_a_client_token_belongs_to_one_request(endpoint: Endpoint, base: SnapshotId) -> None:
    ebs = endpoint.development.ebs
    ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=base, ClientToken=f"y-{base}")

    with pytest.raises(ClientError) as error:
        ebs.start_snapshot(VolumeSize=2, ParentSnapshotId=base, ClientToken=f"y-{base}")

    assert code(error) == "ConflictException"


def test_a_damaged_block_is_refused(endpoint: Endpoint) -> None:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]

    with pytest.raises(ClientError) as error:
        put(ebs, snapshot_id, 0, block(1), Checksum=checksum(block(2)))

    assert code(error) == "ValidationException"


def test_a_wrong_count_or_a_wrong_aggregate_is_refused(endpoint: Endpoint) -> None:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(ebs, snapshot_id, 3, block(1))

    with pytest.raises(ClientError) as count:
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=2)
    with pytest.raises(ClientError) as aggregate:
        ebs.complete_snapshot(
            SnapshotId=snapshot_id,
            ChangedBlocksCount=1,
            Checksum=linear_checksum({3: checksum(block(9))}),
            ChecksumAlgorithm="SHA256",
            ChecksumAggregationMethod="LINEAR",
        )

    assert (code(count), code(aggregate)) == ("ValidationException", "ValidationException")


def test_a_completed_snapshot_never_changes(endpoint: Endpoint, base: SnapshotId) -> None:
    with pytest.raises(ClientError) as error:
        put(endpoint.development.ebs, base, 1, block(1))

    assert code(error) == "ValidationException"


def test_blocks_beyond_the_volume_are_refused(endpoint: Endpoint) -> None:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]

    with pytest.raises(ClientError) as error:
        put(ebs, snapshot_id, 2048, block(1))

    assert code(error) == "ValidationException"


def test_a_pending_snapshot_gives_no_blocks_and_is_no_parent(endpoint: Endpoint) -> None:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(ebs, snapshot_id, 0, block(1))
    token = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"][0]["BlockToken"]

    with pytest.raises(ClientError) as read:
        ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=token)
    with pytest.raises(ClientError) as child:
        ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=snapshot_id)

    assert (code(read), code(child)) == ("ValidationException", "ValidationException")


def test_unknown_snapshots_are_not_found(endpoint: Endpoint) -> None:
    with pytest.raises(ClientError) as error:
        endpoint.development.ebs.list_snapshot_blocks(SnapshotId="snap-00000000000000000")

    assert code(error) == "ResourceNotFoundException"


def test_lists_come_in_pages(endpoint: Endpoint) -> None:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for index in range(120):
        put(ebs, snapshot_id, index * 3, block(index % 5))
    first = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100)
    second = ebs.list_snapshot_blocks(
        SnapshotId=snapshot_id, MaxResults=100, NextToken=first["NextToken"]
    )
    later = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, StartingBlockIndex=351)

    found = [b["BlockIndex"] for b in (*first["Blocks"], *second["Blocks"])]
    assert found == [index * 3 for index in range(120)]
    assert "NextToken" not in second
    assert [b["BlockIndex"] for b in later["Blocks"]] == [351, 354, 357]
    with pytest.raises(ClientError) as error:
        ebs.list_snapshot_blocks(SnapshotId=snapshot_id, NextToken="made up")
    assert code(error) == "ValidationException"


def test_another_account_reads_a_snapshot_only_when_it_is_shared(
    endpoint: Endpoint, base: SnapshotId
) -> None:
    theirs = endpoint.production.ebs

    with pytest.raises(ClientError) as before:
        theirs.list_snapshot_blocks(SnapshotId=base)
    endpoint.development.ec2.modify_snapshot_attribute(
        SnapshotId=base,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[endpoint.production.account_id],
    )
    after = theirs.list_snapshot_blocks(SnapshotId=base)

    assert code(before) == "ResourceNotFoundException"
    assert len(after["Blocks"]) == 3


def test_pending_snapshots_of_a_dead_bake_are_forgotten(
    endpoint: Endpoint, snapshots: EbsSnapshots
) -> None:
    tags: list[Any] = [
        {"Key": "ovenbird:bake-key", "Value": "dead"},
        {"Key": "ovenbird:unregistered", "Value": "true"},
    ]
    snapshot_id = endpoint.development.ebs.start_snapshot(VolumeSize=1, Tags=tags)["SnapshotId"]

    snapshots.forget_unfinished("ovenbird:bake-key", "dead", keep=SnapshotId("snap-1"))

    with pytest.raises(ClientError) as error:
        endpoint.development.ec2.describe_snapshots(SnapshotIds=[snapshot_id])
    assert code(error) == "InvalidSnapshot.NotFound"
