"""Which images stand on a base image that is no longer the one the settings mean.

    clusters ─▶ what serves ─┐
    images ───▶ the newest ──┴─▶ base image used? ─ the same as the settings mean now? ─▶ report

A base image that was copied first counts as the one that it was copied from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.images import (
    BASE_IMAGE_TAG,
    BASE_NAME_TAG,
    COMMIT_TAG,
    COPIED_FROM_TAG,
    Image,
    ImageId,
)
from ovenbird.domain.version_order import compare_deb
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one image stands to its base image.

    Args:
        serves_in: Environments in which it is in traffic; empty for the newest that is not.
        base_name: What the settings call its base image.
        base_used: The image that the bake started from, or whose copy it was.
        base_now: The image that the settings mean now; empty when that is not known.
        reasons: Why it is outdated; empty when it is not.
        unknown: Why it is not known whether it is outdated; empty when it is.
        newer_version: A version of the app that was published later; empty for none.
    """

    app: str
    image_id: ImageId
    version: str
    commit: str
    serves_in: tuple[str, ...]
    base_name: str
    base_used: str
    base_now: str
    reasons: tuple[str, ...]
    unknown: str
    newer_version: str

    @property
    def is_outdated(self) -> bool:
        """Whether a bake of the same commit would start from another base image."""
        return bool(self.reasons)

    @property
    def command(self) -> str:
        """What a person types to bake it anew; empty when that is of no use."""
        return f"ovenbird image rebake --app {self.app}" if self.reasons else ""


def list_standings(installation: Installation, app: str | None = None) -> tuple[Standing, ...]:
    """Return how each image that serves stands, and the newest of each app; by app.

    Args:
        installation: Whose images.
        app: Only of this app.

    Raises:
        CloudError: AWS refused a call.
        NotFound: The sandbox is not running.
    """
    ports = installation.ports
    bases = _Bases(ports=ports)
    published = _newest_versions(ports.store.list_catalog(channel=ports.channel))
    found = []
    for image, environments in _looked_at(installation, app):
        newest = published.get(image.app, "")
        is_newer = newest and compare_deb(newest, image.version) > 0
        found.append(
            _standing(image, environments, bases, newer_version=newest if is_newer else "")
        )
    return tuple(sorted(found, key=lambda one: (one.app, not one.serves_in, one.image_id)))


@dataclass(slots=True, kw_only=True)
class _Bases:
    """What base images are now, each asked for once."""

    ports: Ports
    now: dict[str, str | OvenbirdError] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def meant(self, name: str) -> str | OvenbirdError:
        """Return the id of the image that a name of the settings means, or why there is none."""
        if name not in self.now:
            try:
                self.now[name] = self.ports.bases.find(self.ports.base_images[name]).image_id
            except OvenbirdError as error:
                self.now[name] = error
        return self.now[name]

    def origin(self, image_id: str) -> str:
        """Return what a base image was copied from, or the image itself."""
        if image_id not in self.origins:
            try:
                tags: Mapping[str, str] = self.ports.images.get(ImageId(image_id)).tags
            except NotFound:
                tags = {}
            self.origins[image_id] = tags.get(COPIED_FROM_TAG, image_id)
        return self.origins[image_id]

    def name_of(self, image: Image) -> str:
        """Return what the settings call an image's base; empty when that is not known."""
        named = image.tags.get(BASE_NAME_TAG, "")
        if named or len(self.ports.base_images) != 1:
            return named
        return next(iter(self.ports.base_images))  # baked before images were tagged so


def _standing(
    image: Image, environments: tuple[str, ...], bases: _Bases, *, newer_version: str
) -> Standing:
    name, used = bases.name_of(image), image.tags.get(BASE_IMAGE_TAG, "")
    origin = bases.origin(used) if used else ""
    now, unknown = "", ""
    reasons: tuple[str, ...] = ()
    if not used or not name:
        unknown = "it has no tags that say on which base image it was baked"
    elif name not in bases.ports.base_images:
        unknown = f"`{name}` is no longer in the settings"
    elif isinstance(meant := bases.meant(name), OvenbirdError):
        unknown = str(meant)
    else:
        now = meant
        if now not in {used, origin}:
            reasons = (f"`{name}` is {now} now, and it was baked on {origin}",)
    return Standing(
        app=image.app,
        image_id=image.image_id,
        version=image.version,
        commit=image.tags.get(COMMIT_TAG, ""),
        serves_in=environments,
        base_name=name,
        base_used=origin,
        base_now=now,
        reasons=reasons,
        unknown=unknown,
        newer_version=newer_version,
    )


def _looked_at(
    installation: Installation, app: str | None
) -> Iterator[tuple[Image, tuple[str, ...]]]:
    """Yield images that serve with their environments, and the newest one of each other app."""
    serving: dict[ImageId, list[str]] = {}
    for cluster in list_clusters(installation):
        for group in cluster.groups:
            if group.enabled:
                serving.setdefault(group.image_id, []).append(cluster.environment)
    known = {image.image_id: image for image in _images_everywhere(installation, app)}
    apps_seen = set()
    for image_id, environments in serving.items():
        if image_id in known:
            apps_seen.add(known[image_id].app)
            yield known[image_id], tuple(dict.fromkeys(environments))
    for image in installation.ports.images.list_baked(app):  # newest first
        if image.app not in apps_seen:
            apps_seen.add(image.app)
            yield image, ()


def _images_everywhere(installation: Installation, app: str | None) -> Iterator[Image]:
    """Yield the baked images of all environments, which may have copies of their own."""
    for environment in installation.ports.environments.values():
        yield from environment.images.list_baked(app)


def _newest_versions(entries: Sequence[CatalogEntry]) -> dict[str, str]:
    """Return by app the newest version of a package that a channel has."""
    versions: dict[str, list[str]] = {}
    for entry in entries:
        versions.setdefault(entry.package.app, []).append(entry.package.version)
    order = cmp_to_key(compare_deb)
    return {app: max(found, key=order) for app, found in versions.items()}
