"""Questions to the catalog: which packages there are, where each came from, where it runs."""

from __future__ import annotations

from dataclasses import dataclass

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.errors import NotFound
from ovenbird.domain.images import COMMIT_TAG, Image
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.images import Use, list_images, uses
from ovenbird.operations.opening import Installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """An image that holds the package, and where it runs."""

    image: Image
    runs: tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """One package: what it came from and what it became."""

    entry: CatalogEntry
    images: tuple[Baked, ...]


def list_catalog(installation: Installation, name: str | None = None) -> tuple[CatalogEntry, ...]:
    """Return the catalog, newest first; asks the store only.

    Args:
        installation: Whose catalog.
        name: Only this package, or the packages of this app.
    """
    return installation.store.list_catalog(name)


def trace(installation: Installation, name: str, version: str = "") -> tuple[Provenance, ...]:
    """Return where the versions of a package came from, and where they run; newest first.

    Args:
        installation: Whose catalog.
        name: A package, or an app.
        version: Only this version, or the versions of this commit's first digits.

    Raises:
        NotFound: There is none.
        CloudError: AWS refused a call.
    """
    found = [entry for entry in list_catalog(installation, name) if _is_meant(entry, version)]
    if not found:
        what = f"`{name}` {version}" if version else f"`{name}`"
        raise NotFound(
            f"The catalog has no {what}", hint="`ovenbird catalog list` shows what it has"
        )
    images = list_images(installation)
    runs = uses(list_clusters(installation))
    return tuple(
        Provenance(
            entry=entry,
            images=tuple(
                Baked(image=image, runs=runs.get(image.image_id, ()))
                for image in images
                if image.app == entry.package.app
                and image.tags.get(COMMIT_TAG) == entry.source.commit
            ),
        )
        for entry in found
    )


def _is_meant(entry: CatalogEntry, version: str) -> bool:
    return version in {"", entry.package.version} or (
        len(version) >= 7 and entry.source.commit.startswith(version)
    )
