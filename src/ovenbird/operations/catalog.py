"""Questions to the catalog: which packages there are, where each came from, where it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path

from ovenbird.domain.catalog import CatalogEntry, PackageKey, Publication
from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.images import COMMIT_TAG, PACKAGES_TAG, Image
from ovenbird.domain.package_terms import Found
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.version_order import compare_deb
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.images import Use, list_images, uses
from ovenbird.operations.opening import Installation
from ovenbird.stages.kitchen import TAG_CHARS
from ovenbird.store.catalog_search import search

COMMIT_CHARS = 7  # of a commit's beginning, where a version could be meant
by_version = cmp_to_key(compare_deb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """An image that holds the package, and where it runs."""

    image: Image
    runs: tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """One package: what it came from and what it became.

    Args:
        entry: With its facts.
        publications: Oldest first; those that were withdrawn, too.
        images: Empty also when AWS could not be asked.
        unasked: Why AWS could not be asked; empty when it was.
    """

    entry: CatalogEntry
    publications: tuple[Publication, ...]
    images: tuple[Baked, ...]
    unasked: str = ""


def list_catalog(
    installation: Installation,
    name: str | None = None,
    *,
    channel: str | None = None,
    limit: int | None = None,
) -> tuple[CatalogEntry, ...]:
    """Return the catalog without facts, newest first; asks the store only.

    Args:
        installation: Whose catalog.
        name: Only this package, or the packages of this app.
        channel: Only what this channel has now.
        limit: At most so many.
    """
    return installation.store.list_catalog(name, channel=channel, limit=limit)


def search_catalog(installation: Installation, text: str) -> tuple[Found, ...]:
    """Return the packages that a text finds and what matched; asks the store only.

    Args:
        installation: Whose catalog.
        text: As :func:`ovenbird.store.catalog_search.search` takes it.
    """
    return search(installation.store, text)


def find_entries(
    installation: Installation,
    name: str,
    version: str = "",
    *,
    format_: PackageFormat | None = None,
) -> tuple[CatalogEntry, ...]:
    """Return one version of a package, or of all packages of an app, with facts.

    Args:
        installation: Whose catalog.
        name: A package, or an app.
        version: A version, or a commit's first digits; empty for the newest version.
        format_: Only this one.

    Raises:
        NotFound: There is none.
    """
    found = [
        entry
        for entry in list_catalog(installation, name)
        if format_ in {None, entry.package.format}
    ]
    meant = [entry for entry in found if _is_meant(entry, version)] if version else newest(found)
    if not meant:
        what = f"`{name}` {version}" if version else f"`{name}`"
        in_format = f" as {format_.value}" if format_ else ""
        raise NotFound(
            f"The catalog has no {what}{in_format}",
            hint="`ovenbird catalog list` shows what it has; `ovenbird catalog sync` takes in what"
            " other machines published",
        )
    keys = sorted((entry.key for entry in meant), key=_shown_first)
    return tuple(map(installation.store.get_catalog_entry, keys))


def newest(entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
    """Return the newest version of each package by dpkg's order, rather one not withdrawn."""
    lines: dict[str, list[CatalogEntry]] = {}
    for entry in entries:
        lines.setdefault(entry.package.name, []).append(entry)
    found = []
    for line in lines.values():
        there = [entry for entry in line if entry.withdrawn_at is None] or line
        top = max(there, key=lambda entry: by_version(entry.package.version)).package.version
        found += [entry for entry in there if entry.package.version == top]
    return found


def trace(
    installation: Installation,
    name: str,
    version: str = "",
    *,
    format_: PackageFormat | None = None,
) -> tuple[Provenance, ...]:
    """Return where packages came from, where they were published, and where they run.

    What the records say is said also when AWS cannot be asked.

    Args:
        installation: Whose catalog.
        name: A package, or an app.
        version: A version, or a commit's first digits; empty for the newest version.
        format_: Only this one.

    Raises:
        NotFound: There is none.
    """
    entries = find_entries(installation, name, version, format_=format_)
    images: tuple[Baked, ...] = ()
    unasked = ""
    try:
        runs = uses(list_clusters(installation))
        images = tuple(
            Baked(image=image, runs=runs.get(image.image_id, ()))
            for image in list_images(installation)
        )
    except OvenbirdError as error:  # whatever it is, the records can be shown
        unasked = str(error)
    return tuple(
        Provenance(
            entry=entry,
            publications=installation.store.publications_of(entry.package),
            images=tuple(baked for baked in images if holds(baked.image, entry.package)),
            unasked=unasked,
        )
        for entry in entries
    )


def holds(image: Image, package: Package) -> bool:
    """Tell whether an image was baked with a package, by the digests in its tag.

    An image that does not say all of them holds all packages of its commit.
    """
    tag = image.tags.get(PACKAGES_TAG, "")
    if any(pin.partition("=")[2] == package.digest_sha256 for pin in tag.split()):
        return True
    says_all = 0 < len(tag) < TAG_CHARS
    same = image.app == package.app and image.tags.get(COMMIT_TAG) == package.commit
    return same and not says_all


def build_log(entry: CatalogEntry) -> str:
    """Return what the build of a package said.

    Raises:
        NotFound: It was not kept, or it is on another host.
    """
    path = entry.facts.log_path
    if not path:
        raise NotFound(f"No log of the build of `{entry.key}` was recorded")
    try:
        return Path(path).read_text(errors="replace")
    except OSError as error:
        raise NotFound(
            f"The log of the build of `{entry.key}` is not on this host: {error}",
            hint=f"It was built by {entry.facts.builder}" if entry.facts.builder else "",
        ) from error


def _is_meant(entry: CatalogEntry, version: str) -> bool:
    return version == entry.package.version or (
        len(version) >= COMMIT_CHARS and entry.source.commit.startswith(version)
    )


def _shown_first(key: PackageKey) -> tuple[str, int, str]:
    return key.name, list(PackageFormat).index(key.format), key.architecture
