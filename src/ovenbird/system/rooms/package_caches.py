"""Indexes and files of package managers, kept between bakes; each bake sees a view of its own.

    cache/{lists,apt,dnf}          kept, for all bakes of one base
      └ place/kept/NAME            hard links of now: nobody changes these names
          └ overlay ─▶ root/var/…  what is written there is the bake's alone, and not the image's

Nobody waits for the locks of another bake's apt, and nothing that a recipe writes reaches
another bake: indexes are kept right after they were read and verified, packages only when an
index kept so names their digest.

Source: apt.conf(5), ``Dir::State::lists``, ``Dir::Cache``; dnf.conf(5), ``cachedir``; apt takes
an archive that it has by its size alone (apt 2.6, pkgAcqArchive).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ovenbird.system.caches import IDLE
from ovenbird.system.disks.disks import mounted
from ovenbird.system.locks import file_lock
from ovenbird.system.rooms.image_paths import make_directories, resolved

FRESH_S = 3600.0  # how long the distribution's indexes are used before they are read again
KEPT_BYTES = 2 << 30  # of packages; the oldest go
KEPT_BASES = 8  # for which indexes and packages are kept; the least recently used go
_USED = "used"  # its time says when a bake began with the cache
_LISTS = "var/lib/apt/lists"
_PLACES = (("lists", _LISTS), ("apt", "var/cache/apt"), ("dnf", "var/cache/dnf"))
_NEVER = frozenset({"lock", "partial"})
_DIGEST = re.compile(rb"^SHA256: ([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadState:
    """A state of our repository that apt has read, or will.

    Args:
        digest_sha256: Of all that decides whether it is the same: its release file, the keys,
            where it is seen.
        mark: What the names of its indexes have in them, and no others.
    """

    digest_sha256: str
    mark: str


class PackageCaches:
    """A bake's view of what is kept for its base.

    Args:
        cache: What is kept; made when missing.
        place: As :func:`ovenbird.system.rooms.base_roots.opened` has it.
        root: The base's root file system.
    """

    def __init__(self, cache: Path, *, place: Path, root: Path) -> None:
        self.cache, self._place, self._root = cache, place, root
        self._names = [(name, where) for name, where in _PLACES if self._at(where).is_dir()]

    def show(self, stack: ExitStack) -> None:
        """Mount the view, until the stack closes."""
        for name, where in self._names:
            below, layer = self._place / "kept" / name, self._place / "layer/kept" / name
            _link_tree(self.cache / name, below)
            for part in ("upper", "work"):
                make_directories(layer / part)
            options = f"lowerdir={below},upperdir={layer}/upper,workdir={layer}/work"
            point = self._at(where)
            stack.enter_context(mounted("overlay", point, kind="overlay", options=options))
            if name != "dnf":
                make_directories(point / ("archives/partial" if name == "apt" else "partial"))

    def forget_unused(self) -> None:
        """Let caches of bases go that no bake has used for long; this one is used now."""
        used = self.cache / _USED
        used.parent.mkdir(parents=True, exist_ok=True)
        used.touch()
        others = [path for path in used.parents[1].glob(f"*/{_USED}") if path != used]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEPT_BASES - 1 :]:
            # A bake that is under way began later: its cache is never idle.
            if time.time() - path.stat().st_mtime > IDLE.total_seconds():
                shutil.rmtree(path.parent, ignore_errors=True)

    def is_fresh(self) -> bool:
        """Tell whether the distribution's indexes were read lately."""
        try:
            age = time.time() - (self.cache / "updated").stat().st_mtime
        except FileNotFoundError:
            return False
        return 0 <= age < FRESH_S and (self._place / "kept").exists()

    def knows(self, state: ReadState) -> bool:
        """Tell whether a state of our repository was read and verified, and is seen here."""
        note = self.cache / "known" / state.digest_sha256
        return note.exists() and note.read_text() == self._indexes(state) != ""

    def keep_indexes(self, *, state: ReadState | None, all_read: bool) -> None:
        """Keep what an update has read; to be called before anything else runs inside.

        Args:
            state: Of our repository.
            all_read: Whether the distribution's indexes were read, too.
        """
        with file_lock(self.cache / "kept.lock"):
            for name, _ in self._names:
                for path, rel in _regular(self._upper(name)):
                    if not rel.startswith("archives/"):
                        _keep(path, self.cache / name / rel)
            known = self.cache / "known"
            if all_read:
                self._forget_lists()
                shutil.rmtree(known, ignore_errors=True)
                (self.cache / "updated").touch()
            if state is not None:
                known.mkdir(exist_ok=True)
                (known / state.digest_sha256).write_text(self._indexes(state))

    def keep_packages(self, *, besides: Collection[str] = ()) -> None:
        """Keep the debs that were fetched, and that a kept index names.

        Args:
            besides: Names of packages that are not kept: ours are fetched and verified anew.
        """
        found = [
            (path, rel)
            for path, rel in _regular(self._upper("apt"))
            if rel.startswith("archives/") and rel.endswith(".deb")
            if path.name.partition("_")[0] not in besides
        ]
        if not found:
            return
        named = self._named_digests()
        with file_lock(self.cache / "kept.lock"):
            for path, rel in found:
                if path.is_file() and _digest(path) in named:
                    _keep(path, self.cache / "apt" / rel)
            _shrink(self.cache / "apt/archives", KEPT_BYTES)

    def _forget_lists(self) -> None:
        """Forget the lists that apt has removed, since no source names them any more."""
        for path in sorted((self.cache / "lists").iterdir()):
            if not (self._at(_LISTS) / path.name).exists():
                path.unlink(missing_ok=True)

    def _indexes(self, state: ReadState) -> str:
        """Return name and digest of each index of a state, as apt sees it in this root."""
        found = sorted(self._at(_LISTS).glob(f"*{state.mark}*"))
        return "".join(f"{path.name} {_digest(path).decode()}\n" for path in found)

    def _named_digests(self) -> frozenset[bytes]:
        lists = sorted((self.cache / "lists").glob("*_Packages"))
        return frozenset(digest for one in lists for digest in _DIGEST.findall(one.read_bytes()))

    def _at(self, where: str) -> Path:
        return resolved(self._root, f"/{where}")  # no link of the image leads out of it

    def _upper(self, name: str) -> Path:
        return self._place / "layer/kept" / name / "upper"


def _link_tree(source: Path, target: Path) -> None:
    """Show a directory's files of now in another: by hard links, or copies on another disk."""
    make_directories(target)
    source.mkdir(parents=True, exist_ok=True)
    for path, rel in _regular(source):
        make_directories((target / rel).parent)
        try:
            os.link(path, target / rel)
        except FileNotFoundError:
            continue  # it went meanwhile
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EMLINK, errno.EPERM}:
                raise
            shutil.copy2(path, target / rel)


def _regular(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, path below *top*) of regular files, but locks and what is half fetched."""
    for directory, names, files in os.walk(top):
        names[:] = sorted(set(names) - _NEVER)
        for name in sorted(set(files) - _NEVER):
            path = Path(directory, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path, str(path.relative_to(top))


def _keep(path: Path, target: Path) -> None:
    """Copy a file in one step, with its times, by which apt knows what it read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copy2(path, part)
    part.replace(target)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()


def _shrink(directory: Path, limit: int) -> None:
    found = sorted(directory.glob("*.deb"), key=lambda path: path.stat().st_ctime)
    size = sum(path.stat().st_size for path in found)
    for path in found:
        if size <= limit:
            return
        size -= path.stat().st_size
        path.unlink()
