"""What an overlay changed, as operations in a fixed order.

Source: kernel documentation, filesystems/overlayfs: a whiteout is a character device
0/0, an opaque directory hides what is below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.disks import mapped_files

NOT_IN_IMAGES = frozenset({"proc", "sys", "dev", "run", "tmp"})  # mount points of a machine
THREADS = 4  # two wait for the disk while two compare
PIECE_BYTES = 1 << 20
WHOLE_BYTES = 64 << 20  # smaller files are compared in one piece
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A path of the lower file system is gone; a directory with all that was in it."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A path is new or was changed.

    Args:
        path: Relative to the root.
        link_to: The earlier path that this is a hard link to; empty for the first.
        attributes: Extended attributes, without the overlay's own.
    """

    path: str
    status: os.stat_result
    link_to: str = ""
    attributes: Mapping[str, bytes] = field(default_factory=dict)


Change = Removed | Written


def changes(upper: Path, lower: Path) -> tuple[Change, ...]:
    """Return what *upper* changes in *lower*: removals first, then paths, sorted.

    Files that were copied up but are as before are left out.

    Raises:
        InvalidRequest: A name or a link holds a line break, which no tool below can carry.
    """
    found = list(_Walk(upper, lower).directory("", below=True, hidden=False))
    removed = [change for change in found if isinstance(change, Removed)]
    return (*removed, *(change for change in found if isinstance(change, Written)))


class _Walk:
    """One walk through an upper directory; knows which inodes it has seen.

    Everywhere, *below* tells whether the lower tree has a real directory there (a symbolic
    link to one is none: its target's files are not the directory's), and *hidden* whether
    an opaque directory above covers it.
    """

    def __init__(self, upper: Path, lower: Path) -> None:
        self.upper, self.lower = upper, lower
        self.links: dict[int, str] = {}

    def directory(self, rel: str, *, below: bool, hidden: bool) -> Iterator[Change]:
        names = _names(self.upper / rel)
        if hidden and below:
            covered = sorted(set(_names(self.lower / rel)) - set(names))
            yield from (Removed(path=f"{rel}/{name}") for name in covered)
        for name in names:
            if rel or name not in NOT_IN_IMAGES:
                path = f"{rel}/{name}" if rel else name
                yield from self.one(path, below=below, hidden=hidden)

    def one(self, path: str, *, below: bool, hidden: bool) -> Iterator[Change]:
        _refuse_line_breaks(path, path)
        status = (self.upper / path).lstat()
        was = _lstat(self.lower / path) if below else None
        is_whiteout = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        if is_whiteout or stat.S_ISSOCK(status.st_mode):  # a socket is its process's
            if was is not None:
                yield Removed(path=path)
            return
        written = Written(path=path, status=status, attributes=attributes(self.upper / path))
        for name in written.attributes:
            _refuse_line_breaks(path, name)
        if not stat.S_ISDIR(status.st_mode):
            yield from self.file(written, was)
            return
        yield written
        real = was is not None and stat.S_ISDIR(was.st_mode)
        covers = hidden or _opaque(self.upper / path)
        yield from self.directory(path, below=real, hidden=covers)

    def file(self, written: Written, was: os.stat_result | None) -> Iterator[Change]:
        path, status = written.path, written.status
        if stat.S_ISLNK(status.st_mode):
            _refuse_line_breaks(path, os.fspath((self.upper / path).readlink()))
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            if status.st_ino in self.links:
                yield Written(path=path, status=status, link_to=self.links[status.st_ino])
                return
            self.links[status.st_ino] = path
        elif was is not None and _same(written, self.upper, self.lower / path, was):
            return
        yield written


def _refuse_line_breaks(path: str, text: str) -> None:
    # debugfs reads one command from each line, and ends it at a carriage return, too.
    if "\n" in text or "\r" in text:
        raise InvalidRequest(f"{text!r} at `/{path!r}` holds a line break", hint="Rename it")


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def attributes(path: Path) -> dict[str, bytes]:
    """Return a path's extended attributes, without the overlay's own."""
    names = os.listxattr(path, follow_symlinks=False)
    if not names:
        return {}
    own = ("trusted.overlay.", "user.overlay.")
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in sorted(names)
        if not name.startswith(own)
    }


def _opaque(path: Path) -> bool:
    names = os.listxattr(path)
    return any(name in names and os.getxattr(path, name) == b"y" for name in _OPAQUE)


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _same(
    written: Written, upper: Path, other: Path, below: os.stat_result, *, image: int | None = None
) -> bool:
    """Tell whether nothing that an image keeps differs; times do not count."""
    status, mine = written.status, upper / written.path
    facts = [(s.st_mode, s.st_uid, s.st_gid, s.st_rdev) for s in (status, below)]
    if facts[0] != facts[1] or written.attributes != attributes(other):
        return False
    if stat.S_ISLNK(status.st_mode):
        return mine.readlink() == other.readlink()
    if not stat.S_ISREG(status.st_mode):
        return True
    return status.st_size == below.st_size and _have_same_bytes(mine, other, image)


def _have_same_bytes(one: Path, other: Path, image: int | None) -> bool:
    if image is not None and one.stat().st_size <= WHOLE_BYTES:
        return one.read_bytes() == mapped_files.read(other, image)
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            data = first.read(PIECE_BYTES)
            if data != second.read(PIECE_BYTES):
                return False
            if not data:
                return True


def not_carried_over(
    changed: Sequence[Change], upper: Path, made: Path, *, image: Path | None = None
) -> list[str]:
    """Return the paths whose change did not arrive in *made*.

    Looked at is all that an image keeps: kind, mode, owner, bytes, attributes, links.

    Args:
        changed: What :func:`changes` found.
        upper: The overlay's upper directory.
        made: Where the image is mounted.
        image: The file that is mounted there, where it holds nothing but the file system.
    """
    with ExitStack() as stack, ThreadPoolExecutor(THREADS) as pool:
        file = stack.enter_context(image.open("rb")).fileno() if image else None
        look = partial(_carried_over, upper=upper, made=made, image=file)
        arrived = pool.map(look, changed)
        return [change.path for change, did in zip(changed, arrived, strict=True) if not did]


def _carried_over(change: Change, *, upper: Path, made: Path, image: int | None) -> bool:
    path = made / change.path
    there = _lstat(path)
    if isinstance(change, Removed):
        return there is None
    if there is None:
        return False
    if change.link_to:
        return os.path.samestat(there, (made / change.link_to).lstat())
    return _same(change, upper, path, there, image=image)
