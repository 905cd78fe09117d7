"""A signed repository for apt and yum in one storage, whose states are numbered and never change.

    packages ─▶ pool ─▶ rows in shards ─▶ index files, spliced ─▶ states/candidate/0000008.json
                                                                       │ created once: claimed
                              dists/candidate-8, yum/candidate-8 ◀─────┘
                              dists/candidate/InRelease, yum/candidate/x86_64/mirrorlist: moved

The creation of a numbered record is the one moment at which a state comes to be. Before it,
everything that is written has a name that follows from its content, so publishers at the same
time do not meet; the one that finds its number taken starts again on the other's state. After it,
everything follows from the record, and the next publisher does what a killed one left undone.
Nothing is locked, and nothing that was published is read but a record, one shard of 256 for each
package, and the index files that change.

Source: docs/decisions/0011-repository-states.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ovenbird.domain.catalog import Finding, Pruning, RepositoryState
from ovenbird.domain.errors import NotFound
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Signer, Storage
from ovenbird.packaging.repositories import pool, repository_states, shards
from ovenbird.packaging.repositories.claiming import Claims
from ovenbird.packaging.repositories.new_states import Change
from ovenbird.packaging.repositories.repository_checks import (
    finding,
    signature_findings,
    state_findings,
)
from ovenbird.packaging.repositories.repository_objects import PARALLEL, Objects, each
from ovenbird.packaging.repositories.repository_pruning import Pruner
from ovenbird.packaging.repositories.repository_states import StateRecord
from ovenbird.packaging.repositories.served_states import ServedStates
from ovenbird.packaging.repositories.shards import SHARDS, Row, RowKey, Rows
from ovenbird.system.http_files import serving

COMPONENT = "main"


class PackageRepository:
    """One repository with any number of channels.

    Args:
        storage: Where it lives.
        name: The repository's name.
        signer: Signs each state.
        component: The part of apt's side that packages are in unless it is said.
        base_url: Of the repository as yum's clients reach it, for mirrorlists; empty for the
            storage's own.
        parallel: How many requests to the storage may be under way at once; in a directory, too,
            where a disk brings several files down in one go.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        name: str,
        signer: Signer,
        component: str = COMPONENT,
        base_url: str = "",
        parallel: int = PARALLEL,
    ) -> None:
        self._storage, self._name, self._signer = storage, name, signer
        self._component, self._parallel = component, parallel
        self._objects = Objects(storage, parallel=parallel)
        served = ServedStates(
            storage,
            name=name,
            signer=signer,
            base_url=base_url or storage.url,
            parallel=parallel,
        )
        self._claims = Claims(storage, objects=self._objects, served=served, signer=signer)

    def publish(
        self,
        packages: Sequence[Package],
        *,
        channel: str,
        at: datetime,
        component: str = "",
    ) -> RepositoryState:
        """Add packages to a channel and return the state that has them all.

        Publishing what is there already returns the newest state and changes nothing. Killed at
        any point, readers see the old state or the new one; what is left half done is done by
        the next publish, or by :meth:`repair`.

        Args:
            packages: Built packages.
            channel: Which set of packages they join.
            at: The time that the signed files carry.
            component: The part of apt's side that they are in; empty for the usual one.

        Raises:
            Conflict: Another package of the same name, version and architecture is there; or
                other publishers won every race.
            NotFound: A package's file is gone.
            InvalidRequest: A package's file is damaged; channel or component have a bad name.
            OvenbirdError: The storage is damaged, full, or refuses.
        """
        part = repository_states.checked_component(component or self._component)
        wanted = {shards.key_of(package): package for package in packages}
        rows: dict[RowKey, Row] = {}  # kept from one attempt to the next

        def add(old: Mapping[int, Rows]) -> dict[int, Rows]:
            missing = _missing(wanted, old)
            new = [package for key, package in missing.items() if key not in rows]
            for row in each(lambda p: self._pooled(p, part), new, parallel=self._parallel):
                rows[row.key] = row
            return _with(old, [rows[key] for key in missing])

        def keep() -> None:
            for key, row in rows.items():
                pool.put(self._storage, row, Path(wanted[key].path))

        touched = {shards.shard_of(key) for key in wanted}
        return self._change(channel, at, Change(touched=touched, apply=add, claimed=keep))

    def withdraw(
        self, packages: Sequence[Package], *, channel: str, at: datetime
    ) -> RepositoryState:
        """Take packages out of a channel and return a state without them.

        Their files stay in the pool for the states that have them. Withdrawing what is not
        there changes nothing.

        Raises:
            Conflict: Other publishers won every race.
            OvenbirdError: The storage is damaged, full, or refuses.
        """
        gone = {shards.key_of(package) for package in packages}

        def remove(old: Mapping[int, Rows]) -> dict[int, Rows]:
            return {
                number: {key: row for key, row in rows.items() if key not in gone}
                for number, rows in old.items()
            }

        touched = {shards.shard_of(key) for key in gone}
        return self._change(channel, at, Change(touched=touched, apply=remove))

    def state(self, channel: str, number: int | None = None) -> RepositoryState:
        """Return a state of a channel: the newest that is served, or one by its number.

        Raises:
            NotFound: There is no such state.
        """
        repository_states.checked_channel(channel)
        wanted = self._objects.served(channel).number if number is None else number
        if wanted < 1:
            raise NotFound(
                f"Channel `{channel}` has no state {number or ''}".rstrip(),
                hint="Publish a package first",
            )
        return self._state(self._objects.record(channel, wanted))

    def states(self, channel: str) -> tuple[RepositoryState, ...]:
        """Return all states of a channel that are kept, oldest first."""
        repository_states.checked_channel(channel)
        last = self._objects.served(channel).number
        numbers = [n for n in self._objects.numbers(channel) if n <= last]
        records = each(lambda n: self._objects.record(channel, n), numbers, parallel=self._parallel)
        return tuple(map(self._state, records))

    def channels(self) -> tuple[str, ...]:
        """Return the names of all channels that have a state, in order."""
        return self._objects.channels()

    def unserved(self, channel: str) -> tuple[int, ...]:
        """Return the numbers of states that no reader is pointed to, as a killed publisher's."""
        repository_states.checked_channel(channel)
        served = self._objects.served(channel).number
        return tuple(range(served + 1, self._objects.newest(channel, served=served) + 1))

    def list_packages(self, channel: str, number: int | None = None) -> tuple[Package, ...]:
        """Return the packages of a state, by name and version's text.

        Each one's path is its name in the storage.

        Raises:
            NotFound: There is no such state.
        """
        wanted = self.state(channel, number).number
        record = self._objects.record(channel, wanted)
        found = self._objects.rows(record, record.shards)
        rows = sorted((row.key, row) for rows in found.values() for row in rows.values())
        return tuple(row.package() for _, row in rows)

    @contextmanager
    def reachable(self, state: RepositoryState) -> Iterator[RepositoryState]:
        """Give the state under an address that package managers on this host can read.

        Raises:
            NotFound: The key that signed the channel is not here.
        """
        self._signer.check(self._objects.served(state.channel).keys)  # before one is made
        self._signer.ensure()
        if state.url.startswith(("file:", "http:", "https:")):
            yield state
            return
        with serving(self._storage) as url:
            yield replace(state, url=url)

    def repair(self, channel: str) -> RepositoryState:
        """Do what killed publishers and prunings left undone, and return the newest state.

        Raises:
            NotFound: The channel has no state.
            OvenbirdError: The storage is damaged, full, or refuses.
        """
        repository_states.checked_channel(channel)
        Pruner(self._storage, self._objects).put_back()
        return self._state(self._claims.repair(channel))

    def plan_pruning(self, oldest: Mapping[str, int]) -> Pruning:
        """Return which states and objects :meth:`prune_before` would remove; nothing is changed.

        Args:
            oldest: Channel → number of its oldest state that stays; the newest stays in any
                case, and so do all of a channel that is not named.

        Raises:
            OvenbirdError: A record or a shard is damaged: then it is not known what is needed.
        """
        return Pruner(self._storage, self._objects).plan(oldest)

    def prune_before(self, oldest: Mapping[str, int]) -> Pruning:
        """Remove old states and all that no other state needs; return what was removed.

        Killed at any point, the next pruning goes on, and nothing that a state needs is lost.

        Args:
            oldest: As for :meth:`plan_pruning`.

        Raises:
            OvenbirdError: A record or a shard is damaged: nothing was removed.
        """
        return Pruner(self._storage, self._objects).prune(oldest)

    def verify(self) -> tuple[Finding, ...]:
        """Read the newest states of all channels again and say what is wrong with them.

        Raises:
            OvenbirdError: A record is damaged, or something is wrong with the key.
        """
        return (*self.verify_files(), *self.verify_signatures())

    def verify_files(
        self, channel: str | None = None, number: int | None = None
    ) -> tuple[Finding, ...]:
        """Compare package files, shards and indexes with the records.

        Args:
            channel: None for all.
            number: Of the state; None for the newest of each channel.

        Raises:
            NotFound: There is no such state.
            OvenbirdError: A record is damaged.
        """
        return tuple(
            found
            for record in self._asked(channel, number)
            for found in state_findings(self._storage, self._objects, record)
        )

    def verify_signatures(
        self, channel: str | None = None, number: int | None = None
    ) -> tuple[Finding, ...]:
        """Compare the signatures of states with the keys that sign or have signed.

        Args:
            channel: None for all.
            number: Of the state; None for the newest of each channel.

        Raises:
            NotFound: There is no such state.
            OvenbirdError: A record is damaged, or something is wrong with the key.
        """
        if not (records := self._asked(channel, number)):
            return ()
        try:
            known = self._signer.known()
        except NotFound as error:
            return (finding("no-key", str(error), self._name),)
        return tuple(
            found
            for record in records
            for found in signature_findings(self._storage, record, known=known)
        )

    def _asked(self, channel: str | None, number: int | None) -> list[StateRecord]:
        channels = self._objects.channels() if channel is None else (channel,)
        numbers = {name: number or self._objects.served(name).number for name in channels}
        return [self._objects.record(name, found) for name, found in numbers.items() if found]

    def rebuild(self, channel: str, *, at: datetime) -> RepositoryState:
        """Make a state with the newest one's packages, all of whose index files are made anew.

        For a storage whose index files were damaged; shards and records must be whole. And for
        the rotation of keys: it is signed by those that sign now, without any new package.

        Raises:
            OvenbirdError: The storage is damaged, full, or refuses.
        """
        change = Change(touched=set(range(SHARDS)), apply=dict, anew=True)
        return self._change(channel, at, change)

    def _change(self, channel: str, at: datetime, change: Change) -> RepositoryState:
        repository_states.checked_channel(channel)
        return self._state(self._claims.change(channel, change, at=at))

    def _pooled(self, package: Package, component: str) -> Row:
        return pool.add(self._storage, package, component=component)

    def _state(self, record: StateRecord) -> RepositoryState:
        return RepositoryState(
            repository=self._name,
            channel=record.channel,
            number=record.number,
            url=self._storage.url,
            suite=record.suite,
            component=repository_states.components_text(record),
            key_path=str(self._signer.public),
        )


def _missing(wanted: Mapping[RowKey, Package], old: Mapping[int, Rows]) -> dict[RowKey, Package]:
    """Return the packages that rows lack.

    Raises:
        Conflict: One is there with other bytes.
    """
    missing = {}
    for key, package in wanted.items():
        row = old[shards.shard_of(key)].get(key)
        if row is None:
            missing[key] = package
        elif row.sha256 != package.digest_sha256:
            raise pool.other_bytes(row.file, published=row.sha256, built=package.digest_sha256)
    return missing


def _with(old: Mapping[int, Rows], added: Sequence[Row]) -> dict[int, Rows]:
    new = {number: dict(rows) for number, rows in old.items()}
    for row in added:
        new[shards.shard_of(row.key)][row.key] = row
    return new
