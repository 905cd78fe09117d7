"""What a package installs: each path once, with its mode and owner said, and none from outside.

Directories are walked here rather than by nfpm: so modes do not hang on the umask of whoever
built, times are the commit's, and nothing is copied. (nfpm's trees take both from the file
system; measured on 2026-11-23.)

Source: nfpm's configuration reference, ``contents``.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Content, ContentKind, PackageFormat, PackageSpec
from ovenbird.packaging.writing.system_directories import is_the_systems

_TYPES = {  # nfpm's words
    ContentKind.CONFIG: "config|noreplace",
    ContentKind.CONFIG_REPLACED: "config",
    ContentKind.CONFIG_MISSING_OK: "config|missingok",
    ContentKind.GHOST: "ghost",
    ContentKind.DIR: "dir",
    ContentKind.SYMLINK: "symlink",
    ContentKind.DOC: "doc",
    ContentKind.LICENSE: "license",
    ContentKind.README: "readme",
}
_CONFIGS = frozenset(
    {ContentKind.CONFIG, ContentKind.CONFIG_REPLACED, ContentKind.CONFIG_MISSING_OK}
)
_UNSAFE = frozenset({"Cc", "Cs"})  # control characters, and bytes that are not UTF-8
# nfpm leaves them out of everything but rpm; elsewhere they are files.
_OF_RPM = frozenset({ContentKind.DOC, ContentKind.LICENSE, ContentKind.README})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of a package.

    Args:
        path: Absolute, on the machine.
        kind: nfpm's word: empty for a plain file.
        source: Absolute path of the file on this host, a link's target, or empty.
        mode: Permission bits; 0 for a link.
        place: Where the manifest says it.
        said: Whether the manifest names this very path, not a tree that holds it.
    """

    path: str
    kind: str
    source: str
    mode: int
    owner: str
    group: str
    place: str
    said: bool = True

    @property
    def is_directory(self) -> bool:
        """Tell whether other paths can lie below it."""
        return self.kind == "dir"


def entries(spec: PackageSpec, format_: PackageFormat, checkout: Path) -> tuple[Entry, ...]:
    """Return everything that a package installs in one format, sorted by path.

    Args:
        spec: What the manifest says.
        format_: The format.
        checkout: The built tree that contents are taken from.

    Raises:
        InvalidRequest: A content is not there, leaves the checkout or is no file where it
            must be one; two contents have one path. Names the manifest's key.
    """
    override = spec.overrides.get(format_)
    umask = spec.umask if override is None or override.umask is None else override.umask
    found: dict[str, Entry] = {}
    for content in spec.contents_of(format_):
        for entry in _entries(content, format_, checkout, umask):
            add(found, entry)
    return settled(found)


def add(found: dict[str, Entry], entry: Entry) -> None:
    """Add an entry to those that are there, by path.

    A directory that several trees have is one directory, and its own entry says its mode.

    Raises:
        InvalidRequest: Something else has its path.
    """
    there = found.get(entry.path)
    if there is None or (there.is_directory and entry.is_directory and not there.said):
        found[entry.path] = entry
    elif not (there.is_directory and entry.is_directory and not entry.said):
        raise InvalidRequest(
            f"{entry.place}: `{entry.path}` is there already, by {there.place}",
            hint="Install one of the two elsewhere, or give each its `formats`",
            place=entry.place,
        )


def settled(found: dict[str, Entry]) -> tuple[Entry, ...]:
    """Return entries sorted by path.

    Raises:
        InvalidRequest: One lies below another that is no directory.
    """
    fine: set[str] = {""}
    for entry in found.values():
        if entry.path[: entry.path.rfind("/")] in fine:
            continue  # and so is all above it
        for path in _above(entry.path):
            if path in fine:
                break
            above = found.get(path)
            if above is not None and not above.is_directory:
                raise InvalidRequest(
                    f"{entry.place}: `{entry.path}` lies below `{above.path}`, which is no"
                    f" directory ({above.place})",
                    place=entry.place,
                )
            fine.add(path)
    return tuple(found[path] for path in sorted(found))


def _above(path: str) -> Iterator[str]:
    """Yield the directories above a path, from the nearest up; not the root."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def parents(found: Iterable[Entry], package: str, format_: PackageFormat) -> Iterator[Entry]:
    """Yield the directories above entries that no entry is, owned by root.

    nfpm would give them to the owner of what lies in them (measured on 2026-11-25 with nfpm
    2.48), who could then replace configuration that root wrote. An rpm that names a directory
    owns it: there only those that carry the package's name, so that they go with it.
    """
    paths = {entry.path for entry in found}
    above: set[str] = set()
    for path in paths:
        if path[: path.rfind("/")] in above:
            continue  # and so is all above it
        for parent in _above(path):
            if parent in above:
                break
            above.add(parent)
    for path in sorted(above - paths):
        if format_ is not PackageFormat.RPM or package in path.split("/"):
            yield Entry(
                path=path,
                kind="dir",
                source="",
                mode=0o755,
                owner="root",
                group="root",
                place="",
                said=False,
            )


def inside(checkout: Path, origin: str, *, place: str) -> Path:
    """Return the path of something in the checkout, all links followed.

    Raises:
        InvalidRequest: It is not there, or outside of the checkout.
    """
    top = checkout.resolve()
    try:
        path = (top / origin).resolve()
    except (RuntimeError, OSError) as error:  # RuntimeError until Python 3.13
        raise InvalidRequest(
            f"{place}: `{origin}` is a link that leads nowhere, or in a circle", place=place
        ) from error
    if not path.is_relative_to(top):
        raise InvalidRequest(
            f"{place}: `{origin}` is outside of the checkout",
            hint="Let the build copy it into the checkout",
            place=place,
        )
    if not path.exists():
        raise InvalidRequest(
            f"{place}: `{origin}` does not exist after the build",
            hint="Look at `package.build` and at the build's log",
            place=place,
        )
    return path


def _entries(
    content: Content, format_: PackageFormat, checkout: Path, umask: int
) -> Iterator[Entry]:
    path = _destination(content)
    if content.mode == 0:
        raise InvalidRequest(f"{content.place}: nfpm cannot say mode 0", place=content.place)
    match content.kind:
        case ContentKind.GHOST if format_ is not PackageFormat.RPM:
            return  # made by something else; scripts remove it
        case ContentKind.GHOST:
            yield _entry(content, path, mode=content.mode or 0o666 & ~umask)
        case ContentKind.DIR:
            yield _entry(content, path, mode=content.mode or 0o777 & ~umask)
        case ContentKind.SYMLINK:
            yield _entry(content, path, source=content.origin)
        case _:
            origin = inside(checkout, content.origin, place=content.place)
            if origin.is_dir():
                yield from _tree(content, path, origin, format_, umask)
            else:
                yield _file(content, path, origin, format_, umask)


def _destination(content: Content) -> str:
    raw = content.destination
    if not raw.startswith("/") or ".." in raw.split("/"):
        raise InvalidRequest(
            f"{content.place}: `{raw}` is not an absolute path on the machine",
            place=content.place,
        )
    return _named(content, str(PurePosixPath("/", *PurePosixPath(raw).parts[1:])))


def _entry(content: Content, path: str, *, mode: int = 0, source: str = "") -> Entry:
    return Entry(
        path=path,
        kind=_TYPES[content.kind],
        source=source,
        mode=mode,
        owner=content.owner,
        group=content.group,
        place=content.place,
    )


def _file(content: Content, path: str, origin: Path, format_: PackageFormat, umask: int) -> Entry:
    if content.kind is ContentKind.TREE:
        raise InvalidRequest(
            f"{content.place}: `{content.origin}` is no directory",
            hint="Leave `kind: tree` out for one file",
            place=content.place,
        )
    return Entry(
        path=path,
        kind=_type(content.kind, format_),
        source=str(origin),
        mode=_mode(content, origin.stat(), umask),
        owner=content.owner,
        group=content.group,
        place=content.place,
    )


def _tree(
    content: Content, path: str, origin: Path, format_: PackageFormat, umask: int
) -> Iterator[Entry]:
    """Yield all that is in a directory; links stay links.

    Directories that are the system's own are left to it.
    """
    if content.kind in _CONFIGS:
        raise InvalidRequest(
            f"{content.place}: `{content.origin}` is a directory: configuration is kept by file",
            hint="Name each configuration file, or leave `kind` out",
            place=content.place,
        )
    kind = _type(content.kind, format_)
    if not is_the_systems(path):
        yield _part(content, path, "dir", "", _mode(content, origin.stat(), umask))
    with os.scandir(origin) as children:
        sorted_children = sorted(children, key=lambda child: child.name)
    for found in sorted_children:
        below = f"{path.rstrip('/')}/{_named(content, found.name)}"
        if found.is_symlink():
            target = os.fspath(Path(found.path).readlink())
            yield _part(content, below, "symlink", _named(content, target), 0)
        elif found.is_dir():
            yield from _tree(content, below, Path(found.path), format_, umask)
        else:
            mode = _mode(content, found.stat(), umask)
            yield _part(content, below, kind, found.path, mode)


def _part(content: Content, path: str, kind: str, source: str, mode: int) -> Entry:
    return Entry(
        path=path,
        kind=kind,
        source=source,
        mode=mode,
        owner=content.owner,
        group=content.group,
        place=content.place,
        said=False,
    )


def _type(kind: ContentKind, format_: PackageFormat) -> str:
    if kind in _OF_RPM and format_ is not PackageFormat.RPM:
        return ""
    return _TYPES.get(kind, "")


def _mode(content: Content, status: os.stat_result, umask: int) -> int:
    """Return the mode that was asked for, or the plain one that git would have given.

    A directory that takes its mode from files can be entered where they can be read.
    """
    directory = stat.S_ISDIR(status.st_mode)
    if not directory and not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(
            f"{content.place}: `{content.origin}` is or holds what is no file, directory or link",
            place=content.place,
        )
    if content.mode is None:
        runs = directory or status.st_mode & 0o100
        return (0o777 if runs else 0o666) & ~umask
    if directory:
        plain = content.mode & 0o777
        return plain | (plain & 0o444) >> 2
    return content.mode


def _named(content: Content, name: str) -> str:
    """Return a name that package managers can carry: they keep lists of lines in UTF-8."""
    if name.isascii() and name.isprintable():
        return name
    if any(unicodedata.category(sign) in _UNSAFE for sign in name):
        raise InvalidRequest(
            f"{content.place}: `{content.origin}` holds a name with a control character or one"
            " that is not UTF-8",
            hint="Rename it in the build",
            place=content.place,
        )
    return name
