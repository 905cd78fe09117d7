"""Named bytes in a directory of this host: each write is all or nothing, and lasts.

    DIRECTORY/dists/candidate/InRelease     what readers see: whole files, mode 644
    DIRECTORY/.ovenbird/lock                held while names change
    DIRECTORY/.ovenbird/parts/...           files that are being written, mode 600

A file is written aside, brought to disk (``fsync``), and then gets its name by one rename or
one link, so a reader meets the old bytes, the new ones, or none; the directory is brought to
disk too before a call returns, so that after a power cut no name is left that points to
something which was not written. Files are never changed in place: a copy is a hard link.

Source: rename(2), link(2), fsync(2); measured on 2026-11-25 (ext4 on a virtual disk): a file
of 4 KiB takes 0.05 ms without any fsync, 0.35 ms with the file's, 0.44 ms with both.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.storing import stored_name
from ovenbird.system.caches import IDLE, full_disk_errors
from ovenbird.system.locks import file_lock

OWN = ".ovenbird"
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}  # too many, or never any
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DirectoryStorage:
    """The storage that a directory on one file system is.

    Args:
        directory: Where it lives; made by the first write.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory.absolute()
        self._own = self._root / OWN
        self._swept = False

    @property
    def url(self) -> str:
        """``file:/DIRECTORY``, as apt and dnf take it."""
        return f"file:{quote(str(self._root))}"

    def is_made(self) -> bool:
        """Tell whether the directory is there."""
        return self._root.is_dir()

    def ensure(self) -> bool:
        """Make the directory; tell whether it was made.

        Raises:
            InvalidRequest: It cannot be made.
        """
        if self.is_made():
            return False
        try:
            self._root.mkdir(parents=True)
        except OSError as error:
            raise InvalidRequest(
                f"`{self._root}` cannot be made: {error.strerror}", hint="Look at the settings"
            ) from error
        return True

    def read(self, name: str) -> bytes:
        """Return all bytes.

        Raises:
            NotFound: There is no such name.
        """
        with self.open(name) as (file, _size):
            return file.read()

    @contextmanager
    def open(self, name: str, *, start: int = 0) -> Iterator[tuple[BinaryIO, int]]:
        """Give the bytes as they come, from the byte *start* on, and the size of the whole.

        Raises:
            NotFound: There is no such name.
            OvenbirdError: It cannot be read.
        """
        path = self._path(name)
        with self._read_errors(name):
            try:
                file = path.open("rb")
            except _ABSENT as error:
                raise NotFound(f"`{name}` is not in `{self._root}`", name=name) from error
        with file:
            file.seek(start)
            yield file, os.fstat(file.fileno()).st_size

    def find(self, name: str) -> tuple[bytes, str] | None:
        """Return the bytes and their version (SHA-256), or nothing when they are not there."""
        try:
            data = self.read(name)
        except NotFound:
            return None
        return data, _version(data)

    def exists(self, name: str) -> bool:
        """Tell whether the name is there."""
        path = self._path(name)
        with self._read_errors(name):
            return path.is_file()

    def write(self, name: str, data: bytes | Path) -> None:
        """Store bytes, or the bytes of a file, whatever is there.

        Raises:
            NotFound: The file to store is gone.
            OvenbirdError: The disk is full, or refuses.
        """
        with self._part(name, data) as part, self._changing(name) as path:
            part.replace(path)

    def create(self, name: str, data: bytes | Path) -> bool:
        """Store bytes, or the bytes of a file, and return true, unless the name is there.

        Of several that try at once, exactly one stores.

        Raises:
            NotFound: The file to store is gone.
            OvenbirdError: The disk is full, or refuses.
        """
        if self.exists(name):
            return False
        with self._part(name, data) as part:
            return self._link(part, name)

    def swap(self, name: str, data: bytes, *, version: str | None) -> bool:
        """Store bytes and return true, if what is there has this version.

        Args:
            name: What to change.
            data: Its new bytes.
            version: As :meth:`find` gave it; None: the name must not be there.

        Raises:
            OvenbirdError: The disk is full, or refuses.
        """
        if version is None:
            return self.create(name, data)
        with self._part(name, data) as part, self._changing(name) as path:
            found = self.find(name)
            if found is None or found[1] != version:
                return False
            part.replace(path)
            return True

    def copy(self, source: str, target: str) -> None:
        """Store under a second name what is there under a first.

        Raises:
            NotFound: The first is not there.
            OvenbirdError: The disk is full, or refuses.
        """
        if not self.exists(source):
            raise NotFound(f"`{source}` is not in `{self._root}`", name=source)
        file = self._path(source)
        with self._part(target, file, linked=True) as part, self._changing(target) as path:
            part.replace(path)  # does nothing, and leaves the part, where both are one file

    def names(self, prefix: str) -> Iterator[str]:
        """Yield all names that start so, in the order of their bytes; symbolic links are none.

        Args:
            prefix: The first characters; need not end where a directory's name ends.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            stored_name(folder)
        for name in self._walk(folder):
            if name.startswith(prefix):
                yield name

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens when it is not there."""
        if not self.exists(name):
            return
        with self._changing(name) as path:
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self._root).parents:
                if folder == Path() or any((self._root / folder).iterdir()):
                    break
                (self._root / folder).rmdir()

    def _path(self, name: str) -> Path:
        """Return where a name lives.

        Raises:
            InvalidRequest: It is no good name, is ours, or leads out by a symbolic link.
        """
        path = self._root / stored_name(name)
        if name.partition("/")[0] == OWN:
            raise InvalidRequest(f"`{name}` is kept for the storage itself")
        if not os.path.realpath(path).startswith(f"{os.path.realpath(self._root)}/"):
            raise InvalidRequest(f"`{name}` leads out of `{self._root}`, by a symbolic link")
        return path

    def _walk(self, folder: str) -> Iterator[str]:
        with self._read_errors(folder):
            try:
                entries = list(os.scandir(self._root / folder))
            except _ABSENT:
                return
        for entry in sorted(entries, key=_sorted_as_key):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if name == OWN:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name)
            elif entry.is_file(follow_symlinks=False):
                yield name

    @contextmanager
    def _part(self, name: str, data: bytes | Path, *, linked: bool = False) -> Iterator[Path]:
        """Write bytes aside, on disk and ready to get their name; gone when the block ends."""
        self._path(name)
        with self._disk_errors(name):
            _make_folder(self._own / "parts")
            number, part_name = tempfile.mkstemp(dir=self._own / "parts")
            part = Path(part_name)
            try:
                with os.fdopen(number, "wb") as file:
                    self._sweep(part)
                    if not (linked and _linked(data, part)):
                        _fill(file, data)
                yield part
            finally:
                part.unlink(missing_ok=True)

    def _link(self, part: Path, name: str) -> bool:
        with self._changing(name) as path:
            try:
                path.hardlink_to(part)
            except FileExistsError:
                return False
            return True

    @contextmanager
    def _changing(self, name: str) -> Iterator[Path]:
        """Hold all names, so that the one can be changed; then bring the change to disk."""
        path = self._path(name)
        with self._disk_errors(name):
            with file_lock(self._own / "lock"):
                _make_folder(path.parent)
                yield path
            _sync_folder(path.parent)

    def _sweep(self, mine: Path) -> None:
        if not self._swept:
            self._swept = True
            self._forget_old_parts(now_s=mine.stat().st_ctime)  # by the file system's own clock

    def _forget_old_parts(self, *, now_s: float) -> None:
        """Remove what killed writers left; a part's ctime is that of its last write or link."""
        for part in (self._own / "parts").iterdir():
            try:
                if now_s - part.stat().st_ctime > IDLE.total_seconds():
                    part.unlink()
            except FileNotFoundError:
                continue  # its writer has ended just now

    @contextmanager
    def _read_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OvenbirdError(
                f"`{name}` cannot be read in `{self._root}`: {error.strerror}",
                hint=f"Who owns `{self._root}`, and is its disk well?",
            ) from error

    @contextmanager
    def _disk_errors(self, name: str) -> Iterator[None]:
        try:
            with full_disk_errors(self._root):
                yield
        except OSError as error:
            raise OvenbirdError(
                f"`{name}` cannot be stored in `{self._root}`: {error.strerror}",
                hint=f"Who owns `{self._root}`, and is there a directory or a file in the way?",
            ) from error


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sorted_as_key(entry: os.DirEntry[str]) -> bytes:
    """Return what sorts a directory's entries as the whole names below them sort."""
    return os.fsencode(f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name)


def _linked(data: bytes | Path, part: Path) -> bool:
    """Make the part a second name of a stored file; tell whether the file system can."""
    second = part.with_name(f"{part.name}.link")
    try:
        second.hardlink_to(data)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    second.replace(part)
    return True


def _fill(file: BinaryIO, data: bytes | Path) -> None:
    if isinstance(data, bytes):
        file.write(data)
    else:
        try:
            with data.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        except FileNotFoundError as error:
            raise NotFound(f"The file `{data}` is gone", hint="Make it again") from error
    file.flush()
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Make a directory and those above it, readable by all, whatever the umask is."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # removed by another since
    try:
        os.fsync(number)
    finally:
        os.close(number)
