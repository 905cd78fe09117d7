"""Trees of files: what they hold, as digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ovenbird.domain.errors import NotFound


def digests(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what files hold: path in *directory* → ``x`` or ``-``, and SHA-256 in hex.

    Of a symbolic link, the digest is that of its target's name.

    Args:
        directory: Holds them.
        names: Files, or directories with all that is in them, relative to it.

    Raises:
        NotFound: One of them is missing.
    """
    found: dict[str, str] = {}
    for name in names:
        for path in _files(directory, name):
            found[str(path.relative_to(directory))] = _digest(path)
    return dict(sorted(found.items()))


def _files(directory: Path, name: str) -> Iterator[Path]:
    top = directory / name
    if not top.is_symlink() and not top.exists():
        raise NotFound(f"`{name}` is not in the commit", hint="Mend `image.recipe`")
    if top.is_symlink() or not top.is_dir():
        yield top
        return
    for path in sorted(top.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"l {hashlib.sha256(str(path.readlink()).encode()).hexdigest()}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{'x' if path.stat().st_mode & 0o111 else '-'} {digest}"
