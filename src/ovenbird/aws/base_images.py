"""Base images: found as the settings say, and made readable."""

from __future__ import annotations

from ovenbird.aws.images import Ec2Images
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.images import BaseSource, Image, ImageId
from ovenbird.domain.ports import Progress


class Ec2BaseImages:
    """The :class:`ovenbird.domain.ports.BaseImages` of one account.

    Args:
        images: Of that account.
    """

    def __init__(self, images: Ec2Images) -> None:
        self._images = images

    def find(self, source: BaseSource) -> Image:
        """Return the image that a source means now.

        Raises:
            NotFound: There is none.
            InvalidRequest: The source says nothing.
        """
        if source.image_id:
            return self._images.get(ImageId(source.image_id))
        if not source.name:
            raise InvalidRequest("A base image has no name and no id")
        image = self._images.find_by_name(source.name)
        if image is None:
            raise NotFound(
                f"No image is named `{source.name}`",
                hint="Run `ovenbird sandbox up`, or mend `base_images` in the settings",
            )
        return image

    def ready(self, base: Image, *, progress: Progress) -> Image:  # noqa: ARG002 - own images are
        """Return an image whose snapshot can be read."""
        return base
