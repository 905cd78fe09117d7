"""The last days of an image: deprecated, disabled, removed with its snapshot; or restored.

Source: EC2 API reference, EnableImageDeprecation, DisableImage, DeregisterImage, DeleteSnapshot.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import to_aws
from ovenbird.aws.unregistered import mark, unmark
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.image_retention import RETIRED_TAG
from ovenbird.domain.images import BAKE_KEY_TAG, DISABLED, Image, SnapshotId

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

    from ovenbird.aws.clients import Account

# EC2 takes no time in the past, and rounds to the nearest minute.
SOON = timedelta(minutes=2)


class ImageLives:
    """The :class:`ovenbird.domain.image_ports.ImageLives` of one account, each to be repeated.

    Permissions: ec2:EnableImageDeprecation, ec2:DisableImageDeprecation, ec2:DisableImage,
    ec2:EnableImage, ec2:DeregisterImage, ec2:DeleteSnapshot, ec2:CreateTags, ec2:DeleteTags,
    ec2:DescribeImages, ec2:DescribeSnapshots.

    Args:
        account: Whose images.
    """

    def __init__(self, account: Account) -> None:
        self._ec2 = account.ec2

    def deprecate(self, image: Image, *, at: datetime) -> None:
        """Mark an image as going; it can still be launched."""
        with cloud_errors(f"deprecating image `{image.image_id}`"):
            # The tag first: it tells when the next step may come, whatever is left undone here.
            tags = to_aws({RETIRED_TAG: at.isoformat()})
            self._ec2.create_tags(Resources=[image.image_id], Tags=tags)
            self._ec2.enable_image_deprecation(ImageId=image.image_id, DeprecateAt=at + SOON)

    def disable(self, image: Image) -> None:
        """Let nobody launch an image; it is shared with nobody from now on."""
        with cloud_errors(f"disabling image `{image.image_id}`"):
            self._ec2.disable_image(ImageId=image.image_id)

    def restore(self, image: Image) -> None:
        """Take back a deprecation, and the disabling if there was one; it is not shared again."""
        with cloud_errors(f"restoring image `{image.image_id}`"):
            if image.state == DISABLED:
                self._ec2.enable_image(ImageId=image.image_id)
            self._ec2.disable_image_deprecation(ImageId=image.image_id)
            self._ec2.delete_tags(Resources=[image.image_id], Tags=[{"Key": RETIRED_TAG}])

    def remove(self, image: Image) -> None:
        """Deregister an image and delete its snapshots, unless another image has them, too.

        They are marked first: when this is killed in between, the next bake deletes them.
        """
        snapshots = self._snapshots(image)
        for snapshot_id in snapshots:
            with suppress(NotFound):
                mark(self._ec2, snapshot_id)
        with suppress(NotFound), cloud_errors(f"deregistering image `{image.image_id}`"):
            self._ec2.deregister_image(ImageId=image.image_id)
        for snapshot_id in snapshots:
            try:
                with suppress(NotFound), cloud_errors(f"deleting snapshot `{snapshot_id}`"):
                    self._ec2.delete_snapshot(SnapshotId=snapshot_id)
            except Conflict:
                unmark(self._ec2, snapshot_id)

    def _snapshots(self, image: Image) -> list[SnapshotId]:
        """Return the snapshots that an image's bake made; those of its base are not among them.

        A builder's image has one for each volume of the builder.
        """
        root = image.root_snapshot_id
        with suppress(NotFound), cloud_errors(f"looking for snapshots of `{image.image_id}`"):
            found = self._ec2.describe_images(ImageIds=[image.image_id], IncludeDisabled=True)
            volumes = [
                one.get("Ebs", {}).get("SnapshotId", "")
                for raw in found["Images"]
                for one in raw.get("BlockDeviceMappings", [])
            ]
            if others := [one for one in volumes if one not in {"", root}]:
                wanted: list[FilterTypeDef] = [
                    {"Name": "snapshot-id", "Values": others},
                    {"Name": f"tag:{BAKE_KEY_TAG}", "Values": [image.bake_key]},
                ]
                made = self._ec2.describe_snapshots(OwnerIds=["self"], Filters=wanted)
                return [root, *(SnapshotId(one["SnapshotId"]) for one in made["Snapshots"])]
        return [root]
