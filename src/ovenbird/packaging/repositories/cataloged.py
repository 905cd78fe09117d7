"""The package repository with what the catalog asks of it: records, files, signatures.

Everything is in one storage: packages, states, indexes, and where each package came from.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import SignerOf, Storage
from ovenbird.packaging.keys.package_signatures import signatures
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.provenance import Provenance
from ovenbird.packaging.repositories.repository import PackageRepository

POOL = "pool"


class CatalogedRepository(PackageRepository):
    """One repository, its packages' origins with them.

    Args:
        storage: Where it lives.
        name: The repository's name.
        key: Signs each state; also tells who signed a package.
        component: The part of apt's side that packages join.
        base_url: Of the repository as yum's clients reach it.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        name: str,
        key: SigningKey,
        component: str = "main",
        base_url: str = "",
    ) -> None:
        super().__init__(storage, name=name, signer=key, component=component, base_url=base_url)
        self._files, self._key, self._provenance = storage, key, Provenance(storage)

    def put_record(self, entry: CatalogEntry) -> None:
        """Write where a package came from; the first record of a package stays."""
        self._provenance.put(entry)

    def records_of(self, name: str, version: str) -> tuple[CatalogEntry, ...]:
        """Return the records of one version of a package, by file.

        Raises:
            OvenbirdError: A record is damaged.
        """
        return self._provenance.find(name, version)

    def every_record(self) -> tuple[CatalogEntry, ...]:
        """Return all records.

        Raises:
            OvenbirdError: A record is damaged.
        """
        return self._provenance.every()

    def fetch(self, package: Package, into: Path) -> Package:
        """Copy a package's file to this host and return the package with its new path.

        Args:
            package: As a record has it.
            into: Directory that receives the file.

        Raises:
            NotFound: The repository has no such file.
        """
        file = PurePosixPath(package.path).name
        target = into / file
        into.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{file}.part")
        with self._files.open(_file_of(package)) as (source, _size), part.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        part.replace(target)
        return replace(package, path=str(target))

    @contextmanager
    def fetched(self, package: Package) -> Iterator[Path]:
        """Give a copy of a package's file on this host, for as long as the block lasts.

        Raises:
            NotFound: The repository has no such file.
        """
        with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
            yield Path(self.fetch(package, Path(directory)).path)

    @contextmanager
    def signers(self) -> Iterator[SignerOf]:
        """Give what tells who signed a package file, by fingerprint; empty for nobody.

        It raises InvalidRequest for a file that is damaged, and for a signature that is bad or
        of another key.
        """
        with signatures(self._key.known()) as signature_of:
            yield lambda path, package: signature_of(path, package.format)


def _file_of(package: Package) -> str:
    """Return a package's name in the storage: lists have it, records only the file's name."""
    if package.path.startswith(f"{POOL}/"):
        return package.path
    return f"{POOL}/{package.name[:1]}/{package.name}/{PurePosixPath(package.path).name}"
