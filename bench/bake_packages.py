"""Packages to bake, in a signed repository: 1 MB, 60 MB and 500 MB, the same on every machine.

Each bake begins from a repository state of its own, as each release does: so something else
is published before it, and whoever keeps indexes has to read this one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import trees
from bench.packagers import VERSION, ours
from bench.repositories import Packages, described
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


class Publisher:
    """Makes the packages once, and publishes them in one signed state after another."""

    def __init__(self, sizes: list[str], work: Path) -> None:
        self._packages = {size: _package(size, work) for size in sizes}
        self._others, self._directory = Packages(work / "others", "deb"), work / "repository"
        self._repository = PackageRepository(
            DirectoryStorage(self._directory), name="main", signer=SigningKey(work / "keys")
        )

    def publish(self) -> Published:
        """Publish all, with one more that nobody bakes: a state that nobody has read."""
        others = [described(path) for path in self._others.make(1)]
        state = self._repository.publish(
            [*self._packages.values(), *others], channel="candidate", at=AT
        )
        pins = {size: _pin(package) for size, package in self._packages.items()}
        return Published(pins=pins, state=state, directory=self._directory)


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
