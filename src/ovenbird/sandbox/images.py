"""Images, as EC2 has them: registered, found, deregistered.

EC2 makes an image from the snapshots, architecture, boot mode and tags that the caller
names; a name is taken once in an account; another account sees an image when it is public
or shared with it, never its tags, and may write tags of its own; an image's snapshot cannot
be deleted. A deprecated image is found by its owner, and by others only when they ask for
deprecated ones or for its id; a disabled one by nobody who does not ask for disabled ones.
Deregistering may take the snapshots along, but for those that another image needs.

moto 5.2.5 reads name and description only, and knows nothing of the rest.

How images are made of instances: `image_creation`; copied: `image_copies`; what is changed in them:
`image_attributes`.

Source: moto/ec2/models/amis.py, moto/ec2/responses/amis.py; EC2 API reference,
RegisterImage, DescribeImages, DeregisterImage, DescribeImageReferences, DeleteSnapshot; EC2
user guide, "Share an AMI with specific AWS accounts", "Deprecate an AMI", "Disable an AMI".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot
from moto.ec2.responses.amis import AmisResponse

from ovenbird.sandbox import blocks, image_attributes, image_copies, image_creation
from ovenbird.sandbox.image_model import (
    RegisteredAmi,
    Traits,
    billed,
    own,
    refuse_name,
    tags_for,
    visible,
)
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.pages import page_of
from ovenbird.sandbox.snapshots import find_snapshot, seeing


def install() -> None:
    """Put our versions in moto's place."""
    for call in (register_image, describe_images, deregister_image, describe_image_references):
        setattr(AmisResponse, call.__name__, call)
    image_copies.install()
    image_creation.install()
    image_attributes.install()
    AmiBackend.describe_images = seeing(AmiBackend.describe_images, "amis", visible)
    setattr(EBSBackend, delete_snapshot.__name__, delete_snapshot)


def register_image(self: AmisResponse) -> ActionResult:
    """Stand in for RegisterImage."""
    self.error_on_dryrun()
    backend, name = self.ec2_backend, self._get_param("Name")
    with CONTROL:
        refuse_name(backend, name)
        ami = RegisteredAmi(
            backend,
            _mappings(backend, self._get_param("BlockDeviceMappings", [])),
            traits=_traits(self),
            name=name,
            description=self._get_param("Description", ""),
            tags=tags_for(self, {"image"})["image"],
        )
        backend.amis[ami.id] = ami
    return ActionResult({"ImageId": ami.id})


def _traits(self: AmisResponse) -> Traits:
    given = {
        "architecture": self._get_param("Architecture"),
        "virtualization_type": self._get_param("VirtualizationType"),
        "root_device_name": self._get_param("RootDeviceName"),
        "boot_mode": self._get_param("BootMode"),
        "ena": self._get_bool_param("EnaSupport"),
        "imds": self._get_param("ImdsSupport"),
        "tpm": self._get_param("TpmSupport"),
        "sriov": self._get_param("SriovNetSupport"),
        "uefi_data": self._get_param("UefiData"),
        **billed(self._get_param("BillingProducts", [])),
    }
    if given["tpm"] and given["boot_mode"] != "uefi":
        raise EC2ClientError("InvalidParameterCombination", "TpmSupport v2.0 needs boot mode uefi")
    return Traits(**{key: value for key, value in given.items() if value is not None})


def describe_images(self: AmisResponse) -> ActionResult:
    """Stand in for DescribeImages: in pages, when asked for."""
    self.error_on_dryrun()
    ids = self._get_param("ImageIds", [])
    images = [
        ami
        for ami in self.ec2_backend.describe_images(
            ami_ids=ids,
            filters=self._filters_from_querystring(),
            exec_users=self._get_param("ExecutableUsers", []),
            owners=self._get_param("Owners", []),
        )
        if (ami.state != "disabled" or self._get_bool_param("IncludeDisabled"))
        and _is_found(self, ami, by_id=bool(ids))
    ]
    size = int(self._get_param("MaxResults") or len(images))
    page, token = page_of(images, self._get_param("NextToken"), size=size)
    return ActionResult({"Images": page, "NextToken": token})


def _is_found(self: AmisResponse, ami: Ami, *, by_id: bool) -> bool:
    if not getattr(ami, "is_deprecated", False) or by_id:
        return True
    return ami.owner_id == self.current_account or bool(self._get_bool_param("IncludeDeprecated"))


def deregister_image(self: AmisResponse) -> ActionResult:
    """Stand in for DeregisterImage."""
    self.error_on_dryrun()
    backend = self.ec2_backend
    with CONTROL:
        ami = own(backend, self._get_param("ImageId"))
        if ami.deregistration_protection != "disabled":
            raise EC2ClientError(
                "OperationNotPermitted", f"Deregistration protection is enabled for {ami.id}"
            )
        backend.deregister_image(ami.id)
        backend.tags.pop(ami.id, None)
        found = []
        if self._get_bool_param("DeleteAssociatedSnapshots"):
            found = [_deleted(backend, snapshot_id) for snapshot_id in ami.snapshot_ids]
    return ActionResult({"Return": True, "DeleteSnapshotResults": found})


def _deleted(backend: EC2Backend, snapshot_id: str) -> dict[str, str]:
    """Delete a snapshot as far as it can be; return how it went, in EC2's words."""
    if snapshot_id not in backend.snapshots:
        return {"SnapshotId": snapshot_id, "ReturnCode": "missing-permissions"}
    if any(True for _ in _users(backend, snapshot_id)):
        return {"SnapshotId": snapshot_id, "ReturnCode": "skipped"}
    backend.delete_snapshot(snapshot_id)
    return {"SnapshotId": snapshot_id, "ReturnCode": "success"}


def describe_image_references(self: AmisResponse) -> ActionResult:
    """Stand in for DescribeImageReferences: instances and launch templates of the account."""
    self.error_on_dryrun()
    kinds = {one["ResourceType"] for one in self._get_param("ResourceTypes", [])}
    if not kinds and not self._get_bool_param("IncludeAllResourceTypes"):
        raise EC2ClientError(
            "MissingParameter", "Either IncludeAllResourceTypes or ResourceTypes is needed"
        )
    wanted = set(self._get_param("ImageIds", []))
    found = [
        {"ImageId": image_id, "ResourceType": kind, "Arn": arn}
        for image_id, kind, arn in _references(self.ec2_backend)
        if image_id in wanted and (not kinds or kind in kinds)
    ]
    size = int(self._get_param("MaxResults") or len(found))
    page, token = page_of(found, self._get_param("NextToken"), size=size)
    return ActionResult({"ImageReferences": page, "NextToken": token})


def _references(backend: EC2Backend) -> Iterator[tuple[str, str, str]]:
    """Yield (image, kind of resource, ARN) of what would miss an image."""
    place = f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:"
    for instance in backend.all_instances():
        if instance.state != "terminated":
            yield instance.image_id, "ec2:Instance", f"{place}instance/{instance.id}"
    for template in backend.launch_templates.values():
        for version in template.versions[-20:]:  # the default depth of EC2's own search
            if image_id := version.data.get("ImageId"):
                yield image_id, "ec2:LaunchTemplate", f"{place}launch-template/{template.id}"


def delete_snapshot(self: EC2Backend, snapshot_id: str) -> Snapshot:
    """Stand in for DeleteSnapshot: refused while an image uses it."""
    if snapshot_id not in self.snapshots:
        raise EC2ClientError(
            "InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist."
        )
    for ami in _users(self, snapshot_id):
        raise EC2ClientError(
            "InvalidSnapshot.InUse",
            f"The snapshot {snapshot_id} is currently in use by {ami.id}",
        )
    blocks.store().remove(snapshot_id)
    return self.snapshots.pop(snapshot_id)


def _users(backend: EC2Backend, snapshot_id: str) -> Iterator[Ami]:
    for ami in backend.amis.values():
        if isinstance(ami, RegisteredAmi) and snapshot_id in ami.snapshot_ids:
            yield ami


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
                snapshot = find_snapshot(backend, snapshot_id)
                ebs.setdefault("VolumeSize", snapshot.volume.size)
                ebs["Encrypted"] = bool(snapshot.kms_key_id)
            one["Ebs"] = ebs
        mappings.append(one)
    return mappings
