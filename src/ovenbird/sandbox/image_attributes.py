"""What is changed in an image: who may launch it, its state, its deprecation, its protection.

Only its owner changes an image. Disabling takes all launch permissions away, and a disabled
image is shared with nobody until it is enabled again. It is deprecated at a time to come. An
image with an encrypted snapshot is never public, and one whose snapshot is encrypted with
AWS's own key is shared with nobody. Deregistration protection with a cooldown goes on for a
day after it is disabled.

moto 5.2.5 ignores a description, takes the first organisation only, changes images of other
accounts, answers half of the attributes with an AttributeError, and does not know deprecation
and protection.

Source: EC2 API reference, ModifyImageAttribute, DescribeImageAttribute, ResetImageAttribute,
EnableImage, DisableImage, EnableImageDeprecation, EnableImageDeregistrationProtection; EC2
user guide, "Share an AMI with specific AWS accounts"; messages as AWS words them in public
bug reports.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import AuthFailureRestricted, EC2ClientError, InvalidRequest
from moto.ec2.models import EC2Backend
from moto.ec2.responses.amis import AmisResponse

from ovenbird.sandbox import encryption
from ovenbird.sandbox.image_model import RegisteredAmi, own
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.snapshots import find_snapshot

PUBLIC_YEARS, YEARS = 2, 10  # how far ahead an image may be deprecated
COOLDOWN = timedelta(hours=24)
VALUES: dict[str, Callable[[RegisteredAmi], Any]] = {
    "description": lambda ami: ami.description,
    "kernel": lambda ami: ami.kernel_id,
    "sriovNetSupport": lambda ami: ami.traits.sriov,
    "uefiData": lambda ami: ami.traits.uefi_data,
    "bootMode": lambda ami: ami.boot_mode,
    "tpmSupport": lambda ami: ami.tpm_support,
    "imdsSupport": lambda ami: ami.imds_support,
    "lastLaunchedTime": lambda ami: ami.last_launched_time,
    "deregistrationProtection": lambda ami: ami.deregistration_protection,
}
MEMBERS = {"kernel": "KernelId"}
LISTS = {
    "UserIds": "UserId",
    "UserGroups": "Group",
    "OrganizationArns": "OrganizationArn",
    "OrganizationalUnitArns": "OrganizationalUnitArn",
}
Permission = dict[str, str]


def install() -> None:
    """Put our versions in moto's place."""
    for call in (
        modify_image_attribute,
        describe_image_attribute,
        reset_image_attribute,
        enable_image,
        disable_image,
        enable_image_deprecation,
        disable_image_deprecation,
        enable_image_deregistration_protection,
        disable_image_deregistration_protection,
    ):
        setattr(AmisResponse, call.__name__, call)


def modify_image_attribute(self: AmisResponse) -> EmptyResult:
    """Stand in for ModifyImageAttribute."""
    ami, attribute = _own(self), self._get_param("Attribute")
    value = self._get_param("Value")
    description = self._get_param("Description")
    imds = self._get_param("ImdsSupport")
    if description is not None or attribute == "description":
        ami.description = value if description is None else description.get("Value", "")
    elif imds is not None or attribute == "imdsSupport":
        ami.imds_support = value if imds is None else imds.get("Value")
    else:
        _change_permissions(self, ami)
    return EmptyResult()


def _change_permissions(self: AmisResponse, ami: RegisteredAmi) -> None:
    given = self._get_param("LaunchPermission", {})
    listed = [{key: one} for name, key in LISTS.items() for one in self._get_param(name, [])]
    operation = self._get_param("OperationType")
    adds = [*given.get("Add", []), *(listed if operation == "add" else [])]
    removes = [*given.get("Remove", []), *(listed if operation == "remove" else [])]
    self.ec2_backend.validate_permission_targets([*adds, *removes])
    if adds:
        _refuse_to_share(self.ec2_backend, ami, public={"Group": "all"} in adds)
    kept = [one for one in ami.launch_permissions if one not in removes]
    ami.launch_permissions = [*kept, *(one for one in adds if one not in kept)]


def _refuse_to_share(backend: EC2Backend, ami: RegisteredAmi, *, public: bool) -> None:
    if ami.state == "disabled":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"Image {ami.id} is disabled")
    found = (find_snapshot(backend, snapshot_id) for snapshot_id in ami.snapshot_ids)
    keys = [snapshot.kms_key_id for snapshot in found if snapshot.kms_key_id]
    if any(encryption.is_managed(key) for key in keys):
        raise EC2ClientError(
            "InvalidParameter",
            "Snapshots encrypted with the AWS Managed CMK can't be shared."
            " Specify another snapshot.",
        )
    if keys and public:
        raise EC2ClientError(
            "InvalidParameter", "Images with encrypted snapshots cannot be made public"
        )


def describe_image_attribute(self: AmisResponse) -> ActionResult:
    """Stand in for DescribeImageAttribute; others see nothing but their own images' attributes."""
    ami, attribute = _own(self), self._get_param("Attribute")
    answer: dict[str, Any] = {"ImageId": ami.id}
    match attribute:
        case "launchPermission":
            answer["LaunchPermissions"] = ami.launch_permissions
        case "productCodes":
            answer["ProductCodes"] = ami.product_codes
        case "blockDeviceMapping":  # deprecated; EC2 refuses it
            raise AuthFailureRestricted
        case _ if attribute in VALUES:
            member = MEMBERS.get(attribute, attribute[0].upper() + attribute[1:])
            answer[member] = {"Value": VALUES[attribute](ami)}
        case _:
            raise InvalidRequest
    return ActionResult(answer)


def reset_image_attribute(self: AmisResponse) -> EmptyResult:
    """Stand in for ResetImageAttribute: nobody but the owner may launch it."""
    _own(self).launch_permissions = []
    return EmptyResult()


def disable_image(self: AmisResponse) -> ActionResult:
    """Stand in for DisableImage."""
    ami = _own(self)
    ami.state, ami.launch_permissions = "disabled", []
    return ActionResult({"Return": True})


def enable_image(self: AmisResponse) -> ActionResult:
    """Stand in for EnableImage: its permissions do not come back."""
    _own(self).state = "available"
    return ActionResult({"Return": True})


def enable_image_deprecation(self: AmisResponse) -> ActionResult:
    """Stand in for EnableImageDeprecation: at a full minute to come."""
    ami, now = _own(self), utcnow().replace(tzinfo=UTC)
    asked = self._get_param("DeprecateAt")
    at = asked if isinstance(asked, datetime) else datetime.fromisoformat(str(asked))
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    begins = ami.creation_date.replace(tzinfo=UTC) if ami.is_public else now
    most = begins + timedelta(days=365 * (PUBLIC_YEARS if ami.is_public else YEARS) + 3)
    if not now <= at <= most:
        raise EC2ClientError("InvalidParameterValue", f"DeprecateAt must be from now to {most}")
    ami.deprecate_at = (at + timedelta(seconds=30)).replace(second=0, microsecond=0)
    return ActionResult({"Return": True})


def disable_image_deprecation(self: AmisResponse) -> ActionResult:
    """Stand in for DisableImageDeprecation."""
    _own(self).deprecate_at = None
    return ActionResult({"Return": True})


def enable_image_deregistration_protection(self: AmisResponse) -> ActionResult:
    """Stand in for EnableImageDeregistrationProtection."""
    cooldown = self._get_bool_param("WithCooldown")
    state = "enabled-with-cooldown" if cooldown else "enabled-without-cooldown"
    _own(self).deregistration_protection = state
    return ActionResult({"Return": state})


def disable_image_deregistration_protection(self: AmisResponse) -> ActionResult:
    """Stand in for DisableImageDeregistrationProtection; with a cooldown it goes on for a day."""
    ami = _own(self)
    if ami.deregistration_protection.startswith("enabled-with-cooldown"):
        until = utcnow() + COOLDOWN
        ami.deregistration_protection = f"enabled-until-{until:%Y-%m-%dT%H:%M:%SZ}"
    elif ami.deregistration_protection == "enabled-without-cooldown":
        ami.deregistration_protection = "disabled"
    return ActionResult({"Return": ami.deregistration_protection})


def _own(self: AmisResponse) -> RegisteredAmi:
    self.error_on_dryrun()
    with CONTROL:
        return own(self.ec2_backend, self._get_param("ImageId"))
