"""What is inside of an image, read from its root file system.

    the base's files, once for each snapshot, kept ─┐
                                                    ├─ the image's files
    what an overlay changed, read anew ─────────────┘
    the package managers' databases ──────────────────  its packages

Source: dpkg-query(1), deb822(5) of ``/var/lib/dpkg/status``; rpm(8), ``--dbpath``,
``--queryformat``; Fedora, "Relocate RPM database" (``/usr/lib/sysimage/rpm``).
"""

from __future__ import annotations

import bisect
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import zstandard

from ovenbird.domain.contents import ImageContents, ImageFile, InstalledPackage, files_of, lines_of
from ovenbird.system.commands import run
from ovenbird.system.disks.overlays import Change, Removed
from ovenbird.system.disks.root_file_systems import find_root

STATUS = "var/lib/dpkg/status"
INSTALLED = "install ok installed"
OS_RELEASES = ("usr/lib/os-release", "etc/os-release")
RPM_PLACES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
RPM_DATABASES = ("rpmdb.sqlite", "Packages.db", "Packages")
RPM_JOURNAL = "rpmdb.sqlite-wal"
RPM_FORMAT = (
    r"%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{VENDOR}\n"
)
TIMEOUT_S = 120.0
THREADS = 4  # hashing gives the interpreter's lock away
LEVEL = 3  # of Zstandard: 2 MB of lines become 0.6 MB in 10 ms
HEAD_BYTES = 72 * 1024  # superblocks: of XFS at 0, of ext4 at 1 KiB, of btrfs at 64 KiB


def read(root: Path) -> ImageContents:
    """Return packages and files of a root file system; every file is read."""
    return ImageContents(
        distribution=distribution(root), packages=packages(root), files=files(root)
    )


def changed(
    root: Path, *, lower: Path, upper: Path, changes: Sequence[Change], kept: Path
) -> ImageContents:
    """Return packages and files of a root file system that an overlay changed.

    Args:
        root: The overlay's merged view, for the databases of packages.
        lower: The base's root file system.
        upper: The overlay's upper directory.
        changes: What :func:`ovenbird.system.disks.overlays.changes` found in them.
        kept: File that keeps the base's list; made when it is missing or damaged.
    """
    return ImageContents(
        distribution=distribution(root),
        packages=packages(root),
        files=with_changes(kept_files(lower, kept), changes, upper),
    )


def kept_files(root: Path, kept: Path) -> tuple[ImageFile, ...]:
    """Return the files of a root that never changes: read once, then kept."""
    with suppress(OSError, ValueError):
        return unpacked(kept.read_bytes())
    found = files(root)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=f".{kept.name}-") as part:
        part.write(packed(found))
        part.flush()
        kept.unlink(missing_ok=True)
        with suppress(FileExistsError):  # another bake of the same base was as fast
            os.link(part.name, kept)
    return found


def kept_name(disk: Path) -> str:
    """Return how the file is called that keeps a base disk's list.

    Ids of snapshots are unique in one cloud: two sandboxes may have the same for other bytes,
    but not the same head of a file system, which counts what was written to it.
    """
    with disk.open("rb") as file:
        head = os.pread(file.fileno(), HEAD_BYTES, find_root(disk).offset)
    return f"files-{disk.stem}-{hashlib.sha256(head).hexdigest()[:12]}.jsonl.zst"


def packed(found: Sequence[ImageFile]) -> bytes:
    """Return files as they are kept: lines, compressed; the same files, the same bytes."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(lines_of(found))


def unpacked(data: bytes) -> tuple[ImageFile, ...]:
    """Read what :func:`packed` made.

    Raises:
        ValueError: It is something else.
    """
    reading = zstandard.ZstdDecompressor().decompressobj()
    try:
        lines = reading.decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"no list of files: {error}") from error
    if not reading.eof:  # a list that is cut short unpacks well
        raise ValueError("no list of files: its end is missing")
    return files_of(lines)


def with_changes(
    base: Sequence[ImageFile], changes: Sequence[Change], upper: Path
) -> tuple[ImageFile, ...]:
    """Return the base's files with an overlay's changes, whose files are read."""
    found = {file.path: file for file in base}
    names = [file.path for file in base]
    written: dict[str, os.stat_result] = {}
    for change in changes:
        path = f"/{change.path}"
        if isinstance(change, Removed):
            _drop(found, names, path)
            continue
        if path in found and not stat.S_ISDIR(change.status.st_mode):
            _drop(found, names, path)  # what was a directory there took its files along
        written[path] = change.status
    with ThreadPoolExecutor(THREADS) as pool:
        rows = pool.map(lambda item: _file(upper / item[0][1:], *item), written.items())
        found.update((row.path, row) for row in rows)
    return tuple(sorted(found.values()))


def _drop(found: dict[str, ImageFile], names: Sequence[str], path: str) -> None:
    """Remove a path and all below it."""
    found.pop(path, None)
    first = bisect.bisect_left(names, f"{path}/")
    for name in names[first : bisect.bisect_left(names, f"{path}0")]:  # `0` follows `/`
        found.pop(name, None)


def files(root: Path) -> tuple[ImageFile, ...]:
    """Return every path but the root itself, by path, on this file system alone."""
    with ThreadPoolExecutor(THREADS) as pool:
        rows = pool.map(lambda found: _file(*found), list(_walked(root)), chunksize=64)
        return tuple(sorted(rows))


def _walked(root: Path) -> Iterator[tuple[Path, str, os.stat_result]]:
    device, length = root.lstat().st_dev, len(str(root))
    for directory, names, others in os.walk(root):
        for name in [*names, *others]:
            path = Path(directory, name)
            status = path.lstat()
            yield path, str(path)[length:], status
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
        target=os.fspath(path.readlink()) if is_link else "",
        digest_sha256=_digest(path) if is_file else "",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def distribution(root: Path) -> str:
    """Return a root's distribution, as ``debian-12``. Source: os-release(5)."""
    for name in OS_RELEASES:
        path = root / name
        if not path.is_symlink() and path.is_file():  # a link may lead out of the root
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            told = dict(line.split("=", 1) for line in lines if "=" in line)
            words = [told.get(key, "").strip("\"'") for key in ("ID", "VERSION_ID")]
            return "-".join(word for word in words if word)
    return ""


def packages(root: Path) -> tuple[InstalledPackage, ...]:
    """Return what a root's package managers have installed, by name.

    Raises:
        CommandFailed: The database is rpm's, and `rpm` is not installed or cannot read it.
    """
    found = [*_debs(root), *_rpms(root)]
    return tuple(sorted(found, key=lambda one: (one.name, one.architecture, one.version)))


def _debs(root: Path) -> Iterator[InstalledPackage]:
    status = root / STATUS
    if not status.exists():
        return
    for paragraph in status.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = _fields(paragraph)
        if fields.get("Status") == INSTALLED:
            yield InstalledPackage(
                name=fields["Package"],
                version=fields["Version"],
                architecture=fields.get("Architecture", ""),
                source=fields.get("Source", "").partition(" ")[0],
                maintainer=fields.get("Maintainer", ""),
            )


def _fields(paragraph: str) -> Mapping[str, str]:
    lines = (line.split(": ", 1) for line in paragraph.splitlines() if not line.startswith(" "))
    return {line[0]: line[1] for line in lines if len(line) > 1}


def _rpms(root: Path) -> Iterator[InstalledPackage]:
    place = next((root / name for name in RPM_PLACES if _has_database(root / name)), None)
    if place is None:
        return
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as copy:  # rpm locks what it reads
        for name in (*RPM_DATABASES, RPM_JOURNAL):
            if (place / name).exists():
                shutil.copyfile(place / name, Path(copy, name))
        argv = ["rpm", "--dbpath", copy, "--query", "--all", "--queryformat", RPM_FORMAT]
        listed = run(argv, timeout_s=TIMEOUT_S)
    for line in listed.splitlines():
        name, version, architecture, source, vendor = line.split("\t")
        if name != "gpg-pubkey":  # a key that rpm trusts, and no package
            yield InstalledPackage(
                name=name,
                version=version,
                architecture=architecture,
                manager="rpm",
                source=source.rsplit("-", 2)[0] if source != "(none)" else "",
                maintainer=vendor if vendor != "(none)" else "",
            )


def _has_database(place: Path) -> bool:
    return any((place / name).exists() for name in RPM_DATABASES)
