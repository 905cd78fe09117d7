"""Images, as EC2 has them.

EC2 makes an image from the snapshots, architecture, boot mode and tags that the caller
names; a name is taken once in an account; another account sees an image when it is public
or shared with it, never its tags, and may write tags of its own; an image's snapshot cannot
be deleted. moto 5.2.5 reads name and description only, invents an empty snapshot for every
image, shows a shared image to nobody, and lets anybody launch anything.
Its CreateImage and CopyImage make images without content; they are refused until they are
built: an image is registered from snapshots.

Source: moto/ec2/models/amis.py, moto/ec2/responses/amis.py; EC2 API reference,
RegisterImage, DescribeImages, ModifyImageAttribute, DeleteSnapshot; EC2 user guide,
"Share an AMI with specific AWS accounts".
"""

from __future__ import annotations

import copy
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import random_ami_id

from ovenbird.sandbox import blocks
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.pages import page_of
from ovenbird.sandbox.places import REGION
from ovenbird.sandbox.snapshots import find_snapshot, peers, seeing


class RegisteredAmi(Ami):
    """An image with the block devices that its maker named."""

    __module__ = "moto.ec2.models.amis"  # moto derives the service from it

    def __init__(self, backend: EC2Backend, mappings: list[dict[str, Any]], **known: Any) -> None:
        self.mappings = mappings
        self.ena_support = bool(known.pop("ena_support", True))
        self.imds_support = known.pop("imds_support", None)
        super().__init__(backend, random_ami_id(), root_device_type="ebs", **known)
        backend.snapshots.pop(self.ebs_snapshot.id, None)  # moto's invention
        self.ebs_snapshot = find_snapshot(backend, root_snapshot(self))

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """What the maker named."""
        return self.mappings


def root_snapshot(ami: Ami) -> str:
    """Return the id of the snapshot that an image boots from."""
    for mapping in ami.block_device_mappings:
        if mapping["DeviceName"] == ami.root_device_name and "Ebs" in mapping:
            return str(mapping["Ebs"]["SnapshotId"])
    raise EC2ClientError("InvalidBlockDeviceMapping", "The root device has no snapshot")


def visible(backend: EC2Backend) -> dict[str, Ami]:
    """Return the images that an account sees; those of others as views with its own tags."""
    found: dict[str, Ami] = {}
    for peer in peers(backend):
        for ami in list(peer.amis.values()):
            if peer is backend:
                found[ami.id] = ami
            elif ami.is_public or {"UserId": backend.account_id} in ami.launch_permissions:
                view = copy.copy(ami)
                view.ec2_backend = backend  # whose tags it shows
                found[ami.id] = view
    return found


def launchable(image_id: str, account_id: str, region: str = REGION) -> Ami:
    """Return an image that the account may launch.

    Raises:
        EC2ClientError: InvalidAMIID.NotFound: unknown, or not shared with this account.
    """
    ami = visible(ec2_backends[account_id][region]).get(image_id)
    if ami is None:
        raise InvalidAMIIdError([image_id])
    return ami


def install() -> None:
    """Put our versions in moto's place."""
    AmisResponse.register_image = register_image
    AmisResponse.describe_images = describe_images
    AmisResponse.create_image = AmisResponse.copy_image = not_built
    AmisResponse.modify_image_attribute = _only_own(AmisResponse.modify_image_attribute)
    AmiBackend.describe_images = seeing(AmiBackend.describe_images, "amis", visible)
    setattr(EBSBackend, delete_snapshot.__name__, delete_snapshot)


def register_image(self: AmisResponse) -> ActionResult:
    """Stand in for RegisterImage."""
    self.error_on_dryrun()
    backend, name = self.ec2_backend, self._get_param("Name")
    with CONTROL:
        if any(ami.name == name for ami in backend.amis.values()):
            raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use")
        ami = RegisteredAmi(
            backend,
            _mappings(backend, self._get_param("BlockDeviceMappings", [])),
            name=name,
            description=self._get_param("Description", ""),
            architecture=self._get_param("Architecture", "i386"),  # EC2's own default
            virtualization_type=self._get_param("VirtualizationType", "paravirtual"),
            root_device_name=self._get_param("RootDeviceName", "/dev/sda1"),
            boot_mode=self._get_param("BootMode"),
            hypervisor="xen",
            ena_support=self._get_param("EnaSupport"),
            imds_support=self._get_param("ImdsSupport"),
            tags=_tags(self, "image"),
        )
        backend.amis[ami.id] = ami
    return ActionResult({"ImageId": ami.id})


def describe_images(self: AmisResponse) -> ActionResult:
    """Stand in for DescribeImages: in pages, when asked for."""
    self.error_on_dryrun()
    images = self.ec2_backend.describe_images(
        ami_ids=self._get_param("ImageIds", []),
        filters=self._filters_from_querystring(),
        exec_users=self._get_param("ExecutableUsers", []),
        owners=self._get_param("Owners", []),
    )
    size = int(self._get_param("MaxResults") or len(images))
    page, token = page_of(images, self._get_param("NextToken"), size=size)
    return ActionResult({"Images": page, "NextToken": token})


def not_built(self: AmisResponse) -> ActionResult:
    """Stand in for CreateImage and CopyImage: no image is better than one that cannot boot."""
    raise EC2ClientError(
        "UnsupportedOperation",
        f"The sandbox has no {self._get_action()}: register an image from a snapshot instead",
    )


def delete_snapshot(self: EC2Backend, snapshot_id: str) -> Snapshot:
    """Stand in for DeleteSnapshot: refused while an image uses it."""
    if snapshot_id not in self.snapshots:
        raise EC2ClientError(
            "InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist."
        )
    for ami in self.amis.values():
        if isinstance(ami, RegisteredAmi) and root_snapshot(ami) == snapshot_id:
            raise EC2ClientError(
                "InvalidSnapshot.InUse",
                f"The snapshot {snapshot_id} is currently in use by {ami.id}",
            )
    blocks.store().remove(snapshot_id)
    return self.snapshots.pop(snapshot_id)


def _mappings(backend: EC2Backend, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return block device mappings with EC2's defaults; their snapshots must be readable."""
    mappings = []
    for mapping in given:
        one = dict(mapping)
        if "Ebs" in mapping:
            ebs: dict[str, Any] = {
                "VolumeType": "gp2",
                "DeleteOnTermination": True,
                "Encrypted": False,
            }
            ebs |= mapping["Ebs"]
            if snapshot_id := ebs.get("SnapshotId"):
                size = find_snapshot(backend, snapshot_id).volume.size
                ebs.setdefault("VolumeSize", size)
            one["Ebs"] = ebs
        mappings.append(one)
    return mappings


def _tags(self: AmisResponse, kind: str) -> dict[str, str]:
    specifications = self._get_param("TagSpecifications", [])
    mine = [spec for spec in specifications if spec["ResourceType"] == kind]
    return {tag["Key"]: tag["Value"] for spec in mine for tag in spec["Tags"]}


def _only_own(original: Any) -> Any:
    """Refuse to change another account's image."""

    def modify(self: AmisResponse) -> Any:
        image_id = self._get_param("ImageId")
        if image_id in visible(self.ec2_backend) and image_id not in self.ec2_backend.amis:
            raise EC2ClientError("AuthFailure", f"Not authorized for image:{image_id}")
        description = self._get_param("Description", {})
        if isinstance(description, dict) and description.get("Value"):
            self.ec2_backend.amis[image_id].description = description["Value"]
            return EmptyResult()
        return original(self)

    return modify
