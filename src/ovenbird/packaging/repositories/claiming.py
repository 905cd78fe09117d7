"""How a channel gets its next state: read, merge, store, claim, serve; nothing is locked.

    newest state ─▶ change ─▶ objects under their digests ─▶ record N+1 created ─▶ served
          ▲                                                        │ taken by another
          └────────────────────────────────────────────────────────┘

The key is held from before the claim until all is signed, never while large files are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.ports import Signer, Storage
from ovenbird.packaging.repositories import repository_states
from ovenbird.packaging.repositories.new_states import Change, new_state
from ovenbird.packaging.repositories.repository_objects import Objects
from ovenbird.packaging.repositories.repository_states import StateRecord
from ovenbird.packaging.repositories.served_states import ServedStates
from ovenbird.packaging.repositories.shards import Rows

ATTEMPTS = 200  # at claiming a number, before it is said that others always win


@dataclass(frozen=True, slots=True, kw_only=True)
class _Based:
    """The state that a new one grows from.

    Args:
        served: Number of the newest state that readers are pointed to.
        keys: Fingerprints of what signed it.
        rows: Number of the shard → rows, for the shards in question.
    """

    served: int
    keys: tuple[str, ...]
    record: StateRecord
    rows: Mapping[int, Rows]


class Claims:
    """Makes new states.

    Args:
        storage: Of the repository.
        objects: The same storage's objects.
        served: Writes what readers see.
        signer: Signs each state.
    """

    def __init__(
        self, storage: Storage, *, objects: Objects, served: ServedStates, signer: Signer
    ) -> None:
        self._storage, self._objects = storage, objects
        self._served, self._signer = served, signer

    def change(self, channel: str, change: Change, *, at: datetime) -> StateRecord:
        """Make the state that has a change, and serve it; the newest when nothing changes.

        Raises:
            Conflict: Others were first each time.
            NotFound, InvalidRequest: Something is wrong with the key; no state was made.
            OvenbirdError: The storage is damaged, full, or refuses.
        """
        based = self._newest(channel, change)
        new = change.apply(based.rows)  # large files go to the pool before the key is held
        with self._signer.session():
            self._check_key(based.keys)
            for _ in range(ATTEMPTS):
                record = self._attempt(based, new, change, at=at)
                if record is not None:
                    self._roll_forward(record, since=based.served)
                    return record
                based = self._newest(channel, change)
                new = change.apply(based.rows)
        raise Conflict(
            f"Other publishers of channel `{channel}` were first {ATTEMPTS} times",
            hint="Publish again when there are fewer of them",
        )

    def repair(self, channel: str) -> StateRecord:
        """Do what killed publishers left undone.

        Raises:
            NotFound: The channel has no state.
            OvenbirdError: The storage is damaged, full, or refuses.
        """
        found = self._objects.served(channel)
        newest = self._objects.newest(channel, served=found.number)
        if newest == 0:
            raise NotFound(f"Channel `{channel}` has no state", hint="Publish a package first")
        record = self._objects.base(channel, newest)
        with self._signer.session():
            self._check_key(found.keys)
            self._roll_forward(record, since=max(found.number - 1, 0))
        return record

    def _check_key(self, known: tuple[str, ...]) -> None:
        self._signer.check(known)  # first: it makes no key in the place of a lost one
        self._signer.ensure()

    def _newest(self, channel: str, change: Change) -> _Based:
        served = self._objects.served(channel)
        newest = self._objects.newest(channel, served=served.number)
        record = self._objects.base(channel, newest)
        rows = self._objects.rows(record, change.touched)
        return _Based(served=served.number, keys=served.keys, record=record, rows=rows)

    def _attempt(
        self, based: _Based, new: Mapping[int, Rows], change: Change, *, at: datetime
    ) -> StateRecord | None:
        """Return the state that has the new rows; None when another took its number."""
        if new == based.rows and based.record.number and not change.anew:
            return based.record
        old = None if change.anew else based.rows
        made = new_state(self._objects, based.record, old=old, new=new, at=at)
        (self._objects.write if change.anew else self._objects.put)(made.objects)
        name = repository_states.record_name(made.record.channel, made.record.number)
        if not self._storage.create(name, repository_states.render(made.record)):
            return None
        # A pruning may have taken away, before the record was there, what no state had then.
        change.claimed()
        self._objects.put_back(made.objects)
        return None if self._came_late(made.record) else made.record

    def _came_late(self, record: StateRecord) -> bool:
        """Tell whether readers are beyond a state that was claimed just now.

        Then its number may have been another's, whose record was pruned while this publisher
        stood still: the newer states do not know of it. Or another publisher has gone on from
        it; to look again is right in both cases.
        """
        if self._objects.served(record.channel).number <= record.number:
            return False  # only what readers are beyond is ever pruned
        if not self._objects.has_shards(record):  # those of a kept state are all there
            self._storage.remove(repository_states.record_name(record.channel, record.number))
        return True

    def _roll_forward(self, record: StateRecord, *, since: int) -> None:
        """Serve a state, and those before it that nobody served; older ones first."""
        channel = record.channel
        between = range(since + 1, record.number) if since else self._objects.numbers(channel)
        for number in between:
            if number < record.number:
                self._write(channel, number)
        self._served.write(record)
        self._served.point(record)

    def _write(self, channel: str, number: int) -> None:
        try:
            record = self._objects.record(channel, number)
        except NotFound:
            return  # others served it, and a newer one, and it was pruned
        self._served.write(record)
