"""What is inside of an image, read from its mounted root file system.

Source: dpkg-query(1), deb822(5) of ``/var/lib/dpkg/status``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ovenbird.domain.contents import ImageContents, ImageFile, InstalledPackage

STATUS = "var/lib/dpkg/status"
INSTALLED = "install ok installed"


def read(root: Path) -> ImageContents:
    """Return packages and files of a root file system."""
    packages = sorted(_debs(root), key=lambda found: (found.name, found.architecture))
    return ImageContents(packages=tuple(packages), files=tuple(_files(root)))


def _debs(root: Path) -> Iterator[InstalledPackage]:
    status = root / STATUS
    if not status.exists():
        return
    for paragraph in status.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status") == INSTALLED:
            yield InstalledPackage(
                name=fields["Package"],
                version=fields["Version"],
                architecture=fields.get("Architecture", ""),
                source=fields.get("Source", "").partition(" ")[0],
                maintainer=fields.get("Maintainer", ""),
            )


def _files(root: Path) -> Iterator[ImageFile]:
    """Yield every path but the root itself, sorted, on this file system alone."""
    device = root.lstat().st_dev
    for directory, names, files in os.walk(root):
        names.sort()
        here = Path(directory)
        for name in sorted([*names, *files]):
            path = here / name
            status = path.lstat()
            yield _file(path, "/" + str(path.relative_to(root)), status)
            if name in names and status.st_dev != device:
                names.remove(name)


def _file(path: Path, shown: str, status: os.stat_result) -> ImageFile:
    is_file, is_link = stat.S_ISREG(status.st_mode), stat.S_ISLNK(status.st_mode)
    return ImageFile(
        path=shown,
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        size_bytes=status.st_size if is_file else 0,
        target=str(path.readlink()) if is_link else "",
        digest_sha256=_digest(path) if is_file else "",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
