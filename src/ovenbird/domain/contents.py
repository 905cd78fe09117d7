"""What is inside of an image: packages and files, as its file system tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """A package that an image's package manager has installed.

    Args:
        manager: ``deb`` or ``rpm``.
        source: Name of the source package.
        maintainer: As the package says.
    """

    name: str
    version: str
    architecture: str
    manager: str = "deb"
    source: str = ""
    maintainer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """One path of an image's root file system.

    Args:
        path: Absolute.
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
    """Everything in an image's root file system, each sorted: packages by name, files by path."""

    packages: tuple[InstalledPackage, ...] = ()
    files: tuple[ImageFile, ...] = ()
