"""What readers see of a state: its own suite for ever, and the channel's pointers to it.

    index files, in the channel's directory under their digests     (there before the record is)
      ├─ copied into the state's own suite ─ Release, Release.gpg, InRelease │ repomd.xml, .asc
      └─ the channel's InRelease and mirrorlists, each moved in one step, never backwards

All of it follows from the record and can be done twice, by two at once, or by the next publisher
for one that was killed: the files of a suite are created, never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ovenbird.domain.ports import Signer, Storage
from ovenbird.packaging.repositories import apt_index, repository_states, yum_index
from ovenbird.packaging.repositories.repository_objects import PARALLEL, Objects, kind_of
from ovenbird.packaging.repositories.repository_states import Pointer, StateRecord

Unwritten = tuple[tuple[str, ...], Callable[[], None]]
"""Prefixes of the keys of indexes, and what writes their signed files."""

SWAPS = 1000  # of one pointer, before it is said that something else keeps changing it


class ServedStates:
    """Writes what readers see.

    Args:
        storage: Of the repository.
        name: The repository's name.
        signer: Signs each state.
        base_url: Of the repository as yum's clients reach it.
        parallel: How many requests may be under way at once.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        name: str,
        signer: Signer,
        base_url: str,
        parallel: int = PARALLEL,
    ) -> None:
        self._storage, self._name, self._signer = storage, name, signer
        self._base_url = base_url
        self._objects = Objects(storage, parallel=parallel)

    def write(self, record: StateRecord) -> None:
        """Write a state's own suite, unless it is whole."""
        wanted = [*self._unwritten_apt(record), *self._unwritten_yum(record)]
        if not wanted:
            return
        self._objects.copy(
            _copies(record, [prefix for prefixes, _ in wanted for prefix in prefixes])
        )
        for _, sign in wanted:  # one after the other: the key is held by this thread
            sign()

    def point(self, record: StateRecord) -> None:
        """Move the channel's pointers to a state whose suite is whole, unless they are beyond."""
        if apt_index.components(record.indexes):
            self._point_apt(record)
        for architecture in yum_index.architectures(record.indexes):
            name = f"yum/{record.channel}/{architecture}/mirrorlist"
            data = yum_index.mirrorlist(
                self._base_url, suite=record.suite, architecture=architecture
            )
            self._advance(name, data, record.number, yum_index.state_number)
        # Last: whoever reads it trusts that every state up to this one is served.
        pointer = Pointer(number=record.number, keys=self._signer.fingerprints())
        name = repository_states.pointer_name(record.channel)
        data = repository_states.render_pointer(pointer)
        self._advance(name, data, record.number, lambda found: _served(found, name))

    def _point_apt(self, record: StateRecord) -> None:
        name = f"dists/{record.channel}/InRelease"
        found = self._storage.find(name)
        if found and apt_index.state_number(found[0]) >= record.number:
            return
        signed = self._signer.clear_sign(self._release(record, suite=record.channel))
        self._advance(name, signed, record.number, apt_index.state_number)

    def _advance(
        self, name: str, data: bytes, number: int, number_of: Callable[[bytes], int]
    ) -> None:
        for _ in range(SWAPS):
            found = self._storage.find(name)
            if found and number_of(found[0]) >= number:
                return
            if self._storage.swap(name, data, version=found[1] if found else None):
                return

    def _release(self, record: StateRecord, *, suite: str) -> bytes:
        return apt_index.release(
            record.indexes, suite=suite, name=self._name, number=record.number, at=record.at
        )

    def _unwritten_apt(self, record: StateRecord) -> list[Unwritten]:
        place = f"dists/{record.suite}"
        if not apt_index.components(record.indexes) or self._storage.exists(f"{place}/InRelease"):
            return []
        return [(("apt/",), lambda: self._sign_apt(record, place))]

    def _sign_apt(self, record: StateRecord, place: str) -> None:
        release = self._kept(f"{place}/Release", self._release(record, suite=record.suite))
        self._kept(f"{place}/Release.gpg", self._signer.detach_sign(release))
        # Last: it says that the suite is whole.
        self._kept(f"{place}/InRelease", self._signer.clear_sign(release))

    def _unwritten_yum(self, record: StateRecord) -> list[Unwritten]:
        """Return what to write for each architecture; the same text is signed once."""
        wanted: dict[bytes, list[str]] = {}
        for architecture in yum_index.architectures(record.indexes):
            place = f"yum/{record.suite}/{architecture}/repodata"
            if not self._storage.exists(f"{place}/repomd.xml.asc"):
                text = yum_index.repomd(
                    record.indexes, architecture=architecture, number=record.number, at=record.at
                )
                wanted.setdefault(text, []).append(place)
        return [
            (_yum_prefixes(places), partial(self._sign_yum, text, places))
            for text, places in wanted.items()
        ]

    def _sign_yum(self, text: bytes, places: list[str]) -> None:
        signatures: dict[bytes, bytes] = {}
        for place in places:
            kept = self._kept(f"{place}/repomd.xml", text)
            if kept not in signatures:
                signatures[kept] = self._signer.detach_sign(kept)
            self._kept(f"{place}/repomd.xml.asc", signatures[kept])  # last, as above

    def _kept(self, name: str, data: bytes) -> bytes:
        """Create a file and return what it has: another's bytes when that one was first."""
        return data if self._storage.create(name, data) else self._storage.read(name)


def _copies(record: StateRecord, prefixes: Sequence[str]) -> list[tuple[str, str]]:
    """Return from where to where index files are copied for a state's own suite."""
    pairs = []
    for key, index in record.indexes.items():
        if not key.startswith(tuple(prefixes)):
            continue
        kind = kind_of(key)
        for encoding, file in index.files.items():
            source = kind.by_digest(record.channel, encoding, file.sha256)
            pairs.append((source, kind.in_suite(record.suite, encoding, file.sha256)))
    return pairs


def _yum_prefixes(places: list[str]) -> tuple[str, ...]:
    return tuple(f"yum/{place.split('/')[2]}/" for place in places)


def _served(data: bytes, name: str) -> int:
    return repository_states.parse_pointer(data, place=name).number
