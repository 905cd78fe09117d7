"""The last days of an image: deprecated, disabled, removed with its snapshot; or restored.

Source: EC2 API reference, EnableImageDeprecation, DisableImage, DeregisterImage, DeleteSnapshot.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import to_aws
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.image_retention import RETIRED_TAG
from ovenbird.domain.images import DISABLED, Image

if TYPE_CHECKING:
    from ovenbird.aws.clients import Account

# EC2 takes no time in the past, and rounds to the nearest minute.
SOON = timedelta(minutes=2)


class ImageLives:
    """The :class:`ovenbird.domain.ports.ImageLives` of one account; each change can be repeated.

    Permissions: ec2:EnableImageDeprecation, ec2:DisableImageDeprecation, ec2:DisableImage,
    ec2:EnableImage, ec2:DeregisterImage, ec2:DeleteSnapshot, ec2:CreateTags, ec2:DeleteTags.

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
        """Deregister an image and delete its snapshot, unless another image has it, too."""
        with suppress(NotFound), cloud_errors(f"deregistering image `{image.image_id}`"):
            self._ec2.deregister_image(ImageId=image.image_id)
        snapshot_id = image.root_snapshot_id
        with suppress(NotFound, Conflict), cloud_errors(f"deleting snapshot `{snapshot_id}`"):
            self._ec2.delete_snapshot(SnapshotId=snapshot_id)
