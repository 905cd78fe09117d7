from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.aws.images import Ec2Images, _image
from ovenbird.domain.errors import CloudError, Conflict, NotFound
from ovenbird.domain.images import Image, ImageId, SnapshotId

RAW: dict[str, Any] = {
    "ImageId": "ami-1", "Name": "hello-1", "OwnerId": "111111111111", "State": "available",
    "Architecture": "x86_64", "BootMode": "uefi", "EnaSupport": True, "ImdsSupport": "v2.0",
    "RootDeviceName": "/dev/xvda", "CreationDate": "2026-01-02T03:04:05.000Z",
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/xvdb", "Ebs": {"SnapshotId": "snap-data", "VolumeSize": 9}},
        {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-root", "VolumeSize": 4}},
    ],
    "Tags": [{"Key": "ovenbird:app", "Value": "hello"}],
}  # fmt: skip


def test_an_answer_becomes_a_value() -> None:
    assert _image(cast("Any", RAW)) == Image(
        image_id=ImageId("ami-1"), name="hello-1", owner_id="111111111111",
        root_snapshot_id=SnapshotId("snap-root"), root_device_name="/dev/xvda",
        architecture="x86_64", boot_mode="uefi", ena=True, imds_v2=True, size_gib=4,
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), state="available",
        tags={"ovenbird:app": "hello"},
    )  # fmt: skip


def test_what_is_billed_public_or_encrypted_is_read() -> None:
    root = {"SnapshotId": "snap-root", "VolumeSize": 4, "KmsKeyId": "arn:key/1"}
    billed = RAW | {
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": root}],
        "ProductCodes": [{"ProductCodeId": "p1", "ProductCodeType": "marketplace"}],
        "UsageOperation": "RunInstances:0010", "Public": True, "TpmSupport": "v2.0",
    }  # fmt: skip

    image = _image(cast("Any", billed))

    assert (image.product_codes, image.usage_operation) == (("p1",), "RunInstances:0010")
    assert (image.public, image.kms_key, image.tpm) == (True, "arn:key/1", "v2.0")
    assert image.is_billed
    assert not _image(cast("Any", RAW)).is_billed


def test_an_image_without_an_ebs_root_is_refused() -> None:
    with pytest.raises(CloudError, match="`ami-1` has no EBS root"):
        _image(cast("Any", RAW | {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda"}]}))


class Clock:
    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.slept, UTC)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class Ec2:
    """Answers describe_images from a list, one after the other; the last one for ever."""

    def __init__(self, *answers: list[dict[str, Any]], taken: bool = False) -> None:
        self.answers, self.taken = list(answers), taken
        self.registered: dict[str, Any] = {}
        self.untagged: list[tuple[str, str]] = []

    def register_image(self, **given: Any) -> dict[str, str]:
        if self.taken:
            error = {"Error": {"Code": "InvalidAMIName.Duplicate", "Message": "in use"}}
            raise ClientError(cast("Any", error), "RegisterImage")
        self.registered = given
        return {"ImageId": "ami-1"}

    def describe_images(self, **_: Any) -> dict[str, Any]:
        return {"Images": self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]}

    def describe_image_attribute(self, **_: Any) -> dict[str, Any]:
        return {}

    def delete_tags(self, Resources: list[str], Tags: list[dict[str, str]]) -> None:  # noqa: N803
        self.untagged += [(one, tag["Key"]) for one in Resources for tag in Tags]

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [self.describe_images()])


def register(ec2: Ec2, snapshot_id: str = "snap-root") -> Image:
    account = SimpleNamespace(ec2=ec2, account_id="111111111111")
    images = Ec2Images(cast("Account", account), clock=Clock())
    base = _image(cast("Any", RAW))
    return images.register(
        name="hello-1", base=base, snapshot_id=SnapshotId(snapshot_id), tags={"b": "2", "a": "1"}
    )


def test_a_new_image_may_be_unknown_and_then_pending() -> None:
    assert register(Ec2([RAW], [], [RAW | {"State": "pending"}], [RAW])).state == "available"


def test_an_image_is_tagged_in_the_same_call_and_its_snapshot_is_no_orphan_any_more() -> None:
    ec2 = Ec2([RAW])

    register(ec2)

    assert ec2.registered["Name"] == "hello-1"
    assert ec2.registered["TagSpecifications"] == [
        {
            "ResourceType": "image",
            "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
        }
    ]
    assert ec2.untagged == [("snap-root", "ovenbird:unregistered")]


def test_an_image_that_failed_is_not_waited_for() -> None:
    with pytest.raises(CloudError, match="ended in state `failed`"):
        register(Ec2([RAW], [RAW | {"State": "failed"}]))


def test_registering_again_returns_the_image_unless_the_name_has_another_snapshot() -> None:
    assert register(Ec2([RAW], taken=True)).image_id == "ami-1"
    with pytest.raises(Conflict):
        register(Ec2([RAW], taken=True), snapshot_id="snap-other")


def test_a_missing_image_comes_with_a_hint() -> None:
    account = SimpleNamespace(ec2=Ec2([]), account_id="111111111111")

    with pytest.raises(NotFound, match="ami-9") as caught:
        Ec2Images(cast("Account", account)).get(ImageId("ami-9"))

    assert "Region" in caught.value.hint
