"""From packages to a numbered state of a signed repository, and to the catalog.

    built here, or by the end of a CI run ─▶ channel `candidate` ─▶ promoted ─▶ channel `release`

The first time a package is published, what is known of it goes into the repository, too, so
that whoever releases the same commit elsewhere finds it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import (
    CatalogEntry,
    PackageFacts,
    PackageKey,
    Publication,
    RepositoryState,
)
from ovenbird.domain.errors import NotFound
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Clock, PackageRecords, Progress, Repository
from ovenbird.domain.sources import Source
from ovenbird.stages import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Where packages go.

    Args:
        repository: Has the files.
        records: Our own memory of it.
        actor: Who publishes.
    """

    repository: Repository
    records: PackageRecords
    clock: Clock
    progress: Progress
    actor: str


def publish(packages: Sequence[Package], shop: Shop, *, channel: str) -> RepositoryState:
    """Add packages to a channel; publishing them again changes nothing.

    Raises:
        Conflict: Another package of the same name, version and architecture is published.
    """
    for package in packages:
        shop.records.refuse_other_bytes(package)  # a repository forgets what was pruned
    at = shop.clock.now()
    state = shop.repository.publish(packages, channel=channel, at=at)
    shop.records.put_repository_state(state)
    for package in packages:
        shop.records.put_publication(
            Publication(
                key=PackageKey.of(package),
                repository=state.repository,
                channel=state.channel,
                state_number=state.number,
                published_at=at,
                published_by=shop.actor,
            )
        )
    names = ", ".join(dict.fromkeys(f"`{p.name}` {p.version}" for p in packages))
    shop.progress(f"Published {names}: state {state.number} of channel `{state.channel}`")
    return state


def publish_new(
    packages: Sequence[Package],
    facts: Sequence[PackageFacts],
    shop: Shop,
    *,
    source: Source,
    channel: str,
) -> RepositoryState:
    """Publish packages and write down what each came from, here and in the repository.

    Args:
        packages: Built from *source*.
        facts: Of each package.
        shop: Where they go.
        source: Their commit.
        channel: Which set of packages they join.

    Raises:
        Conflict: Another package of the same name, version and architecture is published.
    """
    state = publish(packages, shop, channel=channel)
    for package, known in zip(packages, facts, strict=True):
        entry = CatalogEntry(
            package=package,
            source=source,
            channel=state.channel,
            state_number=state.number,
            published_at=shop.clock.now(),
            published_by=shop.actor,
            facts=known,
        )
        shop.repository.put_record(entry)
        shop.records.put_catalog_entry(entry)
    return state


def published_before(
    source: Source, spec: AppSpec, version: str, shop: Shop, *, outbox: Path
) -> tuple[Package, ...]:
    """Return the packages of an earlier attempt at this commit, here or elsewhere; all, or none.

    What is published never changes: a build that gives other bytes each time would only be
    refused, and no second attempt could come past it.

    Args:
        source: The commit.
        spec: Its manifest.
        version: Of the packages.
        shop: Where they may be.
        outbox: Directory that receives the files that this host does not have.
    """
    here = _complete(shop.records.list_catalog(spec.app), source, spec, version)
    if here and all(_is_here(entry.package) for entry in here):
        found = tuple(entry.package for entry in here)
    else:
        names = dict.fromkeys(package.name for package in spec.packages)
        kept = [entry for name in names for entry in shop.repository.records_of(name, version)]
        entries = _complete(kept, source, spec, version)
        try:
            found = tuple(_fetched(entry, shop, outbox) for entry in entries)
        except NotFound:  # pruned since: the commit is built again, into the same bytes
            return ()
    if found:
        own = spec.package.name
        shop.progress(f"Found `{own}` {version}, published before from this commit")
    return found


def _is_here(package: Package) -> bool:
    """Tell whether a package's file is on this host; other machines' files have no directory."""
    path = Path(package.path)
    return path.is_absolute() and path.exists()


def _fetched(entry: CatalogEntry, shop: Shop, outbox: Path) -> Package:
    """Return a package of another machine, with its file and what is known of it, here."""
    package = shop.repository.fetch(entry.package, outbox)
    if entry.facts != PackageFacts():
        describe.keep(package, entry.facts)
    shop.records.put_catalog_entry(entry)
    return package


def _complete(
    entries: Iterable[CatalogEntry], source: Source, spec: AppSpec, version: str
) -> tuple[CatalogEntry, ...]:
    """Return one entry for each package that the manifest asks for, or nothing."""
    wanted = [
        PackageKey(name=p.name, version=version, architecture=p.architecture, format=format_)
        for p in spec.packages
        for format_ in p.formats
    ]
    known = {
        entry.key: entry
        for entry in entries
        if entry.source.commit == source.commit and entry.withdrawn_at is None
    }
    return tuple(known[key] for key in wanted) if set(wanted) <= known.keys() else ()
