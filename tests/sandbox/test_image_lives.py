"""The last days of images, and what uses them, through boto3."""

from __future__ import annotations

import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from ovenbird.aws.image_lives import ImageLives
from ovenbird.aws.image_uses import AccountUses
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.unregistered import Unregistered
from ovenbird.domain.errors import NotFound
from ovenbird.domain.image_retention import RETIRED_TAG, retired_at
from ovenbird.domain.images import APP_TAG, BAKE_KEY_TAG, DISABLED, Image, ImageId, SnapshotId
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.system.clock import SystemClock
from tests.sandbox.fleet import register_image

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from ovenbird.aws.clients import Account

pytestmark = pytest.mark.sandbox
AT = SystemClock().now() + timedelta(hours=1)  # EC2 takes no time that is past


@pytest.fixture
def images(endpoint: Endpoint) -> Ec2Images:
    return Ec2Images(endpoint.development)


@pytest.fixture
def lives(endpoint: Endpoint) -> ImageLives:
    return ImageLives(endpoint.development)


@pytest.fixture
def baked(endpoint: Endpoint, images: Ec2Images) -> Image:
    image_id = ImageId(register_image(endpoint.development))
    images.tag(image_id, {APP_TAG: "hello", BAKE_KEY_TAG: uuid.uuid4().hex})
    return images.get(image_id)


def again(images: Ec2Images, image: Image) -> Image:
    (found,) = [one for one in images.list_baked(disabled=True) if one.image_id == image.image_id]
    return found


def test_an_image_goes_step_by_step_and_each_step_can_be_repeated(
    endpoint: Endpoint, images: Ec2Images, lives: ImageLives, baked: Image
) -> None:
    for _ in range(2):
        lives.deprecate(baked, at=AT)
    deprecated = again(images, baked)
    for _ in range(2):
        lives.disable(deprecated)
    disabled = again(images, baked)
    for _ in range(2):
        lives.remove(disabled)

    assert (deprecated.state, retired_at(deprecated)) == ("available", AT)
    assert disabled.state == DISABLED
    with pytest.raises(NotFound):
        images.get(baked.image_id)
    found = endpoint.development.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert baked.root_snapshot_id not in {one["SnapshotId"] for one in found}


def test_a_disabled_image_is_restored(images: Ec2Images, lives: ImageLives, baked: Image) -> None:
    lives.deprecate(baked, at=AT)
    lives.disable(again(images, baked))

    lives.restore(again(images, baked))
    lives.restore(again(images, baked))

    restored = images.get(baked.image_id)
    assert (restored.state, RETIRED_TAG in restored.tags) == ("available", False)


def test_a_snapshot_that_another_image_has_stays(
    images: Ec2Images, lives: ImageLives, baked: Image
) -> None:
    other = images.register(
        name=f"hello-{uuid.uuid4()}", base=baked, tags={BAKE_KEY_TAG: "k"},
        snapshot_id=SnapshotId(baked.root_snapshot_id),
    )  # fmt: skip

    lives.remove(baked)

    assert images.get(other.image_id).root_snapshot_id == baked.root_snapshot_id


def test_the_volumes_of_a_builder_go_with_its_image_and_those_of_a_base_stay(
    endpoint: Endpoint, lives: ImageLives
) -> None:
    ec2, key = endpoint.development.ec2, uuid.uuid4().hex
    root, data, base = (snapshot(endpoint) for _ in range(3))
    ec2.create_tags(Resources=[root, data], Tags=[{"Key": BAKE_KEY_TAG, "Value": key}])
    made = ec2.register_image(
        Name=f"hello-{uuid.uuid4()}", Architecture="x86_64", VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {"DeviceName": f"/dev/xvd{letter}", "Ebs": {"SnapshotId": one}}
            for letter, one in zip("abc", (root, data, base), strict=True)
        ],
    )  # fmt: skip
    images = Ec2Images(endpoint.development)
    images.tag(ImageId(made["ImageId"]), {APP_TAG: "hello", BAKE_KEY_TAG: key})

    image = images.get(ImageId(made["ImageId"]))

    for _ in range(2):
        lives.remove(image)

    assert {root, data, base} & snapshots_of(endpoint) == {base}


def test_a_snapshot_whose_removal_is_killed_is_one_that_the_next_bake_deletes(
    endpoint: Endpoint, images: Ec2Images, baked: Image
) -> None:
    account = endpoint.development
    dying = Dying(account.ec2)

    with pytest.raises(KeyboardInterrupt):
        ImageLives(cast("Account", SimpleNamespace(ec2=dying))).remove(baked)

    assert baked.root_snapshot_id in snapshots_of(endpoint)
    Unregistered(account.ec2, clock=SystemClock()).discard(baked.root_snapshot_id)
    assert baked.root_snapshot_id not in snapshots_of(endpoint)


class Dying:
    """An EC2 whose caller dies before it deletes a snapshot."""

    def __init__(self, ec2: EC2Client) -> None:
        self.ec2 = ec2

    def __getattr__(self, name: str) -> Any:
        if name == "delete_snapshot":
            raise KeyboardInterrupt
        return getattr(self.ec2, name)


def snapshot(endpoint: Endpoint) -> str:
    ebs = endpoint.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    return snapshot_id


def snapshots_of(endpoint: Endpoint) -> set[str]:
    found = endpoint.development.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return {one["SnapshotId"] for one in found}


def test_what_uses_an_image_is_found(endpoint: Endpoint, baked: Image) -> None:
    account, name = endpoint.development, f"uses-{uuid.uuid4()}"
    account.ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"ImageId": baked.image_id}
    )
    account.ssm.put_parameter(
        Name=f"/{name}", Value=baked.image_id, Type="String", DataType="aws:ec2:image"
    )
    account.ssm.put_parameter(Name=f"/{name}/secret", Value=baked.image_id, Type="SecureString")
    account.ssm.put_parameter(Name=f"/{name}/text", Value=baked.image_id, Type="String")
    account.ssm.put_parameter(Name=f"/{name}/text", Value="other", Type="String", Overwrite=True)
    for end, alias in (("alias", f"/{name}/text:1"), ("nothing", "/gone")):
        account.ec2.create_launch_template(
            LaunchTemplateName=f"{name}-{end}",
            LaunchTemplateData={"ImageId": f"resolve:ssm:{alias}"},
        )
    account.autoscaling.create_launch_configuration(
        LaunchConfigurationName=name, ImageId=baked.image_id, InstanceType="t3.micro"
    )
    instance_id = account.ec2.run_instances(
        ImageId=baked.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]

    found = AccountUses(account, environment="dev").list_uses()

    assert {use.reason for use in found if use.image_id == baked.image_id} == {
        f"it runs as instance {instance_id} in dev",
        f"launch template {name} names it in dev",
        f"launch configuration {name} names it in dev",
        f"launch template {name}-alias names it by /{name}/text:1 in dev",
        f"parameter /{name} names it in dev",
    }
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    later = AccountUses(account, environment="dev").list_uses()
    assert f"it runs as instance {instance_id} in dev" not in {use.reason for use in later}
