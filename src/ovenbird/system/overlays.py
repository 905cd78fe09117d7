"""What an overlay changed, as operations in a fixed order.

Source: kernel documentation, filesystems/overlayfs: a whiteout is a character device
0/0, an opaque directory hides what is below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest

NOT_IN_IMAGES = frozenset({"proc", "sys", "dev", "run", "tmp"})  # mount points of a machine
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
        InvalidRequest: A name holds a line break, which no tool below can carry.
    """
    links: dict[int, str] = {}
    found = list(_walk(upper, lower, "", links))
    removed = [change for change in found if isinstance(change, Removed)]
    return (*removed, *(change for change in found if isinstance(change, Written)))


def _walk(upper: Path, lower: Path, rel: str, links: dict[int, str]) -> Iterator[Change]:
    names = _names(upper / rel)
    if rel and _opaque(upper / rel) and (lower / rel).is_dir():
        hidden = sorted(set(_names(lower / rel)) - set(names))
        yield from (Removed(path=f"{rel}/{name}") for name in hidden)
    for name in names:
        if not rel and name in NOT_IN_IMAGES:
            continue
        yield from _one(upper, lower, f"{rel}/{name}" if rel else name, links)


def _one(upper: Path, lower: Path, path: str, links: dict[int, str]) -> Iterator[Change]:
    if "\n" in path:
        raise InvalidRequest(f"The name {path!r} holds a line break", hint="Rename it")
    status = (upper / path).lstat()
    below = _lstat(lower / path)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        if below is not None:
            yield Removed(path=path)
        return
    written = Written(path=path, status=status, attributes=attributes(upper / path))
    if stat.S_ISDIR(status.st_mode):
        yield written
        yield from _walk(upper, lower, path, links)
    else:
        yield from _file(upper, lower, written, links)


def _file(upper: Path, lower: Path, written: Written, links: dict[int, str]) -> Iterator[Change]:
    path, status, below = written.path, written.status, _lstat(lower / written.path)
    if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
        if status.st_ino in links:
            yield Written(path=path, status=status, link_to=links[status.st_ino])
            return
        links[status.st_ino] = path
    elif below is not None and _same(upper / path, status, lower / path, below):
        return
    yield written


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def attributes(path: Path) -> dict[str, bytes]:
    """Return a path's extended attributes, without the overlay's own."""
    names = os.listxattr(path, follow_symlinks=False)
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


def _same(a: Path, status: os.stat_result, b: Path, below: os.stat_result) -> bool:
    """Tell whether nothing that an image keeps differs; times do not count."""
    facts = [(s.st_mode, s.st_uid, s.st_gid, s.st_rdev) for s in (status, below)]
    if facts[0] != facts[1] or attributes(a) != attributes(b):
        return False
    if stat.S_ISLNK(status.st_mode):
        return a.readlink() == b.readlink()
    if not stat.S_ISREG(status.st_mode):
        return True
    return status.st_size == below.st_size and a.read_bytes() == b.read_bytes()


def carried_over(change: Change, upper: Path, made: Path) -> bool:
    """Tell whether a change arrived in *made*: kind, mode, owner, bytes, attributes."""
    there = _lstat(made / change.path)
    if isinstance(change, Removed):
        return there is None or (upper / change.path).exists()
    if there is None:
        return False
    return stat.S_ISDIR(change.status.st_mode) or _same(
        upper / change.path, change.status, made / change.path, there
    )
