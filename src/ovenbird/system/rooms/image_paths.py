"""Paths of an image that is mounted somewhere on this host: its links lead nowhere else.

Source: path_resolution(7), chroot(2).
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ovenbird.domain.errors import InvalidRequest

LINKS = 40  # followed on the way to one path, as the kernel does


def within(root: Path, target: str) -> Path:
    """Return where a path of an image is on this host; what it names may be a link, or missing.

    Args:
        root: The image's root.
        target: Absolute path in the image.

    Raises:
        InvalidRequest: The links on the way to it go in a circle.
    """
    return _walked(root, target, follow_last=False)


def resolved(root: Path, target: str) -> Path:
    """Return where what a path of an image leads to is on this host; it may be missing.

    Raises:
        InvalidRequest: The links on the way to it go in a circle.
    """
    return _walked(root, target, follow_last=True)


def make_directories(path: Path) -> None:
    """Make a directory and those above it; their modes do not depend on this process's umask."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        one.chmod(0o755)


def _walked(root: Path, target: str, *, follow_last: bool) -> Path:
    left, found, followed = list(PurePosixPath(target).parts[1:]), root, 0
    while left:
        part = left.pop(0)
        if part == "..":
            found = root if found == root else found.parent
        elif (left or follow_last) and (found / part).is_symlink():
            if (followed := followed + 1) > LINKS:
                raise InvalidRequest(f"The links on the way to `{target}` go in a circle")
            link = PurePosixPath(os.fspath((found / part).readlink()))
            found = root if link.is_absolute() else found
            left = [*(link.parts[1:] if link.is_absolute() else link.parts), *left]
        else:
            found /= part
    return found
