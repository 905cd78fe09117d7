from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from ovenbird.aws.builder_resources import TEMPORARY_TAG, BuilderSpec, Mark, dead, launch
from ovenbird.aws.images import _image
from tests.unit.aws.test_images import RAW

DEADLINE = datetime(2026, 11, 28, 14, tzinfo=UTC)
MARK = Mark(builder_id="3f2a91c0", deadline=DEADLINE)
SPEC = BuilderSpec(vpc_id="vpc-1", subnet_id="subnet-1")


def test_a_mark_is_read_as_it_is_written() -> None:
    assert str(MARK) == "3f2a91c0 2026-11-28T14:00:00+00:00"
    assert Mark.find(str(MARK)) == MARK


@pytest.mark.parametrize("text", ["", "x", "x y", "x 2026-11-28T14:00:00", " 2026-11-28T14:00Z"])
def test_what_is_no_mark_is_nobodys(text: str) -> None:
    assert Mark.find(text) is None


def test_only_what_is_marked_and_dead_is_removed() -> None:
    def one(group_id: str, mark: str) -> dict[str, Any]:
        return {"GroupId": group_id, "Tags": [{"Key": TEMPORARY_TAG, "Value": mark}]}

    other = replace(MARK, builder_id="living00")
    found = [one("sg-1", str(MARK)), one("sg-2", str(other)), one("sg-3", "mine"), {"GroupId": "x"}]

    assert dead(found, "GroupId", lambda mark: mark == MARK) == ["sg-1"]


def test_a_builder_requires_imdsv2_and_takes_its_disk_along() -> None:
    words = launch(_image(cast("Any", RAW)), SPEC, mark=MARK, group_id="sg-1")

    assert words == {
        "ImageId": "ami-1", "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1,
        "ClientToken": "ovenbird-builder-3f2a91c0", "KeyName": "ovenbird-builder-3f2a91c0",
        "NetworkInterfaces": [{
            "DeviceIndex": 0, "SubnetId": "subnet-1", "Groups": ["sg-1"],
            "AssociatePublicIpAddress": False,
        }],
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": True, "VolumeSize": 4}}
        ],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "InstanceInitiatedShutdownBehavior": "terminate",
    }  # fmt: skip


def test_a_builder_is_as_the_settings_say() -> None:
    spec = replace(SPEC, volume_gib=8, kms_key="alias/bake", instance_profile="ssm", public=True)
    base = replace(_image(cast("Any", RAW)), architecture="arm64")

    words = launch(base, spec, mark=MARK, group_id="sg-1")

    assert words["InstanceType"] == "t4g.medium"
    assert words["IamInstanceProfile"] == {"Name": "ssm"}
    assert words["NetworkInterfaces"][0]["AssociatePublicIpAddress"]
    assert words["BlockDeviceMappings"][0]["Ebs"] == {
        "DeleteOnTermination": True, "VolumeSize": 8, "Encrypted": True, "KmsKeyId": "alias/bake",
    }  # fmt: skip
