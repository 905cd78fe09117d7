"""Who may use an image: launch and volume permissions, grants of its key, copies, tags.

Source: EC2 API reference, ModifyImageAttribute, DescribeImageAttribute,
ModifySnapshotAttribute, DescribeSnapshotAttribute, RunInstances (DryRun); EC2 user guide,
"Share an AMI with specific AWS accounts".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.aws.copies import Copy, ImageCopies
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.keys import KmsKeys
from ovenbird.domain.errors import CloudError, NotFound, OvenbirdError
from ovenbird.domain.images import Image, ImageId
from ovenbird.domain.ports import Clock, Progress
from ovenbird.domain.sharing import Key, Permissions, Principal, PrincipalKind
from ovenbird.system.clock import SystemClock

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import LaunchPermissionTypeDef

SEEN_WITHIN = timedelta(minutes=1)  # a permission is known everywhere after seconds
_FIELDS = {
    PrincipalKind.ACCOUNT: "UserId",
    PrincipalKind.ORGANIZATION: "OrganizationArn",
    PrincipalKind.UNIT: "OrganizationalUnitArn",
}
# What DryRun says when the image or what it consists of is the reason; all else is ours.
_CANNOT_LAUNCH = ("InvalidAMIID", "InvalidSnapshot", "InvalidKMSKey", "AuthFailure")
_UNTIL_SEEN = frozenset({"InvalidAMIID.NotFound", "AuthFailure"})
_SMALL: dict[str, Any] = {"arm64": "t4g.micro"}  # else t3.micro; nothing is launched
_HINTS = {
    "InvalidParameterValue": "Look at the accounts and ARNs that it is shared with: do they exist?",
    "InvalidUserID.Malformed": "Accounts are twelve digits, organisations and units whole ARNs",
    "OperationNotPermitted": "Does the account block sharing (block public access, declarative "
    "policies), or does AWS's own key encrypt the snapshot?",
}


class Ec2Sharing:
    """The :class:`ovenbird.domain.sharing_ports.ImageSharing` of one account in one Region.

    Permissions, of the owner: ec2:DescribeImageAttribute, ec2:ModifyImageAttribute,
    ec2:DescribeSnapshotAttribute, ec2:ModifySnapshotAttribute, and those of :class:`KmsKeys`;
    of who is let in: ec2:DescribeImages, ec2:CreateTags, ec2:DeleteTags, ec2:RunInstances; of
    who copies: those of :class:`ImageCopies`, and ec2:DeleteSnapshot.

    Args:
        account: Whose, and where.
        subnet_id: Into which a launch is tried; empty for the default network.
        clock: Waits; the host's by default.
    """

    def __init__(
        self, account: Account, *, subnet_id: str = "", clock: Clock | None = None
    ) -> None:
        self._ec2 = account.ec2
        self._subnet_id = subnet_id
        self._clock = clock or SystemClock()
        self._images = Ec2Images(account, clock=self._clock)
        self._copies = ImageCopies(account, clock=self._clock)
        self._keys = KmsKeys(account)

    def get(self, image_id: ImageId) -> Image:
        """Return an image as this account sees it.

        Raises:
            NotFound: It sees none.
        """
        return self._images.get(image_id)

    def await_seen(self, image_id: ImageId) -> Image:
        """Return an image when this account sees it; permissions take seconds to be known.

        Raises:
            NotFound: It does not within a minute.
        """
        deadline = self._clock.now() + SEEN_WITHIN
        while True:
            try:
                return self.get(image_id)
            except NotFound:
                if self._clock.now() >= deadline:
                    raise
            self._clock.sleep(1)

    def key(self, name: str) -> Key:
        """Return a key by id, ARN or alias."""
        return self._keys.get(name)

    # The owner's side

    def permissions(self, image: Image) -> Permissions:
        """Return who may launch an image and read its snapshot."""
        with cloud_errors(f"asking who may launch `{image.image_id}`"):
            launch = self._ec2.describe_image_attribute(
                ImageId=image.image_id, Attribute="launchPermission"
            ).get("LaunchPermissions", [])
        with cloud_errors(f"asking who may read `{image.root_snapshot_id}`"):
            volumes = self._ec2.describe_snapshot_attribute(
                SnapshotId=image.root_snapshot_id, Attribute="createVolumePermission"
            ).get("CreateVolumePermissions", [])
        return Permissions(
            launch=frozenset(found for one in launch for found in _principals(one)),
            volumes=frozenset(one["UserId"] for one in volumes if one.get("UserId")),
        )

    def allow_volumes(self, image: Image, accounts: Sequence[str]) -> None:
        """Let accounts read the snapshot of an image."""
        self._change_volumes(image, accounts, "add")

    def deny_volumes(self, image: Image, accounts: Sequence[str]) -> None:
        """Take that back."""
        self._change_volumes(image, accounts, "remove")

    def allow_launch(self, image: Image, principals: Sequence[Principal]) -> None:
        """Let somebody launch an image."""
        self._change_launch(image, principals, "Add")

    def deny_launch(self, image: Image, principals: Sequence[Principal]) -> None:
        """Take that back."""
        self._change_launch(image, principals, "Remove")

    def grantees(self, key: str) -> frozenset[str]:
        """Return who may do by a grant all that launching needs."""
        return self._keys.grantees(key)

    def grant(self, key: str, grantee: str) -> None:
        """Let somebody use a key."""
        self._keys.grant(key, grantee)

    def revoke(self, key: str, grantee: str) -> None:
        """Take that back."""
        self._keys.revoke(key, grantee)

    # The side of who copies

    def find_copy(self, source: Image, *, region: str) -> Image | None:
        """Return this account's copy of an image that is available here, if any.

        Raises:
            Conflict: Another image has the name.
        """
        found = self._copies.find(_copy(source, region))
        return self.get(found.image_id) if found and found.state == "available" else None

    def copy(
        self,
        source: Image,
        *,
        region: str,
        tags: Mapping[str, str],
        kms_key: str,
        progress: Progress,
    ) -> Image:
        """Copy an image to here, or go on with what was begun; return it when it is available.

        Raises:
            CloudError: AWS refused, or failed.
        """
        key = self.key(kms_key).arn if kms_key else ""
        wanted = _copy(source, region, tags=tags, kms_key=key)
        return self._copies.ensure(wanted, progress=progress)

    def remove_copy(self, source: Image, *, region: str) -> None:
        """Deregister this account's copy of an image and delete its snapshot, if there is one."""
        self._copies.remove(_copy(source, region))

    # The other side

    def write_tags(self, image_id: ImageId, tags: Mapping[str, str]) -> None:
        """Write this account's own tags on an image that it sees."""
        self._images.tag(image_id, tags)

    def remove_tags(self, image_id: ImageId, names: Sequence[str]) -> None:
        """Remove tags of this account."""
        if names:
            with cloud_errors(f"removing tags of image `{image_id}`"):
                self._ec2.delete_tags(
                    Resources=[image_id], Tags=[{"Key": name} for name in sorted(names)]
                )

    def launch_doubt(self, image: Image) -> str:
        """Ask EC2 whether it would launch an image, and launch nothing.

        Returns:
            Why it is not known, as that this role may not launch; empty when it would.

        Raises:
            CloudError: It would not, because of the image; also not after a minute, within
                which a permission is known everywhere.
        """
        deadline = self._clock.now() + SEEN_WITHIN
        while True:
            try:
                return self._launch_doubt(image)
            except OvenbirdError as error:
                new = error.facts.get("code") in _UNTIL_SEEN
                if not new or self._clock.now() >= deadline:
                    raise
            self._clock.sleep(1)

    def _launch_doubt(self, image: Image) -> str:
        network: dict[str, Any] = {"SubnetId": self._subnet_id} if self._subnet_id else {}
        with cloud_errors(f"trying to launch `{image.image_id}`"):
            try:
                self._ec2.run_instances(
                    ImageId=image.image_id,
                    MinCount=1,
                    MaxCount=1,
                    InstanceType=_SMALL.get(image.architecture, "t3.micro"),
                    DryRun=True,
                    **network,
                )
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if code == "DryRunOperation":
                    return ""
                if code.startswith(_CANNOT_LAUNCH):
                    raise
                return code
        raise CloudError(f"AWS answered the trial launch of `{image.image_id}` with a launch")

    def _change_volumes(self, image: Image, accounts: Sequence[str], change: str) -> None:
        snapshot_id = image.root_snapshot_id
        with cloud_errors(f"changing who may read snapshot `{snapshot_id}`", hints=_HINTS):
            self._ec2.modify_snapshot_attribute(
                SnapshotId=snapshot_id,
                Attribute="createVolumePermission",
                OperationType=change,  # type: ignore[arg-type]
                UserIds=list(accounts),
            )

    def _change_launch(self, image: Image, principals: Sequence[Principal], change: str) -> None:
        entries: list[Any] = [{_FIELDS[one.kind]: one.name} for one in principals]
        with cloud_errors(f"changing who may launch `{image.image_id}`", hints=_HINTS):
            self._ec2.modify_image_attribute(
                ImageId=image.image_id,
                LaunchPermission={change: entries},  # type: ignore[misc]
            )


def _principals(raw: LaunchPermissionTypeDef) -> list[Principal]:
    values: Mapping[str, Any] = raw
    return [
        Principal(kind=kind, name=str(values[field]))
        for kind, field in _FIELDS.items()
        if values.get(field)
    ]


def _copy(
    source: Image, region: str, *, tags: Mapping[str, str] | None = None, kms_key: str = ""
) -> Copy:
    """Return the copy of an image: it has its name."""
    return Copy(source=source, region=region, name=source.name, tags=tags or {}, kms_key=kms_key)
