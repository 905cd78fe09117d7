"""What is inside of an image: packages and files, as its file system tells.

Files are kept one a line, as ``["/etc/hosts", 33188, 0, 0, 158, "", "9f2c..."]``: an image
has ten thousand and more, and a bake waits for the list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """A package that an image's package manager has installed.

    Args:
        manager: ``deb`` or ``rpm``.
        version: With the epoch where there is one, as ``1:2.0-3``.
        source: Name of the source package.
        maintainer: As the package says; of an rpm its vendor.
    """

    name: str
    version: str
    architecture: str
    manager: str = "deb"
    source: str = ""
    maintainer: str = ""


class ImageFile(NamedTuple):
    """One path of an image's root file system; a tuple, since there are so many.

    Args:
        path: Absolute; bytes that are no UTF-8 as Python's surrogates.
        mode: With the file type's bits, as ``stat`` has them.
        target: Of a symbolic link; empty otherwise.
        digest_sha256: Of a regular file, lowercase hex; empty otherwise.
    """

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    target: str = ""
    digest_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContents:
    """Everything in an image's root file system, each sorted: packages by name, files by path.

    Args:
        distribution: Name and version, as ``debian-12``; empty when the image does not say.
    """

    distribution: str = ""
    packages: tuple[InstalledPackage, ...] = ()
    files: tuple[ImageFile, ...] = ()


def lines_of(files: Iterable[ImageFile]) -> bytes:
    """Return files as they are kept: one JSON array a line; the same files, the same bytes."""
    return "".join(f"{json.dumps(file)}\n" for file in files).encode()


def files_of(lines: bytes) -> tuple[ImageFile, ...]:
    """Read what :func:`lines_of` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        rows = json.loads(b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]")
        return tuple(ImageFile(*row) for row in rows)
    except TypeError as error:
        raise ValueError(f"no list of files: {error}") from error
