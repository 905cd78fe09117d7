"""Rows and shards: what the repository knows of each package, 256 small objects of it.

A row is one published package file with all that index files say of it. A package's shard
follows from its name and version, so adding one reads and writes one shard of about a 256th
of all rows, whether there are many apps or one app with many versions. Shards never change:
they are stored under the digest of their bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import zstandard

from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.packages import Package, PackageFormat

SHARDS = 256
LEVEL = 3
_MAX_BYTES = 1 << 30  # of one shard; a size that a damaged one claims is not believed beyond it

RowKey = tuple[str, str, str, str]
Rows = dict[RowKey, "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published package file.

    Args:
        component: The part of the repository that it is in, as ``main``.
        file: Its name in the storage, as ``pool/h/hello/hello_1.0.0_all.deb``.
        entries: What indexes say of it: deb, one stanza; rpm, its XML for ``primary``,
            ``filelists`` and ``other``; nothing for other formats.
    """

    name: str
    version: str
    architecture: str
    format: str
    component: str
    file: str
    size: int
    sha256: str
    app: str
    commit: str
    signed_by: str
    entries: tuple[str, ...]

    @property
    def key(self) -> RowKey:
        """What may be there once only: name, version, architecture, format."""
        return self.name, self.version, self.architecture, self.format

    def package(self) -> Package:
        """Return the package; its path is its name in the storage."""
        return Package(
            name=self.name,
            version=self.version,
            architecture=self.architecture,
            format=PackageFormat(self.format),
            path=self.file,
            digest_sha256=self.sha256,
            size_bytes=self.size,
            app=self.app,
            commit=self.commit,
            signed_by=self.signed_by,
        )


def key_of(package: Package) -> RowKey:
    """Return the key that the package's row has."""
    return package.name, package.version, package.architecture, package.format.value


def shard_of(key: RowKey) -> int:
    """Return the number of the shard that a row is in: from 0, below 256."""
    return hashlib.sha256(f"{key[0]} {key[1]}".encode()).digest()[0]


def object_name(digest: str) -> str:
    """Return where a shard is stored."""
    return f"shards/{digest[:2]}/{digest}"


def render(rows: Iterable[Row]) -> bytes:
    """Write a shard; the same rows give the same bytes."""
    ordered = [
        {name: getattr(row, name) for name in Row.__dataclass_fields__}
        for row in sorted(rows, key=lambda row: row.key)
    ]
    text = json.dumps({"format": 1, "rows": ordered}, sort_keys=True, separators=(",", ":"))
    return zstandard.ZstdCompressor(level=LEVEL).compress(text.encode())


def parse(data: bytes, *, place: str) -> Rows:
    """Read a shard.

    Args:
        data: Its bytes.
        place: Its name in the storage, for errors.

    Raises:
        OvenbirdError: It is damaged.
    """
    try:
        text = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_BYTES)
        rows = [_row(found) for found in json.loads(text)["rows"]]
    except (zstandard.ZstdError, MemoryError, *BROKEN) as error:
        raise damaged(place, error) from error
    return {row.key: row for row in rows}


BROKEN = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
"""What reading damaged JSON may raise."""


def damaged(place: str, why: object) -> OvenbirdError:
    """Return the error for a stored object that is not what was written."""
    return OvenbirdError(
        f"`{place}` in the repository's storage is damaged: {why}",
        hint="The last state stays served; put the object back from a copy of the storage, "
        "or, where it is an index, `ovenbird repository rebuild`",
        name=place,
    )


def _row(found: Mapping[str, Any]) -> Row:
    words = {name: _text(found, name) for name in Row.__dataclass_fields__ if name not in _OTHER}
    PackageFormat(words["format"])
    entries = tuple(found["entries"])
    if not all(isinstance(entry, str) for entry in entries):
        raise TypeError("an entry is no text")
    return Row(**words, size=count(found, "size"), entries=entries)


_OTHER = {"size", "entries"}


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found[name]
    if not isinstance(value, str):
        raise TypeError(f"`{name}` is no text")
    return value


def count(found: Mapping[str, Any], name: str) -> int:
    """Return a whole number that is not negative.

    Raises:
        TypeError: It is something else.
    """
    value = found[name]
    if type(value) is not int or value < 0:
        raise TypeError(f"`{name}` is no count")
    return value
