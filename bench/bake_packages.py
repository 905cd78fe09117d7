"""Packages to bake, in a signed repository: 1 MB, 60 MB and 500 MB, the same on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import trees
from bench.packagers import VERSION, ours
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.images import PackagePin
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.directory_storage import DirectoryStorage

AT = datetime(2026, 1, 2, tzinfo=UTC)
SIZES = ("1mb", "60mb", "500mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Packages that can be installed.

    Args:
        pins: Size → the package.
        directory: Root of the repository.
    """

    pins: dict[str, PackagePin]
    state: RepositoryState
    directory: Path


def publish(sizes: list[str], work: Path) -> Published:
    """Make a package of each size, and publish them in one signed state."""
    packages = {size: _package(size, work) for size in sizes}
    directory = work / "repository"
    repository = PackageRepository(
        DirectoryStorage(directory), name="main", signer=SigningKey(work / "keys")
    )
    state = repository.publish(list(packages.values()), channel="candidate", at=AT)
    return Published(
        pins={s: _pin(p) for s, p in packages.items()}, state=state, directory=directory
    )


def _package(size: str, work: Path) -> Package:
    tree = trees.make(size, work)
    named = dataclasses.replace(tree, spec=dataclasses.replace(tree.spec, name=f"bench-{size}"))
    out = work / f"{size}-package"
    out.mkdir()
    path = ours(named, "deb", out)
    data = path.read_bytes()
    return Package(
        name=named.spec.name,
        version=VERSION,
        architecture="all",
        format=PackageFormat.DEB,
        path=str(path),
        digest_sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        app="bench",
        commit="0" * 40,
    )


def _pin(package: Package) -> PackagePin:
    return PackagePin(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        digest_sha256=package.digest_sha256,
    )
