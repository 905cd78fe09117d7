"""What the catalog knows of a package, kept in the repository beside it.

    catalog/hello/1.1.0/hello_1.1.0_all.deb.json

Whoever publishes writes it, on whatever machine, as at the end of a CI run; whoever
releases the same commit later finds the package and need not build it again. Our store
can be filled from these records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import quote

import pydantic
from pydantic import TypeAdapter

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.ports import Storage

TOP = "catalog"
_ENTRY = TypeAdapter(CatalogEntry)


class Provenance:
    """Catalog entries in a repository; the first one of a package stays.

    Args:
        storage: The repository's.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, entry: CatalogEntry) -> None:
        """Write an entry, unless one of the same package is there.

        The paths of the building machine are of no use elsewhere and are left out.
        """
        package = entry.package
        file = PurePosixPath(package.path).name
        there = replace(entry, package=replace(package, path=file))
        data = _ENTRY.dump_json(there, indent=1)
        self._storage.create(f"{_place(package.name, package.version)}/{quote(file)}.json", data)

    def find(self, name: str, version: str) -> tuple[CatalogEntry, ...]:
        """Return the entries of one version of a package: one for each format and architecture.

        Raises:
            OvenbirdError: An entry is damaged.
        """
        return tuple(self._read(f"{_place(name, version)}/"))

    def every(self) -> tuple[CatalogEntry, ...]:
        """Return all entries.

        Raises:
            OvenbirdError: An entry is damaged.
        """
        return tuple(self._read(f"{TOP}/"))

    def _read(self, prefix: str) -> Iterator[CatalogEntry]:
        for name in sorted(self._storage.names(prefix)):
            try:
                yield _ENTRY.validate_json(self._storage.read(name))
            except pydantic.ValidationError as error:
                raise OvenbirdError(
                    f"The repository's record `{name}` is damaged: {error.errors()[0]['msg']}",
                    hint=f"Remove `{name}` from `{self._storage.url}`, then publish again",
                ) from error


def _place(name: str, version: str) -> str:
    return f"{TOP}/{quote(name)}/{quote(version)}"
