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
from ovenbird.domain.blocks import BLOCK_BYTES, ZERO_BLOCK, checksum, linear_checksum
from ovenbird.domain.errors import CloudError, Throttled
from ovenbird.domain.images import SnapshotId
from ovenbird.system.disks.disk_cache import DiskCache

BLOCKS = {1: b"a" * BLOCK_BYTES, 3: b"b" * BLOCK_BYTES}
CHILD = {1: b"c" * BLOCK_BYTES, 4: ZERO_BLOCK, 5: b"d" * BLOCK_BYTES}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = NOW

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
    marks: dict[str, dict[str, str]] = field(default_factory=dict)  # tags of what is marked
    aggregate: str = ""
    age_s: float = 0.0  # of a snapshot that a token started before
    unknown_puts: int = 0  # how many puts meet a snapshot that is not known yet
    unknown_to_ec2: int = 0  # how many describes do
    swept: int = 0  # how many snapshots somebody deletes while they complete
    damaged: int = 0  # how many blocks arrive damaged
    refusals: list[str] = field(default_factory=list)  # of the next puts, by code
    changed: list[list[int]] = field(default_factory=list)  # answers to ListChangedBlocks
    gets: list[int] = field(default_factory=list)
    untagged: list[str] = field(default_factory=list)

    def start_snapshot(self, **given: Any) -> dict[str, Any]:
        token, known = given["ClientToken"], given["ClientToken"] in self.tokens
        if not known:
            self.tokens[token] = f"snap-{len(self.tokens)}"
            self.states[self.tokens[token]] = "pending"
            self.blocks[self.tokens[token]] = {}
        # The first answer is repeated, whatever has become of the snapshot.
        started = NOW - timedelta(seconds=self.age_s if known else 0)
        headers = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}
        return {"SnapshotId": self.tokens[token], "StartTime": started,
                "ResponseMetadata": {"HTTPHeaders": headers}}  # fmt: skip

    def put_snapshot_block(self, **given: Any) -> None:
        if self.refusals:
            raise refused(self.refusals.pop(0))
        if self.unknown_puts > 0 or given["SnapshotId"] not in self.states:
            self.unknown_puts -= 1
            raise refused("ResourceNotFoundException")
        if self.states[given["SnapshotId"]] != "pending":
            raise refused("ValidationException")
        self.blocks[given["SnapshotId"]][given["BlockIndex"]] = given["BlockData"]

    def complete_snapshot(self, **given: Any) -> None:
        assert given["ChangedBlocksCount"] == len(self.blocks[given["SnapshotId"]])
        self.aggregate = given.get("Checksum", "")
        self.states[given["SnapshotId"]] = "completed"
        self.swept -= 1
        if self.swept >= 0:
            del self.states[given["SnapshotId"]]

    def describe_snapshots(self, SnapshotIds: list[str]) -> dict[str, Any]:  # noqa: N803 - boto's name
        self.unknown_to_ec2 -= 1
        state = self.states.get(SnapshotIds[0])
        if self.unknown_to_ec2 >= 0 or state is None:
            raise refused("InvalidSnapshot.NotFound")
        if state == "sealed":
            self.states[SnapshotIds[0]] = "completed"
        return {"Snapshots": [{"State": "pending" if state == "sealed" else state}]}

    def get_paginator(self, _: str) -> Any:
        """DescribeSnapshots for those that are marked."""

        def paginate(**given: Any) -> list[Any]:
            ids = [f["Values"] for f in given["Filters"] if f["Name"] == "snapshot-id"]
            return [
                {"Snapshots": [
                    {"SnapshotId": one, "State": self.states[one],
                     "StartTime": NOW - timedelta(hours=float(tags.get("hours", 0))),
                     **({"CompletionTime": NOW - timedelta(hours=float(tags["completed"]))}
                        if "completed" in tags else {}),
                     "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                    for one, tags in self.marks.items()
                    if one in self.states and (not ids or one in ids[0])
                ]}
            ]  # fmt: skip

        return SimpleNamespace(paginate=paginate)

    def list_snapshot_blocks(self, **given: Any) -> dict[str, Any]:
        start = int(given.get("NextToken", 0))
        rows = [{"BlockIndex": i, "BlockToken": f"t{i}"} for i in sorted(BLOCKS) if i >= start]
        more = {"NextToken": str(rows[1]["BlockIndex"])} if len(rows) > 1 else {}
        return {"VolumeSize": 1, "Blocks": rows[:1], **more}

    def list_changed_blocks(self, **_: Any) -> dict[str, Any]:
        if not self.changed:
            raise refused("ValidationException")
        found = self.changed.pop(0) if len(self.changed) > 1 else self.changed[0]
        rows: list[dict[str, Any]] = [
            {"BlockIndex": index, **({"SecondBlockToken": "t"} if index in CHILD else {})}
            for index in found
        ]
        return {"VolumeSize": 2, "ChangedBlocks": rows}

    def get_snapshot_block(self, **given: Any) -> dict[str, Any]:
        index = given["BlockIndex"]
        self.gets.append(index)
        data = (CHILD if given["SnapshotId"] == "snap-child" else BLOCKS)[index]
        self.damaged -= 1
        arrived = b"x" + data[1:] if self.damaged >= 0 else data
        return {"BlockData": io.BytesIO(arrived), "Checksum": checksum(data)}

    def delete_snapshot(self, SnapshotId: str) -> None:  # noqa: N803 - boto's name
        if self.marks.get(SnapshotId, {}).get("used"):
            raise refused("InvalidSnapshot.InUse")
        if self.states.pop(SnapshotId, None) is None:
            raise refused("InvalidSnapshot.NotFound")

    def delete_tags(self, Resources: list[str], Tags: object) -> None:  # noqa: N803 - boto's name
        assert Tags == [{"Key": "ovenbird:unregistered"}]
        self.untagged += Resources


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

    ebs.age_s = 60.0

    assert upload() == "snap-1"
    assert upload() == "snap-1"
    assert ebs.blocks["snap-1"] == BLOCKS


def test_a_snapshot_that_somebody_deletes_while_it_completes_is_started_anew(
    ebs: Ebs, upload: Upload
) -> None:
    ebs.swept = 1

    assert upload() == "snap-1"
    assert ebs.states == {"snap-1": "completed"}


def test_a_disk_is_read_over_all_pages_once_and_stays_sparse(
    snapshots: EbsSnapshots, ebs: Ebs
) -> None:
    disk = snapshots.download(SnapshotId("snap-base"))

    assert snapshots.download(SnapshotId("snap-base")) == disk
    assert sorted(ebs.gets) == [1, 3]
    assert disk.stat().st_size == 2**30
    assert disk.stat().st_blocks * 512 <= 3 * BLOCK_BYTES
    with disk.open("rb") as file:
        file.seek(3 * BLOCK_BYTES)
        assert file.read(BLOCK_BYTES) == BLOCKS[3]


def test_a_damaged_block_leaves_no_disk_in_the_cache(
    snapshots: EbsSnapshots, ebs: Ebs, tmp_path: Path
) -> None:
    ebs.damaged = 1000

    with pytest.raises(CloudError, match="arrived damaged"):
        snapshots.download(SnapshotId("snap-base"))

    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_block_that_arrived_damaged_is_read_again(
    snapshots: EbsSnapshots, ebs: Ebs, tmp_path: Path
) -> None:
    ebs.damaged = 1

    disk = snapshots.download(SnapshotId("snap-base"))

    assert read(disk, 1) == BLOCKS[1]
    assert len(ebs.gets) == 3
    assert all(ok for _, ok in DiskCache(tmp_path, limit_gib=1, clock=Clock()).examined())


def read(disk: Path, index: int) -> bytes:
    with disk.open("rb") as file:
        file.seek(index * BLOCK_BYTES)
        return file.read(BLOCK_BYTES)


def test_of_a_child_only_what_differs_is_read(
    snapshots: EbsSnapshots, ebs: Ebs, tmp_path: Path
) -> None:
    base = snapshots.download(SnapshotId("snap-base"))
    ebs.gets.clear()
    ebs.changed = [[1, 3, 4, 5]]

    disk = snapshots.download(SnapshotId("snap-child"), parent=SnapshotId("snap-base"))

    assert sorted(ebs.gets) == [1, 4, 5]
    assert [read(disk, index) for index in (1, 3, 4, 5)] == [
        CHILD[1], ZERO_BLOCK, ZERO_BLOCK, CHILD[5],
    ]  # fmt: skip
    assert disk.stat().st_size == 2 * 2**30
    assert disk.stat().st_blocks * 512 <= 4 * BLOCK_BYTES
    assert read(base, 1) == BLOCKS[1]
    assert all(ok for _, ok in DiskCache(tmp_path, limit_gib=1, clock=Clock()).examined())


def test_snapshots_that_ebs_finds_unrelated_are_read_as_a_whole(
    snapshots: EbsSnapshots, ebs: Ebs
) -> None:
    disk = snapshots.download(SnapshotId("snap-other"), parent=SnapshotId("snap-base"))

    assert sorted(ebs.gets) == [1, 1, 3, 3]
    assert read(disk, 3) == BLOCKS[3]


def test_zero_blocks_are_left_out_only_where_there_is_no_parent(
    snapshots: EbsSnapshots, ebs: Ebs
) -> None:
    blocks = {1: BLOCKS[1], 2: ZERO_BLOCK}
    for token, parent in (("whole", None), ("child", SnapshotId("snap-base"))):
        snapshots.upload(blocks, parent=parent, size_gib=1, token=token, tags={})

    assert ebs.blocks == {"snap-0": {1: BLOCKS[1]}, "snap-1": blocks}


def test_a_snapshot_of_nothing_but_zeros_is_completed(snapshots: EbsSnapshots, ebs: Ebs) -> None:
    for blocks in ({}, {2: ZERO_BLOCK}):
        snapshots.upload(blocks, parent=None, size_gib=1, token=f"t{len(blocks)}", tags={})

    assert set(ebs.states.values()) == {"completed"}


@pytest.mark.parametrize("code", ["RequestThrottledException", "InternalServerException"])
def test_throttling_and_errors_of_the_server_are_waited_out(
    ebs: Ebs, upload: Upload, code: str
) -> None:
    ebs.refusals = [code] * 12

    assert upload() == "snap-0"
    assert ebs.blocks["snap-0"] == BLOCKS


def test_what_cannot_be_written_is_deleted(ebs: Ebs, upload: Upload) -> None:
    ebs.refusals = ["AccessDeniedException"] * 4

    with pytest.raises(CloudError, match="AccessDenied"):
        upload()

    assert ebs.states == {}


def test_patience_with_throttling_ends_and_says_what_to_do(ebs: Ebs, upload: Upload) -> None:
    ebs.refusals = ["RequestThrottledException"] * 1000

    with pytest.raises(Throttled) as caught:
        upload()

    assert "quota" in caught.value.hint
    assert ebs.states == {}


def test_a_snapshot_that_a_killed_call_completed_is_awaited(ebs: Ebs, upload: Upload) -> None:
    ebs.start_snapshot(ClientToken="t")
    ebs.states["snap-0"] = "sealed"

    assert upload() == "snap-0"
    assert ebs.states == {"snap-0": "completed"}


def test_a_refused_block_of_a_pending_snapshot_is_an_error(ebs: Ebs, upload: Upload) -> None:
    ebs.refusals = ["ValidationException"] * 4

    with pytest.raises(CloudError, match="ValidationException"):
        upload()

    assert ebs.states == {}


VERIFIED = [
    ([[1, 3]], ""),
    ([[], [1], [1, 3]], ""),  # listed late
    ([[1, 3, 9]], "in 3 blocks, not in the 2 that were written; first at block 9"),
    ([[1]], "in 1 blocks, not in the 2 that were written; first at block 3"),
]


@pytest.mark.parametrize(("answers", "words"), VERIFIED)
def test_ebs_must_see_the_same_changes(
    snapshots: EbsSnapshots, ebs: Ebs, answers: list[list[int]], words: str
) -> None:
    ebs.changed, ebs.states["snap-0"], ebs.marks["snap-0"] = answers, "completed", {}

    def verify() -> None:
        snapshots.verify(SnapshotId("snap-0"), parent=SnapshotId("snap-base"), blocks={1, 3})

    if not words:
        verify()
        assert ebs.states == {"snap-0": "completed"}
        return
    with pytest.raises(CloudError, match=words):
        verify()
    assert ebs.states == {}


def test_a_snapshot_that_is_not_marked_is_never_deleted_for_being_wrong(
    snapshots: EbsSnapshots, ebs: Ebs
) -> None:
    ebs.changed, ebs.states["snap-0"] = [[9]], "completed"

    with pytest.raises(CloudError):
        snapshots.verify(SnapshotId("snap-0"), parent=SnapshotId("snap-base"), blocks={1})

    assert ebs.states == {"snap-0": "completed"}


def test_what_dead_bakes_left_is_swept(snapshots: EbsSnapshots, ebs: Ebs) -> None:
    key = "ovenbird:bake-key"
    ebs.marks = {
        "snap-keep": {key: "k", "hours": "9"},
        "snap-same-pending": {key: "k"},
        "snap-same-error": {key: "k"},
        "snap-same-completed": {key: "k"},
        "snap-other-pending": {key: "o"},
        "snap-old-pending": {key: "o", "hours": "25"},
        "snap-slow-pending": {key: "o", "hours": "23"},
        "snap-slow-completed": {key: "o", "hours": "23", "completed": "1"},
        "snap-old-completed": {key: "o", "hours": "23", "completed": "3"},
        "snap-old-used": {key: "o", "hours": "3", "used": "1"},
    }
    ebs.states = {name: name.rsplit("-", maxsplit=1)[-1] for name in ebs.marks}

    snapshots.forget_unfinished(key, "k", keep=SnapshotId("snap-keep"))

    assert set(ebs.states) == {
        "snap-keep", "snap-same-completed", "snap-other-pending", "snap-old-used",
        "snap-slow-pending", "snap-slow-completed",
    }  # fmt: skip
    assert ebs.untagged == ["snap-old-used"]
