"""Where a bake happens on this host: a base disk opened as a room, and what changed in it.

base_roots ─ an overlay over the base disk ─ commands, each in namespaces of its own
... closed: upper ─ applying ─▶ clone of the base ─▶ changed blocks
"""

from __future__ import annotations

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
from ovenbird.domain.recipes import STEP_TIMEOUT_S, RecipeStep
from ovenbird.system import applying, apt, base_roots, image_contents, overlays
from ovenbird.system.applying import Applied
from ovenbird.system.base_roots import INSIDE, BaseRoot
from ovenbird.system.disks import mounted
from ovenbird.system.hands import ChrootHands
from ovenbird.system.recipes import logs, steps
from ovenbird.system.recipes.logs import BakeLog

UNREAD = "apt says above which list it could not read, or whose signature is not its key's"
NOT_INSTALLED = "apt says above which package could not be fetched, verified or installed"


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
        place, cache = self._directory / key[:16], self._apt_cache(disk)
        with base_roots.opened(disk, place) as base, ExitStack() as stack:
            base_roots.furnish(stack, base.root, cache=cache)
            _connect(stack, base.root, repository)
            log = stack.enter_context(logs.kept(self._log(key), tell=progress))
            room = Room(base, log=log, cache=cache)
            room.update()
            yield room

    def _log(self, key: str) -> Path:
        return self._directory / "logs" / f"{key[:16]}.log"

    def _apt_cache(self, disk: Path) -> Path:
        return self._cache / disk.stem


class Room:
    """A base disk's root file system that can be changed."""

    def __init__(self, base: BaseRoot, *, log: BakeLog, cache: Path) -> None:
        self._base, self._log, self._cache = base, log, cache
        self._root = base.root
        self._hands = ChrootHands(self._root, tell=log)
        self._changes: tuple[overlays.Change, ...] = ()
        self._applied = Applied()

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        """Do one step of the recipe; a failing one fails the bake."""
        tools = self._cache.parent / "tools"
        steps.perform(step, self._hands, directory=directory, log=self._log, tools=tools)

    def update(self) -> None:
        """Read package indexes: our own always, the distribution's when they are old."""
        with base_roots.fresh_lists(self._cache) as fresh:
            self._run(apt.update(only_ours=fresh), said="apt-get update", hint=UNREAD)

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions from our repository, signatures verified by apt."""
        names = [f"{pin.name}={pin.version}" for pin in pins]
        said = f"apt-get install {' '.join(names)}"
        self._run(apt.install(names), said=said, hint=NOT_INSTALLED)

    def clean(self) -> None:
        """Remove what must not be in an image, and what differs between two bakes."""
        _clean(self._root)

    def check(self) -> None:
        """Find nothing to complain about."""

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
            self._root,
            lower=self._base.lower,
            upper=self._base.upper,
            changes=self._changes,
            kept=self._cache / image_contents.kept_name(self._base.origin.disk),
        )

    def notes(self) -> tuple[str, ...]:
        """Return what a person should know about the image; to be asked after the changes."""
        return self._applied.notes

    def _run(self, argv: list[str], *, said: str, hint: str) -> None:
        self._hands.run(argv, environment={}, timeout_s=STEP_TIMEOUT_S, said=said, hint=hint)


def _connect(stack: ExitStack, root: Path, repository: RepositoryState) -> None:
    """Let apt inside know our repository, which no recipe alters."""
    url = repository.url
    if url.startswith("file:"):
        published, inside = Path(unquote(urlsplit(url).path)), INSIDE / "repository"
        stack.enter_context(mounted(published, root / inside, bind=True, options="ro"))
        url = f"file:/{inside}"
    shutil.copyfile(repository.key_path, root / INSIDE / "key.gpg")
    line = apt.source(
        key=f"/{INSIDE}/key.gpg",
        url=url,
        suite=repository.suite,
        component=repository.component,
    )
    (root / apt.OURS.removeprefix("/")).write_text(line)


_GONE = (
    "usr/sbin/policy-rc.d", "etc/resolv.conf", apt.OURS.removeprefix("/"),
    "etc/ssh/ssh_host_*", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
    "etc/subuid-", "etc/subgid-", "etc/.pwd.lock", "root/.bash_history", "root/.ansible",
    "root/.wget-hsts", "root/.cache", "var/cache/apt/*.bin", "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/*-old", "var/lib/dpkg/*-old", "var/lib/systemd/random-seed",
    "var/lib/cloud/*", "var/lib/apt/extended_states~", "var/lib/dbus/machine-id",
)  # fmt: skip


def _clean(root: Path) -> None:
    for pattern in _GONE:
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    machine_id = root / "etc/machine-id"
    if not machine_id.exists() or machine_id.stat().st_size:
        machine_id.write_text("")
    for path in sorted((root / "var/log").rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            os.truncate(path, 0)  # the file stays, with owner and mode, for who writes to it
