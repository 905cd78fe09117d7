"""CopyImage, as EC2 does it.

A copy's snapshots are copies of the source's, and the image is pending until they are
completed. It takes over everything that decides how it boots, and, when asked, the tags that
the copier wrote himself; never launch permissions. Who copies another account's image needs
its snapshots' permission, too: an image that may be launched need not be one that may be
copied, also when it is public. What has billing products is copied by its owner alone; others
launch it, and make an image of the instance. The call is repeatable by its client token.

moto 5.2.5 copies name and description, of the account's own images.

Source: EC2 API reference, CopyImage; EC2 user guide, "Copy an Amazon EC2 AMI"; messages as
AWS words them in public bug reports.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import EC2Backend
from moto.ec2.responses.amis import AmisResponse

from ovenbird.sandbox import snapshots
from ovenbird.sandbox.image_model import Origin, RegisteredAmi, refuse_name, tags_for, visible
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.snapshot_copies import Asked, copied, in_region, refuse_unfinished
from ovenbird.sandbox.snapshots import find_snapshot


def install() -> None:
    """Put our version in moto's place."""
    AmisResponse.copy_image = copy_image


def copy_image(self: AmisResponse) -> ActionResult:
    """Stand in for CopyImage."""
    self.error_on_dryrun()
    backend, region = self.ec2_backend, self._get_param("SourceRegion")
    token, asked = self._get_param("ClientToken") or "", repr(sorted(self._get_params().items()))
    with CONTROL:
        if earlier := made_by(backend, token, asked):
            return ActionResult({"ImageId": earlier.id})
        name = self._get_param("Name")
        refuse_name(backend, name)
        source = _source(in_region(backend, region), self._get_param("SourceImageId"))
        tags = tags_for(self, {"image", "snapshot"})
        mappings, made = _copied(backend, source, _asked(self, source, region, tags["snapshot"]))
        ami = RegisteredAmi(
            backend,
            mappings,
            traits=source.traits,
            origin=Origin(image_id=source.id, region=region, token=token, asked=asked, awaits=made),
            name=name,
            description=self._get_param("Description") or source.description,
            tags=_kept(self, source) | tags["image"],
        )
        backend.amis[ami.id] = ami
    return ActionResult({"ImageId": ami.id})


def made_by(backend: EC2Backend, token: str, asked: str) -> RegisteredAmi | None:
    """Return what an earlier call with the same client token made.

    Raises:
        EC2ClientError: IdempotentParameterMismatch: that call asked for something else.
    """
    for ami in backend.amis.values():
        if token and isinstance(ami, RegisteredAmi) and ami.origin.token == token:
            if ami.origin.asked == asked:
                return ami
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "The client token you have provided is associated with a resource that is"
                " already created, with other parameters.",
            )
    return None


def _source(backend: EC2Backend, image_id: str) -> RegisteredAmi:
    """Return an image that the caller may copy."""
    ami = visible(backend).get(image_id)
    if not isinstance(ami, RegisteredAmi):
        raise InvalidAMIIdError([image_id])
    if ami.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"Image {image_id} is {ami.state}")
    if ami.owner_id == backend.account_id:
        return ami
    if ami.traits.product_codes:
        raise EC2ClientError(
            "InvalidRequest",
            "Images from AWS Marketplace cannot be copied to another AWS account.",
        )
    if ami.usage_operation != "RunInstances":
        raise EC2ClientError(
            "InvalidRequest",
            "Images with EC2 BillingProduct codes cannot be copied to another AWS account",
        )
    if not set(ami.snapshot_ids) <= snapshots.visible(backend).keys():
        raise EC2ClientError(
            "InvalidRequest", "You do not have permission to access the storage of this ami"
        )
    return ami


def _asked(self: AmisResponse, source: RegisteredAmi, region: str, tags: dict[str, str]) -> Asked:
    return Asked(
        description=f"Copied from SourceAmi {source.id} in {region}.",
        encrypted=bool(self._get_bool_param("Encrypted")),
        key=self._get_param("KmsKeyId") or "",
        tags=tags,
    )


def _copied(
    backend: EC2Backend, source: RegisteredAmi, asked: Asked
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Copy all snapshots of an image; return its new block devices, and the snapshots' ids."""
    from_backend = in_region(backend, source.ec2_backend.region_name)
    found = {one: find_snapshot(from_backend, one) for one in source.snapshot_ids}
    for snapshot in found.values():
        refuse_unfinished(snapshot)
    copies = {one: copied(backend, snapshot, asked) for one, snapshot in found.items()}
    mappings = []
    for mapping in source.mappings:
        one = dict(mapping)
        if (ebs := mapping.get("Ebs", {})).get("SnapshotId"):
            made = copies[ebs["SnapshotId"]]
            one["Ebs"] = ebs | {"SnapshotId": made.id, "Encrypted": bool(made.kms_key_id)}
        mappings.append(one)
    return mappings, tuple(made.id for made in copies.values())


def _kept(self: AmisResponse, source: RegisteredAmi) -> dict[str, str]:
    """Return the caller's own tags of the source, if they are to be copied."""
    if not self._get_bool_param("CopyImageTags"):
        return {}
    tags = {tag["key"]: tag["value"] for tag in source.get_tags()}
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}
