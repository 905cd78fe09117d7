"""Every call that a bake makes goes wrong in turn, in every way; and the bake is killed at each.

Which calls there are is taken from one bake that goes well, so that new ones are covered.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest

from ovenbird.aws import block_calls, block_transports, throttling
from ovenbird.aws.clients import Account
from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.errors import CloudError, OvenbirdError
from ovenbird.domain.images import BAKE_KEY_TAG, UNREGISTERED_TAG, Baked, ImageId, SnapshotId
from ovenbird.sandbox import block_store
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.faults import Call, Decide, Fault, throttled
from tests.sandbox.tiny_bakes import (
    BASE_BLOCKS,
    CHANGED,
    TinyBake,
    await_completed,
    register_base,
)

pytestmark = pytest.mark.sandbox

NewBake = Callable[[], TinyBake]
_numbers = count(1)


@pytest.fixture(scope="module", autouse=True)
def _hasty() -> Iterator[None]:
    """Let nobody wait: neither boto before it tries again, nor the sandbox before it completes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))
        patched.setattr(block_store, "SEAL_S", 0.02)
        patched.setattr(block_calls, "PATIENCE", timedelta(seconds=1))
        yield


@pytest.fixture(scope="module")
def account(endpoint: Endpoint) -> Account:
    return endpoint.development


@pytest.fixture(scope="module")
def base(account: Account) -> ImageId:
    return register_base(account, "tiny-base")


@pytest.fixture(scope="module")
def new_bake(account: Account, base: ImageId, tmp_path_factory: pytest.TempPathFactory) -> NewBake:
    """Each bake has a version, a key and a cache of its own."""
    place = tmp_path_factory.mktemp("tiny")

    def make() -> TinyBake:
        number = next(_numbers)
        return TinyBake(
            access=account.access, base=base, cache=place / str(number), version=f"1.{number}"
        )

    return make


@pytest.fixture(scope="module")
def calls(endpoint: Endpoint, account: Account, new_bake: NewBake) -> tuple[Call, ...]:
    """The calls of a bake that goes well."""
    found: list[Call] = []

    def decide(call: Call) -> None:
        found.append(call)

    with endpoint.faults.deciding(decide):
        new_bake().run(account)
    return tuple(found)


@pytest.fixture(scope="module")
def actions(calls: tuple[Call, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(call.action for call in calls))


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all blocks go over connections of our own."""
    monkeypatch.setattr(block_transports, "DIRECT_FROM", 1)


def at_first(action: str, fault: Callable[[Call], Fault]) -> Decide:
    """Let the first call of an action go wrong, and all others go well."""
    met: list[Call] = []

    def decide(call: Call) -> Fault | None:
        if call.action != action or met:
            return None
        met.append(call)
        return fault(call)

    return decide


def check_world(account: Account, bake: TinyBake, baked: Baked) -> None:
    """One image, one snapshot, right bytes: nothing else is left of any try."""
    ec2, key = account.ec2, baked.image.bake_key
    wanted = [{"Name": f"tag:{BAKE_KEY_TAG}", "Values": [key]}]
    images = ec2.describe_images(Filters=wanted)["Images"]  # type: ignore[arg-type]
    found = ec2.describe_snapshots(Filters=wanted)["Snapshots"]  # type: ignore[arg-type]
    assert [image["ImageId"] for image in images] == [baked.image.image_id]
    assert [(one["SnapshotId"], one["State"]) for one in found] == [
        (baked.image.root_snapshot_id, "completed")
    ]
    changed = account.ebs.list_changed_blocks(
        FirstSnapshotId=account.ec2.describe_images(ImageIds=[bake.base])["Images"][0][
            "BlockDeviceMappings"
        ][0]["Ebs"]["SnapshotId"],
        SecondSnapshotId=baked.image.root_snapshot_id,
    )
    assert tuple(row["BlockIndex"] for row in changed["ChangedBlocks"]) == CHANGED
    assert not [path for path in bake.cache.iterdir() if path.suffix == ".part"]


def test_a_bake_makes_the_calls_that_are_expected(calls: tuple[Call, ...]) -> None:
    found = Counter(call.action for call in calls)

    assert found.keys() >= {
        "DescribeImages", "ListSnapshotBlocks", "GetSnapshotBlock", "StartSnapshot",
        "PutSnapshotBlock", "CompleteSnapshot", "DescribeSnapshots", "ListChangedBlocks",
        "RegisterImage", "DeleteTags",
    }  # fmt: skip
    assert (found["GetSnapshotBlock"], found["PutSnapshotBlock"]) == (len(BASE_BLOCKS), 3)


def test_image_and_snapshot_have_the_same_tags(account: Account, new_bake: NewBake) -> None:
    bake = new_bake()
    baked = bake.run(account)

    check_world(account, bake, baked)
    snapshot = account.ec2.describe_snapshots(SnapshotIds=[baked.image.root_snapshot_id])
    tags = {tag["Key"]: tag["Value"] for tag in snapshot["Snapshots"][0]["Tags"]}
    assert tags == baked.image.tags
    assert bake.run(account).reused


def test_an_image_has_everything_of_its_base(account: Account, new_bake: NewBake) -> None:
    image_id = new_bake().run(account).image.image_id

    raw = account.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert (raw["Architecture"], raw["BootMode"], raw["TpmSupport"], raw["ImdsSupport"]) == (
        "x86_64", "uefi", "v2.0", "v2.0",
    )  # fmt: skip
    assert raw["BlockDeviceMappings"][0]["Ebs"]["VolumeType"] == "gp3"


def lost(_: Call) -> Fault:
    return Fault(loses="request")


def answer_lost(_: Call) -> Fault:
    return Fault(loses="answer")


def failing(call: Call) -> Fault:
    code = "InternalError" if call.service == "ec2" else "InternalServerException"
    return Fault(code=code, status=500)


def refused(call: Call) -> Fault:
    code = "UnauthorizedOperation" if call.service == "ec2" else "AccessDeniedException"
    return Fault(code=code, status=403)


BLOCK_ACTIONS = ("GetSnapshotBlock", "PutSnapshotBlock")


@pytest.mark.parametrize("fault", [throttled, lost, answer_lost])
def test_one_fault_at_any_call_is_lived_with(
    endpoint: Endpoint,
    account: Account,
    new_bake: NewBake,
    actions: tuple[str, ...],
    fault: Callable[[Call], Fault],
) -> None:
    for action in actions:
        live_with(at_first(action, fault), endpoint, account, new_bake())


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("fault", [throttled, lost, answer_lost, failing])
def test_one_fault_of_connections_of_our_own_is_lived_with(
    endpoint: Endpoint, account: Account, new_bake: NewBake, fault: Callable[[Call], Fault]
) -> None:
    for action in BLOCK_ACTIONS:
        live_with(at_first(action, fault), endpoint, account, new_bake())


def live_with(decide: Decide, endpoint: Endpoint, account: Account, bake: TinyBake) -> None:
    with endpoint.faults.deciding(decide):
        baked = bake.run(account)

    assert not baked.reused
    check_world(account, bake, baked)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again for a moment alone what is refused as one too many."""
    monkeypatch.setattr(throttling, "PATIENCE_S", 0.2)
    monkeypatch.setattr(throttling, "FIRST_PAUSE_S", 0.1)


@pytest.mark.parametrize("fault", [refused, throttled])
def test_a_call_that_always_fails_says_so_and_leaves_nothing(
    endpoint: Endpoint,
    account: Account,
    new_bake: NewBake,
    actions: tuple[str, ...],
    fault: Callable[[Call], Fault],
) -> None:
    for action in actions:
        error = fail_by(action, fault, endpoint, account, new_bake())

        assert error.hint, action


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("fault", [refused, throttled, lost])
def test_connections_of_our_own_that_always_fail_say_so_and_leave_nothing(
    endpoint: Endpoint, account: Account, new_bake: NewBake, fault: Callable[[Call], Fault]
) -> None:
    for action in BLOCK_ACTIONS:
        error = fail_by(action, fault, endpoint, account, new_bake())

        assert "snap-" in str(error)


def fail_by(
    action: str,
    fault: Callable[[Call], Fault],
    endpoint: Endpoint,
    account: Account,
    bake: TinyBake,
) -> OvenbirdError:
    """Bake with calls that always fail, look what is left, and bake again without faults."""

    def decide(call: Call) -> Fault | None:
        return fault(call) if call.action == action else None

    with endpoint.faults.deciding(decide), pytest.raises(CloudError) as caught:
        bake.run(account)

    wanted: list[Any] = [
        {"Name": "tag:ovenbird:version", "Values": [bake.version]},
        {"Name": "status", "Values": ["pending"]},
    ]
    assert account.ec2.describe_snapshots(Filters=wanted)["Snapshots"] == [], action
    check_world(account, bake, bake.run(account))
    return caught.value


def test_a_damaged_block_is_read_again(
    endpoint: Endpoint, account: Account, new_bake: NewBake
) -> None:
    bake = new_bake()
    with endpoint.faults.deciding(at_first("GetSnapshotBlock", lambda _: Fault(damages=True))):
        baked = bake.run(account)

    check_world(account, bake, baked)
    disk = next(bake.cache.glob("*.raw"))
    for index, fill in BASE_BLOCKS.items():
        with disk.open("rb") as file:
            file.seek(index * BLOCK_BYTES)
            assert file.read(BLOCK_BYTES) == bytes([fill]) * BLOCK_BYTES


def test_a_block_that_is_always_damaged_ends_the_bake_and_leaves_no_disk(
    endpoint: Endpoint, account: Account, new_bake: NewBake
) -> None:
    bake = new_bake()

    def decide(call: Call) -> Fault | None:
        return Fault(damages=True) if call.action == "GetSnapshotBlock" else None

    with endpoint.faults.deciding(decide), pytest.raises(CloudError, match="arrived damaged"):
        bake.run(account)

    assert {path.suffix for path in bake.cache.iterdir()} == {".lock"}


def test_a_base_that_disappears_while_it_is_read_is_named(
    endpoint: Endpoint, account: Account, new_bake: NewBake
) -> None:
    bake = new_bake()

    def decide(call: Call) -> Fault | None:
        gone = Fault(code="ResourceNotFoundException", status=404)
        return gone if call.action == "GetSnapshotBlock" else None

    with endpoint.faults.deciding(decide), pytest.raises(OvenbirdError) as caught:
        bake.run(account)

    assert "snap-" in str(caught.value)
    assert "deleted meanwhile" in caught.value.hint
    assert {path.suffix for path in bake.cache.iterdir()} == {".lock"}


def test_a_bake_that_is_killed_at_any_call_is_finished_by_the_next(
    endpoint: Endpoint, account: Account, new_bake: NewBake, actions: tuple[str, ...]
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.sandbox.warm_bakes"])
    for number in count(1):
        bake = new_bake()
        child = processes.Process(target=bake.run)

        def kill(now: Call, number: int = number, child: object = child) -> None:
            if now.number == number:  # the call itself is still carried out
                os.kill(child.pid, signal.SIGKILL)  # type: ignore[attr-defined]

        with endpoint.faults.deciding(kill):
            child.start()
            child.join(60)
        code = child.exitcode
        child.close()

        check_world(account, bake, bake.run(account))
        if code == 0:  # there are no more calls to be killed at
            break
        assert code == -signal.SIGKILL
    assert number > len(actions)


def test_what_dead_bakes_left_long_ago_goes_with_the_next_bake_of_another_app(
    account: Account, new_bake: NewBake
) -> None:
    ebs, ec2 = account.ebs, account.ec2
    used = new_bake().run(account).image.root_snapshot_id
    tags: list[Any] = [
        {"Key": UNREGISTERED_TAG, "Value": "true"},
        {"Key": BAKE_KEY_TAG, "Value": "dead"},
    ]
    pending, completed, kept = (
        ebs.start_snapshot(VolumeSize=1, Tags=given)["SnapshotId"]
        for given in (tags, tags, tags[1:])
    )
    for snapshot_id in (completed, kept):
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
        await_completed(account, SnapshotId(snapshot_id))
    ec2.create_tags(Resources=[used], Tags=tags[:1])

    new_bake().run(account)
    young = snapshots(account)
    replace(new_bake(), later=timedelta(hours=25)).run(account)

    old = snapshots(account)
    assert {pending, completed, kept, used} <= young.keys()
    assert {pending, completed} & old.keys() == set()
    assert UNREGISTERED_TAG in young[used]
    assert UNREGISTERED_TAG not in old[used]
    assert kept in old  # not marked: somebody deregistered its image, and it stays


def snapshots(account: Account) -> dict[str, set[str]]:
    """Return the account's snapshots, and the keys of their tags."""
    found = account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return {one["SnapshotId"]: {tag["Key"] for tag in one.get("Tags", [])} for one in found}
