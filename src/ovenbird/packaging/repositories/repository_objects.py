"""A repository's stored objects, read with their digests compared, written once.

    states/candidate/0000007.json   records of states       channels/candidate.json   the newest
    shards/3f/DIGEST                rows of packages        pool/...                  package files
    dists/..., yum/...              index files, under their digests

What is read is compared with the digest that its name or its record has, so damage is found
where it is, and never copied into a signed state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from ovenbird.domain.errors import NotFound
from ovenbird.domain.ports import Storage
from ovenbird.packaging.repositories import apt_index, repository_states, shards, yum_index
from ovenbird.packaging.repositories.indexes import Index, IndexKind, IndexRecord
from ovenbird.packaging.repositories.repository_states import Pointer, StateRecord
from ovenbird.packaging.repositories.shards import Row, Rows

PARALLEL = 8  # requests under way at once; a bucket answers each in tens of milliseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")
R = TypeVar("R")


def each(do: Callable[[T], R], items: Iterable[T], *, parallel: int = PARALLEL) -> list[R]:
    """Do one thing with each item, several at once; return the results in order."""
    found = list(items)
    if len(found) < 2 or parallel < 2:
        return [do(item) for item in found]
    with ThreadPoolExecutor(min(parallel, len(found))) as threads:
        return list(threads.map(do, found))


def kind_of(key: str) -> IndexKind:
    """Return the kind of index that a record's key names."""
    system, place, last = key.split("/")
    return apt_index.kind(place, last) if system == "apt" else yum_index.kind(place, last)


class Objects:
    """The objects of one storage.

    Args:
        storage: Where they are.
        parallel: How many requests may be under way at once.
    """

    def __init__(self, storage: Storage, *, parallel: int = PARALLEL) -> None:
        self._storage, self._parallel = storage, parallel

    def served(self, channel: str) -> Pointer:
        """Return the newest state that readers are pointed to; number 0 for none.

        Raises:
            OvenbirdError: The pointer is damaged.
        """
        name = repository_states.pointer_name(channel)
        found = self._storage.find(name)
        return repository_states.parse_pointer(found[0], place=name) if found else Pointer()

    def newest(self, channel: str, *, served: int) -> int:
        """Return the number of the newest state, also when no reader is pointed to it yet."""
        if served == 0:  # none yet; or the pointer is lost, while old states may be pruned
            return max(self.numbers(channel), default=0)
        number = served
        while self._storage.exists(repository_states.record_name(channel, number + 1)):
            number += 1
        return number

    def record(self, channel: str, number: int) -> StateRecord:
        """Return a state's record; number 0 is the empty state.

        Raises:
            NotFound: There is no such state.
            OvenbirdError: The record is damaged.
        """
        if number == 0:
            return StateRecord(channel=channel, number=0, parent=0, at=_EPOCH)
        try:
            data = self._storage.read(repository_states.record_name(channel, number))
        except NotFound as error:
            raise NotFound(
                f"Channel `{channel}` has no state {number}",
                hint="It was pruned, or never was",
                number=number,
            ) from error
        return repository_states.parse(data, channel=channel, number=number)

    def base(self, channel: str, number: int) -> StateRecord:
        """Return the record of a state that must be there.

        Raises:
            OvenbirdError: The record is lost or damaged.
        """
        try:
            return self.record(channel, number)
        except NotFound as error:
            name = repository_states.record_name(channel, number)
            raise shards.damaged(name, "it is gone") from error

    def numbers(self, channel: str) -> tuple[int, ...]:
        """Return the numbers of all states that are kept, in order."""
        names = (name.rpartition("/")[2] for name in self._storage.names(f"states/{channel}/"))
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return tuple(sorted(int(stem) for stem in stems if stem.isdigit()))

    def channels(self) -> tuple[str, ...]:
        """Return the names of all channels that have a state, in order."""
        return tuple(sorted({name.split("/")[1] for name in self._storage.names("states/")}))

    def rows(self, record: StateRecord, numbers: Iterable[int]) -> dict[int, Rows]:
        """Return the rows of some of a state's shards.

        Raises:
            OvenbirdError: A shard is lost or damaged.
        """
        wanted = list(numbers)
        found = each(lambda n: self._shard(record.shards.get(n)), wanted, parallel=self._parallel)
        return dict(zip(wanted, found, strict=True))

    def has_shards(self, record: StateRecord) -> bool:
        """Tell whether all of a state's shards are there."""
        names = [shards.object_name(digest) for digest in record.shards.values()]
        return all(each(self._storage.exists, names, parallel=self._parallel))

    def _shard(self, digest: str | None) -> Rows:
        if digest is None:
            return {}
        name = shards.object_name(digest)
        return shards.parse(self.checked(name, digest), place=name)

    def index(self, channel: str, kind: IndexKind, record: IndexRecord) -> Index:
        """Return an index with the bytes of its files.

        Raises:
            OvenbirdError: A file is lost or damaged.
        """
        digests = {encoding: file.sha256 for encoding, file in record.files.items()}
        names = {e: kind.by_digest(channel, e, digest) for e, digest in digests.items()}
        read = each(lambda e: self.checked(names[e], digests[e]), names, parallel=self._parallel)
        return Index(record=record, files=dict(zip(names, read, strict=True)))

    def checked(self, name: str, digest: str) -> bytes:
        """Return bytes that have the digest that they must have.

        Raises:
            OvenbirdError: They are lost or damaged.
        """
        try:
            data = self._storage.read(name)
        except NotFound as error:
            raise shards.damaged(name, "it is gone") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise shards.damaged(name, "its digest differs")
        return data

    def digest(self, name: str) -> str:
        """Return the digest of a stored file, which may be large.

        Raises:
            NotFound: It is not there.
        """
        with self._storage.open(name) as (file, _size):
            found = hashlib.sha256()
            while piece := file.read(1 << 20):
                found.update(piece)
            return found.hexdigest()

    def put(self, wanted: Mapping[str, bytes]) -> None:
        """Store objects under names that follow from their bytes."""
        each(lambda name: self._storage.create(name, wanted[name]), wanted, parallel=self._parallel)

    def write(self, wanted: Mapping[str, bytes]) -> None:
        """Store objects as :meth:`put` does, also over damaged ones of their names."""
        each(lambda name: self._storage.write(name, wanted[name]), wanted, parallel=self._parallel)

    def put_back(self, wanted: Mapping[str, bytes]) -> None:
        """Store those that are not there; most are, so nothing is sent to find that out."""
        found = each(self._storage.exists, wanted, parallel=self._parallel)
        self.put({n: wanted[n] for n, there in zip(wanted, found, strict=True) if not there})

    def copy(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Store under second names what is there under first ones.

        Raises:
            OvenbirdError: Something is lost.
        """

        def copy_one(pair: tuple[str, str]) -> None:
            try:
                self._storage.copy(*pair)
            except NotFound as error:
                raise shards.damaged(pair[0], "it is gone") from error

        each(copy_one, pairs, parallel=self._parallel)


def shard_object(rows: Iterable[Row]) -> tuple[str, bytes]:
    """Return digest and bytes of a shard."""
    data = shards.render(rows)
    return hashlib.sha256(data).hexdigest(), data
