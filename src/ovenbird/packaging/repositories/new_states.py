"""What a new state is made of: the objects to store, and the record that names them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.repositories import apt_index, shards, yum_index
from ovenbird.packaging.repositories.indexes import (
    Index,
    IndexKind,
    IndexRecord,
    ShardText,
    shard_text,
    splice,
)
from ovenbird.packaging.repositories.repository_objects import Objects, kind_of, shard_object
from ovenbird.packaging.repositories.repository_states import StateRecord, record_name
from ovenbird.packaging.repositories.shards import Rows, damaged

AHEAD = timedelta(days=1)  # of a publisher's time another one's may be; uploads end sooner


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a new state has differently.

    Args:
        touched: Numbers of the shards in question.
        apply: Their rows → their new rows; may be asked several times.
        claimed: Called once the state is there.
        anew: Make a state also when no row is new, all its index files anew; all shards are
            touched.
    """

    touched: Collection[int]
    apply: Callable[[Mapping[int, Rows]], dict[int, Rows]]
    claimed: Callable[[], None] = _nothing
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewState:
    """A state that is not stored yet.

    Args:
        objects: Name → bytes; each name follows from the bytes.
    """

    record: StateRecord
    objects: Mapping[str, bytes]


def new_state(
    objects: Objects,
    base: StateRecord,
    *,
    old: Mapping[int, Rows] | None,
    new: Mapping[int, Rows],
    at: datetime,
) -> NewState:
    """Return the state that follows on another.

    Args:
        objects: Where the other one's files are read.
        base: The other one.
        old: Number of the shard → its rows; None to make all files anew.
        new: Number of the shard → its rows as they are now; all shards when *old* is None.
        at: The time that the signed files carry, unless the other one's is later.

    Raises:
        OvenbirdError: A file of the other one is lost or damaged.
    """
    wanted: dict[str, bytes] = {}
    digests = dict(base.shards)
    for number in sorted(n for n, rows in new.items() if rows != (old or {}).get(n)):
        digests.pop(number, None)
        if new[number]:
            digests[number], data = shard_object(new[number].values())
            wanted[shards.object_name(digests[number])] = data
    indexes = _Splicing(objects, base, old, new)
    records = {key: indexes.record(kind_of(key), wanted) for key in _keys(base, new)}
    record = StateRecord(
        channel=base.channel,
        number=base.number + 1,
        parent=base.number,
        at=_not_before(base.at, at),
        shards=dict(sorted(digests.items())),
        indexes=records,
    )
    return NewState(record=record, objects=wanted)


def _not_before(earlier: datetime, at: datetime) -> datetime:
    """Return the time of a state that follows on one of another time.

    apt keeps what it has, without a word, when the ``Date`` of a new ``InRelease`` is earlier:
    of a publisher that began before another, uploaded for longer, and claimed after it. A time
    far ahead is of a clock that is wrong, and no apt has taken it (``Acquire::Max-FutureTime``).

    Source: apt 2.6, apt-pkg/acquire-item.cc, ``VerifyVendor``; apt.conf(5).
    """
    return earlier if at < earlier <= at + AHEAD else at


def _keys(base: StateRecord, new: Mapping[int, Rows]) -> tuple[str, ...]:
    """Return the indexes that a state has: those of the other one, and of formats now met."""
    rows = [row for found in new.values() for row in found.values()]
    keys = set(base.indexes)
    components = {row.component for row in rows if row.format == PackageFormat.DEB}
    keys |= {apt_index.kind(c, a).key for c in components for a in apt_index.ARCHITECTURES}
    if any(row.format == PackageFormat.RPM for row in rows):
        keys |= {
            yum_index.kind(a, which).key
            for a in yum_index.ARCHITECTURES
            for which in yum_index.INDEXES
        }
    return tuple(sorted(keys))


class _Splicing:
    """The index files of one new state; those with the same content are made once."""

    def __init__(
        self,
        objects: Objects,
        base: StateRecord,
        old: Mapping[int, Rows] | None,
        new: Mapping[int, Rows],
    ) -> None:
        self._objects, self._base, self._old, self._new = objects, base, old, new
        self._made: dict[tuple[object, ...], Index] = {}

    def record(self, kind: IndexKind, wanted: dict[str, bytes]) -> IndexRecord:
        """Return the record of one index, and put its files to the objects to store."""
        before = self._base.indexes.get(kind.key) if self._old is not None else None
        changed = self._changed(kind, before)
        if before is not None and not changed:
            return before
        index = self._spliced(kind, before, changed)
        for encoding, file in index.record.files.items():
            name = kind.by_digest(self._base.channel, encoding, file.sha256)
            wanted[name] = index.files[encoding]
        return index.record

    def _changed(self, kind: IndexKind, before: IndexRecord | None) -> dict[int, ShardText]:
        changed = {}
        for number, rows in self._new.items():
            now = shard_text(kind, rows.values())
            if before is None or now != shard_text(kind, self._before(number)):
                changed[number] = now
        return changed

    def _spliced(
        self, kind: IndexKind, before: IndexRecord | None, changed: Mapping[int, ShardText]
    ) -> Index:
        digest = before.text.sha256 if before else ""
        texts = tuple((n, found.text) for n, found in sorted(changed.items()))
        key = (kind.shape, digest, texts)
        if key not in self._made:
            old = self._objects.index(self._base.channel, kind, before) if before else None
            try:
                self._made[key] = splice(kind, old, changed)
            except ValueError as error:
                place = record_name(self._base.channel, self._base.number)
                raise damaged(place, f"`{kind.key}`: {error}") from error
        return self._made[key]

    def _before(self, number: int) -> Iterable[shards.Row]:
        return (self._old or {}).get(number, {}).values()
