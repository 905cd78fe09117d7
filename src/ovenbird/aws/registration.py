"""RegisterImage: a snapshot becomes bootable with everything that its base image has.

Source: EC2 API reference, RegisterImage, Image, EbsBlockDevice, DescribeImageAttribute
(uefiData, which only the image's owner may ask for).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovenbird.aws.errors import HINTS, cloud_errors
from ovenbird.aws.tags import to_aws
from ovenbird.domain.errors import CloudError, NotFound
from ovenbird.domain.images import Image, ImageId, SnapshotId

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

INHERITED = (
    "Architecture", "BootMode", "TpmSupport", "EnaSupport", "SriovNetSupport", "RootDeviceName",
    "VirtualizationType",
)  # fmt: skip
ROOT_VOLUME = ("VolumeType", "Iops", "Throughput", "VolumeSize")
OTHER_VOLUME = (*ROOT_VOLUME, "SnapshotId", "DeleteOnTermination")


def register(
    ec2: EC2Client, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
) -> ImageId:
    """Register a snapshot under a name.

    Raises:
        NotFound: The base image is gone.
        Conflict: Another image has the name.
    """
    with cloud_errors(f"describing base image `{base.image_id}`"):
        found = ec2.describe_images(ImageIds=[base.image_id])["Images"]
    if not found:
        raise NotFound(f"No image `{base.image_id}`", hint=HINTS["InvalidAMIID.NotFound"])
    given = arguments(found[0], snapshot_id=snapshot_id)
    if uefi_data := _uefi_data(ec2, base):
        given["UefiData"] = uefi_data
    with cloud_errors(f"registering image `{name}`"):
        answer = ec2.register_image(
            **given,
            Name=name,
            TagSpecifications=[{"ResourceType": "image", "Tags": to_aws(tags)}],
        )
    return ImageId(answer["ImageId"])


def arguments(base: Mapping[str, Any], *, snapshot_id: SnapshotId) -> dict[str, Any]:
    """Return what RegisterImage is given of a base image.

    The root volume gets the snapshot, and keeps type, size and speed; other volumes stay as
    they are. Instances take IMDSv2 only, whatever the base says.

    Args:
        base: As DescribeImages has it.
        snapshot_id: Of the root volume.
    """
    given = {name: base[name] for name in INHERITED if base.get(name) not in {None, ""}}
    root = base.get("RootDeviceName")
    devices = [
        _root(device, snapshot_id) if device.get("DeviceName") == root else _other(device)
        for device in base.get("BlockDeviceMappings", [])
    ]
    return {**given, "ImdsSupport": "v2.0", "BlockDeviceMappings": devices}


def _root(device: Mapping[str, Any], snapshot_id: SnapshotId) -> dict[str, Any]:
    ebs = device.get("Ebs", {})
    # Not `Encrypted`: a volume is encrypted as its snapshot is, and EC2 refuses to hear it twice.
    kept = {name: ebs[name] for name in ROOT_VOLUME if ebs.get(name) is not None}
    ends = ebs.get("DeleteOnTermination", True)
    return {
        "DeviceName": device["DeviceName"],
        "Ebs": {**kept, "SnapshotId": snapshot_id, "DeleteOnTermination": ends},
    }


def _other(device: Mapping[str, Any]) -> dict[str, Any]:
    if "Ebs" not in device:  # an instance store, or none
        return {
            name: device[name]
            for name in ("DeviceName", "VirtualName", "NoDevice")
            if name in device
        }
    ebs = device["Ebs"]
    kept = {name: ebs[name] for name in OTHER_VOLUME if ebs.get(name) is not None}
    if "SnapshotId" not in kept and ebs.get("Encrypted"):
        kept["Encrypted"] = True  # an empty volume
    return {"DeviceName": device["DeviceName"], "Ebs": kept}


def _uefi_data(ec2: EC2Client, base: Image) -> str:
    """Return the base's UEFI variables (keys of Secure Boot), in base64; empty for none."""
    if not base.boot_mode.startswith("uefi"):
        return ""
    try:
        with cloud_errors(f"describing UEFI variables of `{base.image_id}`"):
            found: Any = ec2.describe_image_attribute(ImageId=base.image_id, Attribute="uefiData")
    except CloudError as error:
        if error.facts.get("code") == "AuthFailure":  # only the owner of an image may ask
            return ""
        raise
    return str(found.get("UefiData", {}).get("Value", ""))
