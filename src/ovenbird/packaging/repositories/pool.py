"""The pool: package files, each once, whatever channels and states hold it.

    pool/h/hello/hello_1.0.0_all.deb
    pool/h/hello/hello-1.0.0-1.noarch.rpm

Packages for apk and pacman are kept in the pool and in the states' records, without an index
that their package managers could read.

Source: Debian policy 5.6.12 and Debian's own archive (file names have no epoch).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.ports import Storage
from ovenbird.domain.storing import stored_name
from ovenbird.packaging.repositories import apt_index, yum_index
from ovenbird.packaging.repositories.repository_objects import Objects
from ovenbird.packaging.repositories.shards import Row


def add(storage: Storage, package: Package, *, component: str) -> Row:
    """Put a package file into the pool, and return what the repository knows of it.

    Raises:
        NotFound: The file is gone.
        Conflict: The file is not the package; or another one has its name in the pool.
        InvalidRequest: The file is damaged, or its name cannot be stored.
    """
    row = read(package, component=component)
    if put(storage, row, Path(package.path)):
        return row
    published = Objects(storage).digest(row.file)
    if published != row.sha256:
        raise other_bytes(row.file, published=published, built=row.sha256)
    return row


def put(storage: Storage, row: Row, path: Path) -> bool:
    """Store a row's file unless its name is there; tell whether it was stored."""
    return not storage.exists(row.file) and storage.create(row.file, path)


def read(package: Package, *, component: str) -> Row:
    """Return what the repository will know of a package, from its file.

    Raises:
        NotFound: The file is gone.
        Conflict: The file is not the package that was built.
        InvalidRequest: The file is damaged, or its name cannot be stored.
    """
    path = Path(package.path)
    if not path.exists():
        raise NotFound(f"The package `{path}` is gone", hint="Start the release again")
    pool = f"pool/{package.name[:1]}/{package.name}"
    if package.format is PackageFormat.RPM:
        return _rpm(package, path, pool, component)
    digest, size = _digest(path), path.stat().st_size
    _compare(package, "digest", digest, package.digest_sha256)
    if package.format is PackageFormat.DEB:
        return _deb(package, path, pool, component)
    return _row(package, f"{pool}/{path.name}", component, size=size, entries=())


def _deb(package: Package, path: Path, pool: str, component: str) -> Row:
    control = apt_index.control(path)
    for name, wanted in (
        ("Package", package.name),
        ("Version", package.version),
        ("Architecture", package.architecture),
    ):
        _compare(package, f"`{name}`", apt_index.field(control, name), wanted)
    version = package.version.rpartition(":")[2]
    file = f"{pool}/{package.name}_{version}_{package.architecture}.deb"
    size = path.stat().st_size
    entry = apt_index.stanza(control, file=file, size=size, sha256=package.digest_sha256)
    return _row(package, file, component, size=size, entries=(entry,))


def _rpm(package: Package, path: Path, pool: str, component: str) -> Row:
    found = yum_index.read(path, pool=pool)
    _compare(package, "digest", found.sha256, package.digest_sha256)
    _compare(package, "name", found.name, package.name)
    file = f"{pool}/{found.file_name}"
    size = path.stat().st_size
    return _row(package, file, component, size=size, entries=found.entries)


def _row(
    package: Package, file: str, component: str, *, size: int, entries: tuple[str, ...]
) -> Row:
    return Row(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        format=package.format.value,
        component=component,
        file=stored_name(file),
        size=size,
        sha256=package.digest_sha256,
        app=package.app,
        commit=package.commit,
        signed_by=package.signed_by,
        entries=entries,
    )


def _compare(package: Package, what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise Conflict(
            f"`{package.path}` is not the package that was built: its {what} is `{found}`, "
            f"not `{wanted}`",
            hint="Build it again",
        )


def other_bytes(file: str, *, published: str, built: str) -> Conflict:
    """Return the error for a package that is published already, with other bytes."""
    return Conflict(
        f"`{file.rpartition('/')[2]}` is published already, with other bytes",
        hint="Tag a new version: what is published never changes",
        published_sha256=published,
        built_sha256=built,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
