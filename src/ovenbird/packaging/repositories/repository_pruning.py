"""Taking old states out of a repository, and all files that no kept state has.

Publishers are not locked out. One that is under way may count on an object that no state has
yet and that is about to go, so both sides look again after their own step: a publisher puts back
what is missing once its record is stored; a pruning keeps what it removes in ``trash/`` until it
has looked for records that came meanwhile. Whichever step is last, the object is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial

from ovenbird.domain.catalog import Pruning
from ovenbird.domain.ports import Storage
from ovenbird.packaging.repositories import repository_states, shards
from ovenbird.packaging.repositories.repository_objects import Objects, each, kind_of
from ovenbird.packaging.repositories.repository_states import StateRecord

TRASH = "trash/"
PLACES = ("states/", "shards/", "pool/", "dists/", "yum/")


class Pruner:
    """Removes what kept states do not need.

    Args:
        storage: Of the repository.
        objects: The same storage's objects.
    """

    def __init__(self, storage: Storage, objects: Objects) -> None:
        self._storage, self._objects = storage, objects

    def plan(self, oldest: Mapping[str, int]) -> Pruning:
        """Return what would go; nothing is changed.

        Args:
            oldest: Channel → number of its oldest state that stays.

        Raises:
            OvenbirdError: A record or a shard is damaged: then it is not known what is needed.
        """
        states = {
            channel: self._leaving(channel, oldest[channel])
            for channel in self._objects.channels()
            if channel in oldest
        }
        return Pruning(states=states, names=self._unneeded(states))

    def prune(self, oldest: Mapping[str, int]) -> Pruning:
        """Remove it, and return what was removed.

        Raises:
            OvenbirdError: A record or a shard is damaged: nothing was removed.
        """
        self.put_back()
        self._empty_trash()
        before = self._known()
        plan = self.plan(oldest)
        # Records first: a state whose record is gone is no state, whatever files it still has.
        for name in sorted(plan.names, key=lambda name: not name.startswith("states/")):
            self._storage.copy(name, TRASH + name)
            self._storage.remove(name)
        if self._known() != before:
            self._restore(set(plan.names))
        self._empty_trash()
        return plan

    def put_back(self) -> None:
        """Put back what states need of the files that a killed pruning took away.

        Raises:
            OvenbirdError: A record or a shard is damaged.
        """
        left = (name.removeprefix(TRASH) for name in self._storage.names(TRASH))
        if gone := {name for name in left if not self._storage.exists(name)}:
            self._restore(gone)

    def _leaving(self, channel: str, oldest: int) -> tuple[int, ...]:
        last = min(oldest, self._objects.served(channel).number)
        return tuple(number for number in self._objects.numbers(channel) if number < last)

    def _known(self) -> dict[str, int]:
        """Return channel → number of the newest record, served or not."""
        channels = self._objects.channels()
        return {one: max(self._objects.numbers(one), default=0) for one in channels}

    def _unneeded(self, states: Mapping[str, Collection[int]]) -> tuple[str, ...]:
        # Listed before it is read what is needed: a state has its suite after its record.
        found = [name for place in PLACES for name in self._storage.names(place)]
        needed = self._needed(states)
        prefixes = tuple(name for name in needed if name.endswith("/"))
        return tuple(n for n in found if n not in needed and not n.startswith(prefixes))

    def _needed(self, states: Mapping[str, Collection[int]]) -> set[str]:
        """Return the names that states need which stay; ending in `/`: all below it."""
        records = self._records(states)
        digests = {digest for record in records for digest in record.shards.values()}
        needed = {name for record in records for name in _own_names(record)}
        for files in each(self._files, sorted(digests)):
            needed.update(files)
        return needed

    def _records(self, gone: Mapping[str, Collection[int]]) -> list[StateRecord]:
        found: list[StateRecord] = []
        for channel in self._objects.channels():
            numbers = self._objects.numbers(channel)
            kept = [number for number in numbers if number not in gone.get(channel, ())]
            found += each(partial(self._objects.record, channel), kept)
        return found

    def _files(self, digest: str) -> list[str]:
        name = shards.object_name(digest)
        rows = shards.parse(self._objects.checked(name, digest), place=name)
        return [row.file for row in rows.values()]

    def _restore(self, removed: set[str]) -> None:
        """Put back what states need that were claimed while files went."""
        # Shards first, which records name: what else is needed is read in them.
        named = {name for record in self._records({}) for name in _own_names(record)}
        for name in sorted(removed & named):
            self._storage.copy(TRASH + name, name)
        for name in sorted((removed - named) & self._needed({})):
            self._storage.copy(TRASH + name, name)

    def _empty_trash(self) -> None:
        for name in list(self._storage.names(TRASH)):
            self._storage.remove(name)


def _own_names(record: StateRecord) -> Iterator[str]:
    """Yield what a state and its channel's pointers to it are stored under."""
    yield repository_states.record_name(record.channel, record.number)
    yield from (shards.object_name(digest) for digest in record.shards.values())
    for system in ("dists", "yum"):
        yield f"{system}/{record.suite}/"
    yield f"dists/{record.channel}/InRelease"
    for key, index in record.indexes.items():
        kind = kind_of(key)
        if key.startswith("yum/"):
            yield f"yum/{record.channel}/{key.split('/')[1]}/mirrorlist"
        for encoding, file in index.files.items():
            yield kind.by_digest(record.channel, encoding, file.sha256)
