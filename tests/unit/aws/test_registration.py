from __future__ import annotations

from typing import Any

from ovenbird.aws.registration import arguments
from ovenbird.domain.images import SnapshotId

BASE: dict[str, Any] = {
    "ImageId": "ami-1", "Name": "base", "State": "available", "Public": False,
    "Architecture": "arm64", "BootMode": "uefi", "TpmSupport": "v2.0", "EnaSupport": True,
    "SriovNetSupport": "simple", "VirtualizationType": "hvm", "RootDeviceName": "/dev/xvda",
    "ImdsSupport": "", "Tags": [{"Key": "a", "Value": "b"}], "DeprecationTime": "2030-01-01",
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/xvda", "Ebs": {
            "SnapshotId": "snap-base", "VolumeSize": 12, "VolumeType": "io2", "Iops": 4000,
            "Encrypted": True, "KmsKeyId": "arn:key", "DeleteOnTermination": False,
        }},
        {"DeviceName": "/dev/xvdb", "Ebs": {
            "SnapshotId": "snap-data", "VolumeSize": 9, "VolumeType": "gp3", "Throughput": 250,
            "Iops": 3000, "Encrypted": True, "DeleteOnTermination": True,
        }},
        {"DeviceName": "/dev/xvdc", "Ebs": {"VolumeSize": 2, "Encrypted": True}},
        {"DeviceName": "/dev/xvdd", "VirtualName": "ephemeral0"},
    ],
}  # fmt: skip


def test_an_image_gets_everything_of_its_base_but_its_root_snapshot() -> None:
    assert arguments(BASE, snapshot_id=SnapshotId("snap-new")) == {
        "Architecture": "arm64", "BootMode": "uefi", "TpmSupport": "v2.0", "EnaSupport": True,
        "SriovNetSupport": "simple", "VirtualizationType": "hvm", "RootDeviceName": "/dev/xvda",
        "ImdsSupport": "v2.0",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {
                "SnapshotId": "snap-new", "VolumeSize": 12, "VolumeType": "io2", "Iops": 4000,
                "DeleteOnTermination": False,
            }},
            {"DeviceName": "/dev/xvdb", "Ebs": {
                "SnapshotId": "snap-data", "VolumeSize": 9, "VolumeType": "gp3",
                "Throughput": 250, "Iops": 3000, "DeleteOnTermination": True,
            }},
            {"DeviceName": "/dev/xvdc", "Ebs": {"VolumeSize": 2, "Encrypted": True}},
            {"DeviceName": "/dev/xvdd", "VirtualName": "ephemeral0"},
        ],
    }  # fmt: skip


def test_what_a_base_does_not_say_is_not_said() -> None:
    device = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-base"}}
    base = {
        "Architecture": "x86_64", "RootDeviceName": "/dev/sda1", "VirtualizationType": "hvm",
        "EnaSupport": False, "BlockDeviceMappings": [device],
    }  # fmt: skip

    assert arguments(base, snapshot_id=SnapshotId("snap-new")) == {
        "Architecture": "x86_64", "RootDeviceName": "/dev/sda1", "VirtualizationType": "hvm",
        "EnaSupport": False, "ImdsSupport": "v2.0",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sda1",
             "Ebs": {"SnapshotId": "snap-new", "DeleteOnTermination": True}},
        ],
    }  # fmt: skip
