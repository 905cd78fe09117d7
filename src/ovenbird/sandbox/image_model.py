"""Images in moto's model: what one is, and who sees and launches it.

An image is registered from snapshots, made of an instance, or copied; the last two are
`pending` until their snapshots are completed, and `failed` when one ends in error.

moto 5.2.5 invents an empty snapshot for every image, shows a shared image to nobody, and lets
anybody launch anything.

Source: moto/ec2/models/amis.py; EC2 API reference, DescribeImages, Image; EC2 user guide,
"AMI lifecycle", "Deprecate an AMI", "Disable an AMI", "Understand AMI billing information".
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidAMIIdError,
    InvalidTaggableResourceType,
)
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import random_ami_id

from ovenbird.sandbox import blocks, organizations
from ovenbird.sandbox.places import REGION
from ovenbird.sandbox.snapshots import find_snapshot, peers

PLATFORMS = {
    "RunInstances": "Linux/UNIX",
    "RunInstances:0010": "Red Hat Enterprise Linux",
    "RunInstances:000g": "SUSE Linux",
    "RunInstances:0002": "Windows",
    "RunInstances:00g0": "Red Hat BYOL Linux",
}
"""Usage operation → platform details. Source: EC2 user guide, "AMI billing information fields"."""
BILLING = {"bp-6fa54006": "RunInstances:0010", "bp-6ba54002": "RunInstances:0002"}
"""Billing products of AWS that are known here; any other code is a marketplace's product code."""
NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")  # Source: EC2 API reference, RegisterImage
TIME = "%Y-%m-%dT%H:%M:%S.000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an image hands on to its copies and to images of its instances.

    Args:
        boot_mode: As in EC2's words; None when it says nothing.
        imds: ``v2.0`` or None.
        tpm: ``v2.0`` or None.
        sriov: ``simple`` or None.
        uefi_data: UEFI variables in base64, or None.
        product_codes: Of the marketplace.
        usage_operation: What is billed.
    """

    architecture: str = "i386"  # EC2's own default
    virtualization_type: str = "paravirtual"  # as above
    root_device_name: str = "/dev/sda1"
    boot_mode: str | None = None
    ena: bool = False
    imds: str | None = None
    tpm: str | None = None
    sriov: str | None = None
    uefi_data: str | None = None
    product_codes: tuple[str, ...] = ()
    usage_operation: str = "RunInstances"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an image comes from.

    Args:
        instance_id: Of CreateImage.
        image_id: Of CopyImage, or the image of the instance.
        token: The client token of the call that made it.
        asked: That call, to compare another one with the same token.
        awaits: Snapshots that are made with it: it is pending until all are completed.
    """

    instance_id: str | None = None
    image_id: str | None = None
    region: str | None = None
    token: str = ""
    asked: str = ""
    awaits: tuple[str, ...] = field(default=())


class RegisteredAmi(Ami):
    """An image with the block devices that its maker named."""

    __module__ = "moto.ec2.models.amis"  # moto derives the service from it

    def __init__(
        self,
        backend: EC2Backend,
        mappings: list[dict[str, Any]],
        *,
        traits: Traits,
        origin: Origin | None = None,
        image_id: str = "",
        **known: Any,
    ) -> None:
        self.mappings, self.traits, self.origin = mappings, traits, origin or Origin()
        super().__init__(
            backend,
            image_id or random_ami_id(),
            root_device_type="ebs",
            hypervisor="xen",
            architecture=traits.architecture,
            virtualization_type=traits.virtualization_type,
            root_device_name=traits.root_device_name,
            boot_mode=traits.boot_mode,  # type: ignore[arg-type]
            **known,
        )
        backend.snapshots.pop(self.ebs_snapshot.id, None)  # moto's invention
        self.ebs_snapshot = find_snapshot(backend, root_snapshot(self))
        self.image_location = f"{self.owner_id}/{self.name}"
        self.ena_support, self.imds_support = traits.ena, traits.imds
        self.tpm_support, self.usage_operation = traits.tpm, traits.usage_operation
        self.sriov_net_support = traits.sriov
        self.platform_details = PLATFORMS.get(traits.usage_operation, "Linux/UNIX")
        self.platform = "windows" if self.platform_details.startswith("Windows") else None
        self.product_codes = [  # type: ignore[assignment]
            {"ProductCodeId": code, "ProductCodeType": "marketplace"}
            for code in traits.product_codes
        ]
        self.instance_id = self.origin.instance_id
        self.source_image_id, self.source_image_region = self.origin.image_id, self.origin.region
        self.deprecate_at: datetime | None = None
        self.deregistration_protection = "disabled"
        self.launched_at: datetime | None = None

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """What the maker named."""
        return self.mappings

    @property
    def snapshot_ids(self) -> tuple[str, ...]:
        """All snapshots of its block devices."""
        ebs = (mapping.get("Ebs", {}) for mapping in self.mappings)
        return tuple(one["SnapshotId"] for one in ebs if "SnapshotId" in one)

    @property
    def state(self) -> str:
        """What it was set to, or what its own snapshots say."""
        if self._state != "available":
            return self._state
        found = [blocks.store().find(snapshot_id) for snapshot_id in self.origin.awaits]
        states = {one.status for one in found if one is not None}
        if "error" in states:
            return "failed"
        return "pending" if "pending" in states else "available"

    @state.setter
    def state(self, state: str) -> None:
        self._state = state

    @property
    def state_reason(self) -> dict[str, str] | None:
        """Why it failed, if it did."""
        if self.state != "failed":
            return None
        found = [blocks.store().find(snapshot_id) for snapshot_id in self.origin.awaits]
        why = next((one.failure for one in found if one and one.failure), "")
        return {"Code": "Client.SnapshotFailed", "Message": why}

    @property
    def deprecation_time(self) -> str | None:
        """When it is deprecated."""
        return self.deprecate_at.strftime(TIME) if self.deprecate_at else None

    @property
    def last_launched_time(self) -> str | None:
        """When it was launched last; EC2 says so a day later, the sandbox at once."""
        return self.launched_at.strftime(TIME) if self.launched_at else None

    @property
    def is_deprecated(self) -> bool:
        """Whether others no longer find it unless they ask for deprecated ones."""
        now = utcnow().replace(tzinfo=UTC)
        return self.deprecate_at is not None and self.deprecate_at <= now

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        """Return what one of DescribeImages' filters compares."""
        ebs = [mapping.get("Ebs", {}) for mapping in self.mappings]
        ours: dict[str, Any] = {
            "product-code": list(self.traits.product_codes),
            "block-device-mapping.snapshot-id": list(self.snapshot_ids),
            "block-device-mapping.encrypted": [str(bool(e.get("Encrypted"))).lower() for e in ebs],
            "ena-support": str(self.ena_support).lower(),
            "description": self.description,
            "source-image-id": self.source_image_id,
        }
        if filter_name in ours:
            return ours[filter_name]
        return super().get_filter_value(filter_name, method_name)


def root_snapshot(ami: Ami) -> str:
    """Return the id of the snapshot that an image boots from."""
    for mapping in ami.block_device_mappings:
        if mapping["DeviceName"] == ami.root_device_name and "Ebs" in mapping:
            return str(mapping["Ebs"]["SnapshotId"])
    raise EC2ClientError("InvalidBlockDeviceMapping", "The root device has no snapshot")


def visible(backend: EC2Backend) -> dict[str, Ami]:
    """Return the images that an account sees; those of others as views with its own tags."""
    found: dict[str, Ami] = {}
    above = organizations.arns(backend.account_id)
    for peer in peers(backend):
        for ami in list(peer.amis.values()):
            if peer is backend:
                found[ami.id] = ami
            elif is_shared(ami, backend.account_id, above):
                view = copy.copy(ami)
                view.ec2_backend = backend  # whose tags it shows
                found[ami.id] = view
    return found


def is_shared(ami: Ami, account_id: str, above: frozenset[str]) -> bool:
    """Tell whether an image's launch permissions let another account in.

    Args:
        ami: Of another account.
        account_id: Who asks.
        above: ARNs of its organisation and of the units that it is in.
    """
    for permission in ami.launch_permissions:
        arn = permission.get("OrganizationArn") or permission.get("OrganizationalUnitArn")
        by_name = permission.get("UserId") == account_id or permission.get("Group") == "all"
        if by_name or (arn and arn in above):
            return True
    return False


def launchable(image_id: str, account_id: str, region: str = REGION) -> Ami:
    """Return an image that the account may launch.

    Raises:
        EC2ClientError: InvalidAMIID.NotFound: unknown, or not shared with this account;
            InvalidAMIID.Unavailable: pending, failed or disabled.
    """
    ami = visible(ec2_backends[account_id][region]).get(image_id)
    if ami is None:
        raise InvalidAMIIdError([image_id])
    if ami.state != "available":
        raise EC2ClientError(
            "InvalidAMIID.Unavailable",
            f"The image ID '{image_id}' is not available: it is {ami.state}",
        )
    return ami


def launched(ami: RegisteredAmi) -> None:
    """Note on an image, not on a view of it, that it is launched now."""
    region = ami.ec2_backend.region_name
    known = ec2_backends[ami.owner_id][region].amis.get(ami.id)
    if isinstance(known, RegisteredAmi):
        known.launched_at = utcnow()


def own(backend: EC2Backend, image_id: str) -> RegisteredAmi:
    """Return an image that the account owns.

    Raises:
        EC2ClientError: InvalidAMIID.NotFound, .Unavailable when it was deregistered, or
            AuthFailure when it is another account's.
    """
    ami = backend.amis.get(image_id)
    if isinstance(ami, RegisteredAmi):
        return ami
    if image_id in visible(backend):
        raise EC2ClientError("AuthFailure", f"Not authorized for image:{image_id}")
    if image_id in backend.deleted_amis:
        raise EC2ClientError(
            "InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available"
        )
    raise InvalidAMIIdError([image_id])


def billed(codes: list[str]) -> Mapping[str, Any]:
    """Return what billing products make of an image, as words of :class:`Traits`."""
    usage = next((BILLING[code] for code in codes if code in BILLING), "RunInstances")
    products = tuple(code for code in codes if not code.startswith("bp-"))
    return {"usage_operation": usage, "product_codes": products}


def refuse_name(backend: EC2Backend, name: str) -> None:
    """Refuse a name that the account has given already, or that no image may have.

    Raises:
        EC2ClientError: InvalidAMIName.Duplicate or .Malformed.
    """
    if not NAME.fullmatch(name or ""):
        raise EC2ClientError(
            "InvalidAMIName.Malformed",
            "AMI names must be between 3 and 128 characters long, and may contain letters,"
            " numbers, '(', ')', '.', '-', '/' and '_'",
        )
    if any(ami.name == name for ami in backend.amis.values()):
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use")


def tags_for(self: AmisResponse, kinds: set[str]) -> dict[str, dict[str, str]]:
    """Return kind of resource → tags, of a call's TagSpecifications.

    Raises:
        EC2ClientError: InvalidParameterValue: tags for a kind that the call does not make.
    """
    found: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    for one in self._get_param("TagSpecifications", []):
        if one["ResourceType"] not in kinds:
            raise InvalidTaggableResourceType(one["ResourceType"])
        found[one["ResourceType"]] |= {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}
    return found
