"""Bakes by builders that are no machines: what is there meanwhile, and what is left."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.builder_images import BuilderImages
from ovenbird.aws.builder_resources import TEMPORARY_TAG, Mark
from ovenbird.domain.errors import (
    CapacityShortage,
    CloudError,
    CommandFailed,
    Conflict,
    InvalidRequest,
    Throttled,
)
from ovenbird.domain.images import PROVENANCE_TAG, BakeStrategy
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.system.clock import SystemClock
from tests.sandbox.builder_bakes import CALLS, STATE, Bakes
from tests.sandbox.fleet import register_image

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bakes(endpoint: Endpoint, tmp_path: Path) -> Bakes:
    account = endpoint.development
    return Bakes(account, tmp_path / "builders", register_image(account))


def test_a_builder_becomes_the_image_and_nothing_else_stays(bakes: Bakes) -> None:
    baked = bakes.bake("1.0")

    image = baked.image
    assert baked.notes == ()
    assert baked.strategy is BakeStrategy.INSTANCE
    assert (baked.blocks_uploaded, baked.reused) == (0, False)
    assert (image.imds_v2, image.state, image.bake_key != "") == (True, "available", True)
    (snapshot,) = bakes.account.ec2.describe_snapshots(SnapshotIds=[image.root_snapshot_id])[
        "Snapshots"
    ]
    assert {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]} == image.tags
    assert set(bakes.shelf.kept) == {(image.bake_key, image.tags[PROVENANCE_TAG])}
    assert bakes.temporary() == []
    assert bakes.said[-7:-4] == ["Installing ", "clean", "check"]


def test_meanwhile_everything_is_marked_and_imdsv2_is_required(
    bakes: Bakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def look(*_: Any) -> None:
        temporary = bakes.temporary()
        found = bakes.account.ec2.describe_instances(InstanceIds=temporary[:1])
        seen.extend([found["Reservations"][0]["Instances"][0], temporary])

    monkeypatch.setattr("tests.sandbox.builder_bakes.Room.clean", look)
    bakes.bake("1.0")

    instance, temporary = seen
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert temporary[2] == instance["KeyName"]
    (interface,) = instance["NetworkInterfaces"]
    assert [group["GroupName"] for group in interface["Groups"]] == [instance["KeyName"]]
    assert len(temporary) == 4  # instance, group, key pair, directory
    assert bakes.locks() == []


def test_a_base_that_is_billed_is_baked_by_a_builder_and_stays_billed(bakes: Bakes) -> None:
    ec2 = bakes.account.ec2
    (root,) = ec2.describe_images(ImageIds=[bakes.base_image_id])["Images"][0][
        "BlockDeviceMappings"
    ]
    bakes.base_image_id = ec2.register_image(
        Name=f"billed-{uuid.uuid4()}",
        Architecture="x86_64",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BillingProducts=["bp-6fa54006"],
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": root["Ebs"]["SnapshotId"]}}
        ],
    )["ImageId"]
    bakes.strategy = BakeStrategy.AUTO

    baked = bakes.bake("1.2")

    assert baked.strategy is BakeStrategy.INSTANCE
    assert baked.image.usage_operation == "RunInstances:0010"
    assert any("has billing products" in line for line in bakes.said)
    bakes.strategy = BakeStrategy.DIRECT
    with pytest.raises(InvalidRequest, match="RegisterImage does not carry over"):
        bakes.bake("1.3")


@pytest.mark.parametrize(
    ("call", "code", "error", "hint"),
    [
        ("RunInstances", "InsufficientInstanceCapacity", CapacityShortage, "instance_type"),
        ("RunInstances", "OptInRequired", CloudError, "Accept the terms"),
        ("AuthorizeSecurityGroupIngress", "RequestLimitExceeded", Throttled, ""),
        ("CreateImage", "InternalError", Throttled, ""),
        ("ModifyImageAttribute", "UnauthorizedOperation", CloudError, "allow it"),
    ],
)
def test_a_refused_call_leaves_nothing(
    bakes: Bakes, call: str, code: str, error: type[CloudError], hint: str
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "not now"}}, call)

    bakes.account.ec2.meta.events.register(f"before-call.ec2.{call}", refuse)
    with pytest.raises(error, match=code) as caught:
        bakes.bake("1.4")
    bakes.account.ec2.meta.events.unregister(f"before-call.ec2.{call}", refuse)

    assert hint in caught.value.hint
    assert bakes.temporary() == []
    bakes.builders.sweep(bakes.said.append)
    assert bakes.locks() == []


def test_a_failing_step_leaves_nothing(bakes: Bakes) -> None:
    with pytest.raises(CommandFailed, match="fails"):
        bakes.bake("1.5", "fails")

    assert bakes.temporary() == []
    assert bakes.made("1.5") == 0


def test_two_bakes_at_once_do_not_touch_each_other(bakes: Bakes) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(bakes.bake, ["2.0", "2.1"])

    assert first.image.image_id != second.image.image_id
    assert bakes.temporary() == []


def test_a_fresh_bake_that_was_made_for_this_release_is_found(bakes: Bakes) -> None:
    first, again = bakes.bake("3.0", fresh=True), bakes.bake("3.0", fresh=True)

    assert (again.image, again.reused) == (first.image, True)


def test_a_name_that_another_image_has_is_refused_before_anything_is_launched(
    bakes: Bakes,
) -> None:
    name = bakes.bake("4.0", fresh=True).image
    bakes.account.ec2.create_tags(
        Resources=[name.image_id], Tags=[{"Key": "ovenbird:bake-key", "Value": "other"}]
    )

    with pytest.raises(Conflict, match="of another bake"):
        bakes.bake("4.0", fresh=True)


def test_a_mark_that_only_the_snapshot_of_an_image_kept_is_in_nobodys_way(bakes: Bakes) -> None:
    baked = bakes.bake("1.0")
    now = datetime.now(tz=UTC)  # noqa: TID251 - a test's clock
    mark = Mark(builder_id=uuid.uuid4().hex[:8], deadline=now)
    bakes.account.ec2.create_tags(
        Resources=[baked.image.root_snapshot_id], Tags=[{"Key": TEMPORARY_TAG, "Value": str(mark)}]
    )

    images = BuilderImages(bakes.account, clock=SystemClock())

    try:
        assert images.sweep(lambda found: found == mark) == ()
        assert bakes.bake("1.0").image.image_id == baked.image.image_id
    finally:
        bakes.account.ec2.delete_tags(
            Resources=[baked.image.root_snapshot_id], Tags=[{"Key": TEMPORARY_TAG}]
        )


def test_what_another_host_left_goes_when_its_time_is_over(bakes: Bakes, tmp_path: Path) -> None:
    with bakes.builders.open(
        bakes.images.get(bakes.bake("5.0").image.image_id),
        key="k",
        repository=STATE,
        progress=bakes.said.append,
    ):
        here = bakes.temporary()
        soon = Bakes(bakes.account, tmp_path / "elsewhere", bakes.base_image_id)
        soon.builders.sweep(soon.said.append)
        kept = bakes.temporary()
        late = Bakes(
            bakes.account, tmp_path / "later", bakes.base_image_id, ahead=timedelta(hours=5)
        )
        late.builders.sweep(late.said.append)

    assert kept == here
    assert [line for line in late.said if here[0] in line]
    assert soon.said == []


def test_a_kill_at_any_point_is_mended_by_the_next_bake(endpoint: Endpoint, tmp_path: Path) -> None:
    image_id = register_image(endpoint.development)
    words = [endpoint.url, str(endpoint.credentials_file), str(tmp_path / "builders"), image_id]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "tests.sandbox.builder_bakes", *words],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=240,
    )  # fmt: skip
    deaths = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 0, done.stderr
    assert [death["call"] for death in deaths] == list(CALLS)
    assert [death["call"] for death in deaths if death["signal"] != 9] == []
    assert [death for death in deaths if not death["left"]] == []
    assert [death for death in deaths if death["left_after"] or death["images"] != 1] == []
