"""What other machines published, as the end of a CI run does, comes into our records.

    channels now ─▶ packages ─▶ the repository's own record of each ─▶ catalog, publications

Nothing in the repository is changed, and what our records have already stays as it is.
"""

from __future__ import annotations

from datetime import datetime

from ovenbird.domain.catalog import CatalogEntry, PackageKey, Publication, RepositoryState
from ovenbird.operations.opening import Installation
from ovenbird.system.clock import SystemClock

SOMEBODY = "another machine"  # published a package to a further channel; its record names the first


def sync(installation: Installation) -> tuple[CatalogEntry, ...]:
    """Write into the records what channels have and the records do not; return what was new.

    Raises:
        Conflict: A package is recorded here with other bytes.
        OvenbirdError: The repository cannot be read, or a record in it is damaged.
    """
    repository, store = installation.repository, installation.store
    known = {entry.key for entry in store.list_catalog()}
    told = {(one.key, one.channel) for one in store.list_publications()}
    there = {entry.key: entry for entry in repository.every_record()}
    new: dict[PackageKey, CatalogEntry] = {}
    for channel in repository.channels():
        state, now = repository.state(channel), SystemClock().now()
        for key in map(PackageKey.of, repository.list_packages(channel)):
            if key not in there or (key, channel) in told:
                continue
            store.put_catalog_entry(there[key])
            store.put_repository_state(state)
            store.put_publication(_publication(there[key], state, now))
            if key not in known:
                new[key] = there[key]
    return tuple(new.values())


def _publication(entry: CatalogEntry, state: RepositoryState, now: datetime) -> Publication:
    """Return what is known of a publication: of the first one all, of others that it was."""
    is_first = entry.channel == state.channel
    return Publication(
        key=entry.key,
        repository=state.repository,
        channel=state.channel,
        state_number=entry.state_number if is_first else state.number,
        published_at=entry.published_at if is_first else now,
        published_by=entry.published_by if is_first else SOMEBODY,
    )
