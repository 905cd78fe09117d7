"""Trees of files: what they hold, as digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest, NotFound


def digests(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what files hold: path in *directory* → ``x`` or ``-``, and SHA-256 in hex.

    Of a symbolic link, the digest is that of its target's name; what a named one leads to
    is there, too.

    Args:
        directory: Holds them.
        names: Files, or directories with all that is in them, relative to it.

    Raises:
        NotFound: One of them is missing.
        InvalidRequest: One of them is outside of the directory, by a symbolic link.
    """
    found: dict[str, str] = {}
    for name in names:
        for path in _files(directory, name):
            found[str(path.relative_to(directory))] = _digest(path)
    return dict(sorted(found.items()))


def _files(directory: Path, name: str) -> Iterator[Path]:
    """Yield the files and links of a name; for a link itself, what it leads to as well."""
    named, top = directory / name, directory.resolve()
    real = named.resolve()
    if not real.is_relative_to(top):
        raise InvalidRequest(
            f"`{name}` leads out of the app's directory by a symbolic link",
            hint="Commit what it points to",
        )
    if not real.exists():
        raise NotFound(f"`{name}` is not in the commit", hint="Mend `image.recipe`")
    if named.is_symlink():
        yield named
    found = directory / real.relative_to(top)
    yield from _within(found) if found.is_dir() else (found,)


def _within(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"l {hashlib.sha256(str(path.readlink()).encode()).hexdigest()}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{'x' if path.stat().st_mode & 0o111 else '-'} {digest}"
