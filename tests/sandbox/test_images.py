"""Images, sharing and roles through boto3; the same would hold on AWS."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.images import Ec2Images
from ovenbird.aws.sharing import Ec2Sharing
from ovenbird.domain.errors import CloudError, Conflict, NotFound
from ovenbird.domain.images import BAKE_KEY_TAG, Image, ImageId, SnapshotId
from ovenbird.domain.sharing import Principal, PrincipalKind
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import PRODUCTION
from tests.sandbox.fleet import register_image

pytestmark = pytest.mark.sandbox

Register = Callable[[str], Image]


@pytest.fixture
def images(endpoint: Endpoint) -> Ec2Images:
    return Ec2Images(endpoint.development)


@pytest.fixture
def theirs(endpoint: Endpoint) -> Ec2Images:
    return Ec2Images(endpoint.production)


@pytest.fixture
def base(endpoint: Endpoint, images: Ec2Images) -> Image:
    ebs, ec2 = endpoint.development.ebs, endpoint.development.ec2
    snapshot_id = ebs.start_snapshot(VolumeSize=2)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    image_id = ec2.register_image(
        Name=f"base-{uuid.uuid4()}",
        Architecture="x86_64",
        BootMode="uefi-preferred",
        EnaSupport=True,
        ImdsSupport="v2.0",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    return images.get(ImageId(image_id))


@pytest.fixture
def register(images: Ec2Images, base: Image) -> Register:
    def make(key: str) -> Image:
        return images.register(
            name=f"hello-{uuid.uuid4()}",
            base=base,
            snapshot_id=SnapshotId(base.root_snapshot_id),
            tags={BAKE_KEY_TAG: key},
        )

    return make


def let_in(endpoint: Endpoint, image: Image) -> None:
    """Let production launch an image of development's and read its snapshot."""
    door = Ec2Sharing(endpoint.development)
    door.allow_volumes(image, [PRODUCTION])
    door.allow_launch(image, [Principal(kind=PrincipalKind.ACCOUNT, name=PRODUCTION)])


def test_an_image_keeps_what_it_was_registered_with(register: Register) -> None:
    image = register("k1")

    assert (image.architecture, image.boot_mode, image.ena, image.imds_v2, image.size_gib) == (
        "x86_64", "uefi-preferred", True, True, 2,
    )  # fmt: skip
    assert image.root_device_name == "/dev/xvda"
    assert image.bake_key == "k1"


def test_a_baked_image_is_found_by_its_key(images: Ec2Images, register: Register) -> None:
    image = register("k2")

    assert images.find_baked("k2") == image
    assert images.find_baked("never") is None
    assert image in images.list_baked()


def test_a_name_is_taken_once(images: Ec2Images, base: Image, endpoint: Endpoint) -> None:
    ebs = endpoint.development.ebs
    other = SnapshotId(ebs.start_snapshot(VolumeSize=2)["SnapshotId"])
    ebs.complete_snapshot(SnapshotId=other, ChangedBlocksCount=0)

    with pytest.raises(Conflict, match="already in use"):
        images.register(name=base.name, base=base, snapshot_id=other, tags={})


def test_registering_again_after_a_crash_gives_the_same_image(
    images: Ec2Images, base: Image
) -> None:
    again = images.register(
        name=base.name, base=base, snapshot_id=SnapshotId(base.root_snapshot_id), tags={}
    )

    assert again == base


def test_an_image_that_others_share_under_our_bases_name_is_not_taken_for_it(
    endpoint: Endpoint, base: Image, theirs: Ec2Images
) -> None:
    let_in(endpoint, base)

    assert theirs.get(base.image_id).name == base.name
    assert theirs.find_by_name(base.name) is None


def test_an_image_that_is_not_shared_does_not_exist_for_others(
    register: Register, theirs: Ec2Images
) -> None:
    image = register("k3")

    with pytest.raises(NotFound):
        theirs.get(image.image_id)
    assert theirs.find_by_name(image.name) is None


def test_a_shared_image_is_seen_with_the_other_accounts_own_tags(
    endpoint: Endpoint, images: Ec2Images, register: Register, theirs: Ec2Images
) -> None:
    image = register("k4")

    let_in(endpoint, image)
    before = theirs.get(image.image_id)
    theirs.tag(image.image_id, {BAKE_KEY_TAG: "mine"})

    assert before.tags == {}
    assert theirs.get(image.image_id).tags == {BAKE_KEY_TAG: "mine"}
    assert images.get(image.image_id).tags == {BAKE_KEY_TAG: "k4"}


def test_only_the_owner_changes_who_may_launch(endpoint: Endpoint, register: Register) -> None:
    image = register("k5")
    let_in(endpoint, image)

    with pytest.raises(ClientError, match="AuthFailure"):
        endpoint.production.ec2.modify_image_attribute(
            ImageId=image.image_id, LaunchPermission={"Add": [{"UserId": "333333333333"}]}
        )


def test_a_shared_snapshot_is_seen_and_used_and_not_changed(endpoint: Endpoint) -> None:
    ours, theirs = endpoint.development, endpoint.production
    snapshot_id = ours.ebs.start_snapshot(VolumeSize=2)["SnapshotId"]
    ours.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    ours.ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "ours", "Value": "1"}])
    device: Any = {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot_id, "VolumeSize": 2}}
    launch: Any = {
        "ImageId": register_image(theirs),
        "MinCount": 1,
        "MaxCount": 1,
        "BlockDeviceMappings": [device],
    }
    calls: list[Callable[[], Any]] = [
        lambda: theirs.ec2.describe_snapshots(SnapshotIds=[snapshot_id]),
        lambda: theirs.ec2.create_volume(AvailabilityZone="eu-west-1a", SnapshotId=snapshot_id),
        lambda: theirs.ec2.run_instances(**launch),
    ]
    for call in calls:
        with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
            call()

    ours.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot_id,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[theirs.account_id],
    )

    described, volume, launched = (call() for call in calls)
    assert described["Snapshots"][0]["OwnerId"] == ours.account_id
    assert described["Snapshots"][0].get("Tags", []) == []
    assert (volume["SnapshotId"], volume["Size"]) == (snapshot_id, 2)
    assert len(launched["Instances"]) == 1
    own = theirs.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert snapshot_id not in [snapshot["SnapshotId"] for snapshot in own]
    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        theirs.ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_snapshot_in_use_is_not_deleted(endpoint: Endpoint, register: Register) -> None:
    image = register("k6")

    with pytest.raises(ClientError, match=r"InvalidSnapshot\.InUse"):
        endpoint.development.ec2.delete_snapshot(SnapshotId=image.root_snapshot_id)


def test_the_callers_of_both_accounts_are_who_they_say(endpoint: Endpoint) -> None:
    ours = endpoint.development.sts.get_caller_identity()
    theirs = endpoint.production.sts.get_caller_identity()

    assert (ours["Account"], theirs["Account"]) == ("111111111111", "222222222222")
    assert ":assumed-role/ovenbird-deploy/" in theirs["Arn"]


@pytest.mark.parametrize(
    "role", ["arn:aws:iam::222222222222:role/nobody", "arn:aws:iam::333333333333:role/elsewhere"]
)
def test_a_role_that_does_not_exist_cannot_be_assumed(endpoint: Endpoint, role: str) -> None:
    account = endpoint.account(PRODUCTION, role_arn=role)

    with pytest.raises(CloudError, match="AccessDenied"):
        account.sts.get_caller_identity()
