"""Index files that are spliced: the changed shard is compressed again, the rest is copied.

apt and yum differ in what a row says, where files stand and how they are compressed; that is an
:class:`IndexKind`. How a file comes to be is the same for all, and is here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ovenbird.packaging.repositories.members import (
    Encoding,
    Member,
    cut,
    joined,
    member,
    zstd_texts,
)
from ovenbird.packaging.repositories.shards import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexKind:
    """One index of a repository.

    Args:
        key: Its name in records, as ``apt/main/amd64`` or ``yum/x86_64/primary``.
        shape: Indexes of one shape that hold the same rows have the same bytes.
        encodings: How its files are compressed; ``zst`` is always among them.
        chosen: Which rows are in it.
        entry: Which of a row's entries it holds.
        around: Number of rows → text before and after them all.
        by_digest: Channel, encoding, digest → where a file is stored.
        in_suite: Suite of a state, encoding, digest → where readers of that state find it.
    """

    key: str
    shape: str
    encodings: tuple[Encoding, ...]
    chosen: Callable[[Row], bool]
    entry: int
    around: Callable[[int], tuple[bytes, bytes]]
    by_digest: Callable[[str, Encoding, str], str]
    in_suite: Callable[[str, Encoding, str], str]

    def text(self, rows: Iterable[Row]) -> bytes:
        """Return what the index says of rows, in one order."""
        ordered = sorted((row for row in rows if self.chosen(row)), key=lambda row: row.key)
        return "".join(row.entries[self.entry] for row in ordered).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of an index.

    Args:
        head: Bytes before its first member.
    """

    sha256: str
    size: int
    head: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """What one shard adds to an index.

    Args:
        rows: How many of the shard's rows.
        text: Bytes before compression.
        sizes: Bytes in each file, as :class:`Member` counts them.
    """

    rows: int
    text: int
    sizes: Mapping[Encoding, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecord:
    """An index as a state has it.

    Args:
        text: The file before compression, which is stored nowhere.
        files: Encoding → file.
        members: Number of the shard → what it adds; in order, none that adds nothing.
    """

    text: FileRecord
    files: Mapping[Encoding, FileRecord]
    members: Mapping[int, MemberRecord]

    @property
    def rows(self) -> int:
        """How many packages it lists."""
        return sum(found.rows for found in self.members.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index and the bytes of its files."""

    record: IndexRecord
    files: Mapping[Encoding, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardText:
    """What a shard now adds to an index: nothing when *text* is empty."""

    rows: int
    text: bytes


def shard_text(kind: IndexKind, rows: Iterable[Row]) -> ShardText:
    """Return what rows of one shard add to an index."""
    chosen = [row for row in rows if kind.chosen(row)]
    return ShardText(rows=len(chosen), text=kind.text(chosen))


def splice(kind: IndexKind, old: Index | None, changed: Mapping[int, ShardText]) -> Index:
    """Make an index of an older one and what some shards now add.

    Args:
        kind: Which index.
        old: The older one; None to make all of it.
        changed: Number of the shard → what it adds.

    Raises:
        ValueError: A file of the older one is damaged.
    """
    kept = {n: m for n, m in (old.record.members if old else {}).items() if n not in changed}
    added = {n: found for n, found in changed.items() if found.text}
    numbers = sorted({*kept, *added})
    rows = {n: added[n].rows if n in added else kept[n].rows for n in numbers}
    around = kind.around(sum(rows.values()))
    pieces: dict[Encoding, dict[int, Member]] = {}
    for encoding in kind.encodings:
        fresh = {n: member(encoding, found.text) for n, found in added.items()}
        both = fresh | (_kept(old, encoding, kept) if old else {})
        pieces[encoding] = {n: both[n] for n in numbers}
    files = {
        encoding: joined(encoding, found.values(), before=around[0], after=around[1])
        for encoding, found in pieces.items()
    }
    return Index(
        record=IndexRecord(
            text=_text_record(pieces[Encoding.ZST], added, around),
            files={e: _file_record(found.data, found.head_bytes) for e, found in files.items()},
            members={n: _member_record(n, rows[n], pieces) for n in numbers},
        ),
        files={encoding: found.data for encoding, found in files.items()},
    )


def _kept(old: Index, encoding: Encoding, kept: Mapping[int, MemberRecord]) -> dict[int, Member]:
    sizes = {n: (found.sizes[encoding], found.text) for n, found in old.record.members.items()}
    head_bytes = old.record.files[encoding].head
    found = cut(encoding, old.files[encoding], sizes, head_bytes=head_bytes)
    return {n: found[n] for n in kept}


def _text_record(
    pieces: Mapping[int, Member], added: Mapping[int, ShardText], around: tuple[bytes, bytes]
) -> FileRecord:
    """Digest the text: clients compare it after decompression."""
    digest = hashlib.sha256(around[0])
    kept = zstd_texts(piece for number, piece in pieces.items() if number not in added)
    for number in pieces:
        digest.update(added[number].text if number in added else next(kept))
    digest.update(around[1])
    size = sum(piece.text_bytes for piece in pieces.values()) + len(around[0]) + len(around[1])
    return FileRecord(sha256=digest.hexdigest(), size=size)


def _file_record(data: bytes, head: int) -> FileRecord:
    return FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data), head=head)


def _member_record(
    number: int, rows: int, pieces: Mapping[Encoding, Mapping[int, Member]]
) -> MemberRecord:
    text = pieces[Encoding.ZST][number].text_bytes
    sizes = {encoding: found[number].size for encoding, found in pieces.items()}
    return MemberRecord(rows=rows, text=text, sizes=sizes)
