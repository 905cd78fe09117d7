"""Questions about baked images: what there is, what is in it, where it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import NotFound
from ovenbird.domain.images import Image, ImageId
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.opening import Installation

IMAGE_ID_CHARS = 4  # of a unique beginning after `ami-`, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A server group that runs an image.

    Args:
        weight: Its share of the cluster's traffic, 0..100.
    """

    environment: str
    server_group: str
    weight: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """One image and where it runs."""

    image: Image
    runs: tuple[Use, ...]


def list_images(
    installation: Installation, *, app: str | None = None, environment: str | None = None
) -> tuple[Image, ...]:
    """Return the baked images that an environment's account has, newest first.

    Args:
        installation: Whose images.
        app: Only of this app.
        environment: None for the one that bakes.

    Raises:
        NotFound: There is no such environment.
        CloudError: AWS refused a call.
    """
    name = environment or installation.settings.bake_environment
    return installation.environment(name).images.list_baked(app)


def get_image(installation: Installation, text: str) -> ImageView:
    """Return one baked image by id, by a unique beginning of the id, or by name.

    Raises:
        NotFound: There is none, or several begin so.
        CloudError: AWS refused a call.
    """
    image = meant(list_images(installation), text)
    clusters = list_clusters(installation)
    return ImageView(image=image, runs=uses(clusters).get(image.image_id, ()))


def meant(images: Sequence[Image], text: str) -> Image:
    """Return the image that a text means; of several of one version the newest.

    Args:
        images: Newest first.
        text: An id, a unique beginning of it, a name, or ``app@version``.

    Raises:
        NotFound: There is none, or several begin so.
    """
    found = [image for image in images if _is_meant(image, text)]
    versions = [image for image in images if "@" in text and text == _version(image)]
    if versions and not found:
        return versions[0]
    if len(found) != 1:
        what = f"{len(found)} baked images begin with" if found else "No baked image"
        raise NotFound(f"{what} `{text}`", hint="`ovenbird image list` shows them")
    return found[0]


def uses(clusters: tuple[Cluster, ...]) -> Mapping[ImageId, tuple[Use, ...]]:
    """Return by image which server groups run it."""
    found: dict[ImageId, tuple[Use, ...]] = {}
    for cluster in clusters:
        for group in cluster.groups:
            use = Use(
                environment=cluster.environment,
                server_group=str(group.name),
                weight=group.weight,
                instances=len(group.instances),
            )
            found[group.image_id] = (*found.get(group.image_id, ()), use)
    return found


def _version(image: Image) -> str:
    return f"{image.app}@{image.version}"


def _is_meant(image: Image, text: str) -> bool:
    long_enough = len(text) >= len("ami-") + IMAGE_ID_CHARS
    return text in {image.image_id, image.name} or (long_enough and image.image_id.startswith(text))
