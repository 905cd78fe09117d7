"""Images in EC2: found, registered with tags in the same call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ovenbird.aws import registration
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import HINTS, cloud_errors
from ovenbird.aws.tags import from_aws, to_aws
from ovenbird.aws.unregistered import unmark
from ovenbird.aws.waiting import await_state
from ovenbird.domain.errors import CloudError, Conflict, NotFound
from ovenbird.domain.images import APP_TAG, BAKE_KEY_TAG, Image, ImageId, SnapshotId
from ovenbird.domain.ports import Clock
from ovenbird.system.clock import SystemClock

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef

AVAILABLE_WITHIN = timedelta(minutes=5)
DESCRIBED_WITHIN = timedelta(seconds=30)
UNKNOWN_KEY = "unknown"  # it is encrypted, and we may not see its snapshot


class Ec2Images:
    """The :class:`ovenbird.domain.ports.Images` that asks EC2.

    Permissions: ec2:DescribeImages, ec2:DescribeImageAttribute, ec2:RegisterImage,
    ec2:CreateTags, ec2:DeleteTags, ec2:ModifyImageAttribute, ec2:ModifySnapshotAttribute.

    Args:
        account: Whose images.
        clock: Waits for a new image; the host's by default.
    """

    def __init__(self, account: Account, *, clock: Clock | None = None) -> None:
        self._account_id, self._ec2 = account.account_id, account.ec2
        self._clock = clock or SystemClock()

    def get(self, image_id: ImageId) -> Image:
        """Return one image by id.

        Raises:
            NotFound: There is none, or this account may not see it.
        """
        with cloud_errors(f"describing image `{image_id}`"):
            found = self._ec2.describe_images(ImageIds=[image_id])["Images"]
        if not found:
            raise NotFound(f"No image `{image_id}`", hint=HINTS["InvalidAMIID.NotFound"])
        return self._with_key(_image(found[0]))

    def find_by_name(self, name: str) -> Image | None:
        """Return this account's own image of that name, if any.

        Anyone may publish an image under any name, so others' images are never found; disabled
        ones are: they keep their names.
        """
        own: list[FilterTypeDef] = [
            {"Name": "name", "Values": [name]},
            {"Name": "owner-id", "Values": [self._account_id]},
        ]
        return self._newest(own, f"looking for image `{name}`", disabled=True)

    def find_baked(self, bake_key: str) -> Image | None:
        """Return the newest available image that a bake with this key made, if any.

        One that failed its boot check does not count.
        """
        wanted: list[FilterTypeDef] = [
            {"Name": f"tag:{BAKE_KEY_TAG}", "Values": [bake_key]},
            {"Name": "state", "Values": ["available"]},
        ]
        return self._newest(wanted, f"looking for bake `{bake_key}`", fit=True)

    def list_baked(self, app: str | None = None, *, disabled: bool = False) -> tuple[Image, ...]:
        """Return the images that bakes made, newest first; shared ones that are tagged here, too.

        Args:
            app: Only of this app.
            disabled: Also those that nobody can launch any more.
        """
        tag: FilterTypeDef = (
            {"Name": f"tag:{APP_TAG}", "Values": [app]}
            if app
            else {"Name": "tag-key", "Values": [BAKE_KEY_TAG]}
        )
        images = (
            _image(raw) for raw in self._described([tag], "listing images", disabled=disabled)
        )
        return tuple(sorted(images, key=lambda image: image.created_at, reverse=True))

    def list_owned(self, owner: str, filters: Sequence[FilterTypeDef]) -> tuple[Image, ...]:
        """Return the images of an owner that pass all filters.

        Args:
            owner: ``self``, ``amazon``, ``aws-marketplace``, or twelve digits.
            filters: As EC2 takes them.
        """
        with cloud_errors(f"looking for images of `{owner}`"):
            pages = self._ec2.get_paginator("describe_images").paginate(
                Owners=[owner], Filters=filters
            )
            return tuple(_image(raw) for page in pages for raw in page["Images"])

    def is_owned(self, image: Image, owner: str) -> bool:
        """Tell whether an image belongs to an owner, as :meth:`list_owned` calls them."""
        if owner == "self" or owner.isdigit():
            return image.owner_id == (self._account_id if owner == "self" else owner)
        wanted: list[FilterTypeDef] = [{"Name": "image-id", "Values": [image.image_id]}]
        return bool(self.list_owned(owner, wanted))

    def register(
        self, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
    ) -> Image:
        """Make a snapshot bootable under *name*, with everything of *base*, tagged at once.

        Safe to repeat: an image of this name and this snapshot is returned as it is.
        Returns when the image is available.

        Raises:
            Conflict: Another image has the name.
        """
        try:
            image_id = registration.register(
                self._ec2, name=name, base=base, snapshot_id=snapshot_id, tags=tags
            )
        except Conflict:
            found = self._awaited(name)
            if found is None or found.root_snapshot_id != snapshot_id:
                raise
            image_id = found.image_id
        unmark(self._ec2, snapshot_id)
        return self._available(image_id)

    def _awaited(self, name: str) -> Image | None:
        """Return the image of a name that is taken; EC2 may describe a new one late."""
        deadline = self._clock.now() + DESCRIBED_WITHIN
        while (found := self.find_by_name(name)) is None and self._clock.now() < deadline:
            self._clock.sleep(1)
        return found

    def tag(self, image_id: ImageId, tags: Mapping[str, str]) -> None:
        """Write this account's own tags on an image that it can see."""
        with cloud_errors(f"tagging image `{image_id}`"):
            self._ec2.create_tags(Resources=[image_id], Tags=to_aws(tags))

    def _with_key(self, image: Image) -> Image:
        """Return an image with the key of its snapshot, which only DescribeSnapshots tells."""
        if image.kms_key != UNKNOWN_KEY:
            return image
        with cloud_errors(f"asking for the key of snapshot `{image.root_snapshot_id}`"):
            wanted: list[FilterTypeDef] = [
                {"Name": "snapshot-id", "Values": [image.root_snapshot_id]}
            ]
            found = self._ec2.describe_snapshots(Filters=wanted)["Snapshots"]
        return replace(image, kms_key=found[0].get("KmsKeyId") or UNKNOWN_KEY) if found else image

    def _available(self, image_id: ImageId) -> Image:
        await_state(
            f"Image `{image_id}`",
            lambda: self._state(image_id),
            done=lambda state: state == "available",
            within=AVAILABLE_WITHIN,
            every=timedelta(seconds=1),
            clock=self._clock,
        )
        return self.get(image_id)

    def _state(self, image_id: ImageId) -> str:
        try:
            state = self.get(image_id).state
        except NotFound:
            return "unknown"  # EC2 may not know a new id for seconds
        if state in {"failed", "error", "invalid", "deregistered"}:
            raise CloudError(f"Image `{image_id}` ended in state `{state}`")
        return state

    def _newest(
        self,
        filters: list[FilterTypeDef],
        doing: str,
        *,
        fit: bool = False,
        disabled: bool = False,
    ) -> Image | None:
        found = (_image(raw) for raw in self._described(filters, doing, disabled=disabled))
        images = [image for image in found if not (fit and image.is_unfit)]
        newest = max(images, key=lambda image: image.created_at, default=None)
        return self._with_key(newest) if newest else None

    def _described(
        self, filters: list[FilterTypeDef], doing: str, *, disabled: bool = False
    ) -> list[ImageTypeDef]:
        with cloud_errors(doing):
            pages = self._ec2.get_paginator("describe_images").paginate(
                Filters=filters, IncludeDisabled=disabled
            )
            return [image for page in pages for image in page["Images"]]


def _image(raw: ImageTypeDef) -> Image:
    """Read the part of ``describe_images`` that we use."""
    ebs = _root(raw)
    return Image(
        image_id=ImageId(raw["ImageId"]),
        name=raw.get("Name", ""),
        owner_id=raw.get("OwnerId", ""),
        root_snapshot_id=SnapshotId(ebs.get("SnapshotId", "")),
        root_device_name=raw.get("RootDeviceName", ""),
        architecture=raw.get("Architecture", ""),
        boot_mode=raw.get("BootMode", ""),
        ena=bool(raw.get("EnaSupport", False)),
        imds_v2=raw.get("ImdsSupport") == "v2.0",
        size_gib=int(ebs.get("VolumeSize", 0)),
        created_at=datetime.fromisoformat(raw["CreationDate"]),
        state=str(raw.get("State", "")),
        tags=from_aws(raw.get("Tags", [])),  # type: ignore[arg-type]
        product_codes=tuple(
            sorted(one.get("ProductCodeId", "") for one in raw.get("ProductCodes", []))
        ),
        usage_operation=raw.get("UsageOperation", "RunInstances"),
        public=bool(raw.get("Public", False)),
        kms_key=ebs.get("KmsKeyId") or (UNKNOWN_KEY if ebs.get("Encrypted") else ""),
        tpm=str(raw.get("TpmSupport", "")),
    )


def _root(raw: ImageTypeDef) -> Mapping[str, Any]:
    """Return the root device; an image that is being copied may have none yet."""
    for mapping in raw.get("BlockDeviceMappings", []):
        ebs: Mapping[str, Any] = mapping.get("Ebs", {})
        if mapping.get("DeviceName") == raw.get("RootDeviceName", "") and "SnapshotId" in ebs:
            return ebs
    if raw.get("State") == "available":
        raise CloudError(f"Image `{raw['ImageId']}` has no EBS root device")
    return {}
