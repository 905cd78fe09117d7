"""Where a bake happens on this host: a base disk opened as a room, and what changed in it.

base_roots ─ an overlay over the base disk ─ commands, each in namespaces of its own
recipe ─ packages ─ clean ─ services checked ─ what differs by chance made the same
... closed: upper ─ debugfs ─▶ clone of the base disk ─▶ changed blocks
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.images import PackagePin
from ovenbird.domain.ports import Progress
from ovenbird.domain.recipes import RecipeStep
from ovenbird.system import apt
from ovenbird.system.disks import overlays
from ovenbird.system.disks.debugfs import EPOCH_S
from ovenbird.system.recipes import logs, steps
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.rooms import (
    applying,
    base_roots,
    cleaning,
    image_contents,
    installing,
    normalising,
    other_mounts,
    root_devices,
    services,
)
from ovenbird.system.rooms.applying import Applied
from ovenbird.system.rooms.base_roots import BaseRoot, WrittenInside
from ovenbird.system.rooms.hands import ChrootHands
from ovenbird.system.rooms.image_paths import within
from ovenbird.system.rooms.installing import Installer, Manager
from ovenbird.system.rooms.package_caches import PackageCaches, ReadState


class Workshop:
    """Opens base disks as rooms.

    Args:
        directory: For mounts and clones of bakes under way.
        cache: Between bakes: apt's indexes and archives, and tools that are lent to images.
    """

    def __init__(self, directory: Path, *, cache: Path) -> None:
        self._directory, self._cache = directory, cache

    @contextmanager
    def open(
        self, disk: Path, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[Room]:
        """Open a base disk as a room; nothing is left when the block ends.

        Args:
            disk: Base disk; only read.
            key: The bake's key; two bakes with one key wait for each other.
            repository: Where packages come from.
            progress: Told each line that programs print.
        """
        base_roots.sweep_dead(self._directory)
        place, cache = self._directory / key[:16], self._apt_cache(disk)
        with base_roots.opened(disk, place, bounded=True) as base, ExitStack() as stack:
            written = base_roots.written_inside()
            caches = base_roots.furnish(stack, base.root, cache=cache, written=written)
            root_devices.show(base.root, lower=base.lower, file_system=base.file_system)
            log = stack.enter_context(logs.kept(self._log(key), tell=progress))
            hands = ChrootHands(base.root, tell=log)
            installer = stack.enter_context(installing.connected(hands, repository))
            _age(base.root)
            _update(installer, repository, caches)
            yield Room(base, log=log, installer=installer, caches=caches, written=written)

    def contents(self, disk: Path) -> ImageContents:
        """Return packages and files of a disk that a machine has made; it is only read.

        Raises:
            InvalidRequest: It has no root file system that can be read here.
            CommandFailed: It cannot be mounted, or its packages cannot be listed.
        """
        base_roots.sweep_dead(self._directory)
        with base_roots.looked_into(disk, self._directory / f"read-{disk.stem}") as root:
            return image_contents.read(root)

    def _log(self, key: str) -> Path:
        return self._directory / "logs" / f"{key[:16]}.log"

    def _apt_cache(self, disk: Path) -> Path:
        return self._cache / disk.stem


class Room:
    """A base disk's root file system that can be changed."""

    def __init__(
        self,
        base: BaseRoot,
        *,
        log: BakeLog,
        installer: Installer,
        caches: PackageCaches,
        written: Sequence[WrittenInside],
    ) -> None:
        self._base, self._log, self._written = base, log, written
        self._installer, self._caches = installer, caches
        self._changes: tuple[overlays.Change, ...] = ()
        self._applied = Applied()
        self._ours: frozenset[str] = frozenset()  # units and init scripts of our packages
        self._notes: tuple[str, ...] = ()

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        """Do one step of the recipe; a failing one fails the bake."""
        tools = self._caches.cache.parent / "tools"
        hands = self._installer.hands
        steps.perform(step, hands, directory=directory, log=self._log, tools=tools)

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions from our repository, signatures verified."""
        before = services.brought(self._base.upper)
        self._installer.install(pins)
        self._caches.keep_packages(besides={pin.name for pin in pins})
        if self._installer.manager is Manager.APT:
            self._ours = services.of_packages(self._base.root, {pin.name for pin in pins})
        else:
            self._ours = services.brought(self._base.upper) - before

    def clean(self) -> None:
        """Remove what must not be in an image, and mend what differs between two bakes."""
        cleaning.clean(self._installer.hands)
        for name, data, _ in self._written:
            _restore(self._base.root, self._base.lower, name, written=data)
        self._notes += normalising.normalise(
            self._base.root, upper=self._base.upper, lower=self._base.lower
        )

    def check(self) -> None:
        """Find what would be otherwise on the machine than it looks here.

        Raises:
            CommandFailed: A service of our packages would not start at boot.
            InvalidRequest: Files were written where the machine mounts another file system.
        """
        other_mounts.refuse_hidden(self._base.root, upper=self._base.upper)
        brought = services.brought(self._base.upper)
        self._notes += services.check(self._base.root, changed=brought, ours=self._ours)

    def changed_blocks(self) -> dict[int, bytes]:
        """Return index → bytes of the blocks in which the image differs from its base.

        Raises:
            CommandFailed: The changes could not be applied, or the result is not what the
                overlay shows.
        """
        self._changes = overlays.changes(self._base.upper, self._base.lower)
        self._applied = applying.apply(self._base, self._changes)
        return self._applied.blocks

    def total_blocks(self) -> int:
        """Return how many blocks of the image hold data; to be asked after the changes."""
        return self._applied.total

    def contents(self) -> ImageContents:
        """Return the packages and files of the image; to be asked after the changes."""
        return image_contents.changed(
            self._base.root,
            lower=self._base.lower,
            upper=self._base.upper,
            changes=self._changes,
            kept=self._caches.cache / image_contents.kept_name(self._base.origin.disk),
        )

    def notes(self) -> tuple[str, ...]:
        """Return what a person should know about the image; to be asked after the changes."""
        return (*self._notes, *self._applied.notes)


def _age(root: Path) -> None:
    """Let our source be as old as a base's: apt reads all indexes anew for a younger one.

    Source: apt 2.6, pkgcachegen.cc, CheckValidity; sourcelist.cc, GetLastModifiedTime.
    """
    path = within(root, apt.OURS)
    if path.is_file():
        os.utime(path, (EPOCH_S, EPOCH_S))


def _update(installer: Installer, repository: RepositoryState, caches: PackageCaches) -> None:
    """Read the indexes that are not known: our state's once, the distribution's when old."""
    fresh, state = caches.is_fresh(), _read_state(installer, repository)
    if fresh and state is not None and caches.knows(state):
        return
    installer.update(only_ours=fresh)
    caches.keep_indexes(state=state, all_read=not fresh)


def _read_state(installer: Installer, repository: RepositoryState) -> ReadState | None:
    """Return what tells a state that is a directory of this host from all others."""
    if installer.manager is not Manager.APT or not repository.url.startswith("file:"):
        return None
    top = Path(unquote(urlsplit(repository.url).path))
    release = top / "dists" / repository.suite / "InRelease"
    if not release.is_file():
        return None  # apt says it better
    parts = (release.read_bytes(), installer.keys, installer.url.encode())
    return ReadState(
        digest_sha256=hashlib.sha256(b"\0".join(parts)).hexdigest(),
        mark=f"_dists_{repository.suite}_",
    )


def _restore(root: Path, lower: Path, name: str, *, written: bytes) -> None:
    """Let a path be as in the base, unless a recipe has changed what was written there."""
    path, was = within(root, f"/{name}"), within(lower, f"/{name}")
    if path.is_symlink() or not path.is_file() or path.read_bytes() != written:
        return
    path.unlink()
    if was.is_symlink():
        path.symlink_to(was.readlink())
    elif was.exists():
        shutil.copy2(was, path)
        status = was.stat()
        os.chown(path, status.st_uid, status.st_gid)
