"""What is inside package files of any format: told apart by content, read member by member.

    deb        ar: debian-binary, control.tar.*, data.tar.*, _gpgorigin    by dpkg-deb
    rpm        lead, signatures, header, cpio                              by rpm2archive
    apk        gzip: a tar each of signature, control and data, in a row   by tarfile
    archlinux  zstd, xz or gzip: one tar, dot files first                  by tarfile

A package is never extracted as it stands: only regular files are written, below a directory
of ours, so that no link and no `..` in a hostile package leads out of it.

Source: deb(5); rpm, docs/manual/format_v4.md; Alpine wiki, "Apk spec"; PKGBUILD(5).
"""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

import zstandard

from ovenbird.domain.errors import CommandFailed, InvalidRequest, NotFound
from ovenbird.domain.packages import PackageFormat
from ovenbird.system.commands import piped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TIMEOUT_S = 600.0
HEAD_BYTES = 512
CHUNK_BYTES = 1 << 16
_AR, _RPM, _GZIP = b"!<arch>\ndebian-binary", b"\xed\xab\xee\xdb", b"\x1f\x8b"
_ZSTD, _XZ = b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
# What tells a package of Arch Linux from one of Alpine. Source: PKGBUILD(5), makepkg(8).
_ARCH_ONLY = {".MTREE", ".BUILDINFO", ".INSTALL"}
_CONTROL = {*_ARCH_ONLY, ".PKGINFO", ".CHANGELOG"}
_HOOKS = ("pre-install", "post-install", "pre-upgrade", "post-upgrade")
_APK_CONTROL = {".trigger", ".pre-deinstall", ".post-deinstall", *(f".{name}" for name in _HOOKS)}
_TYPES = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
# Source: System V ABI, ELF header, e_machine; names are Debian's.
_MACHINES = {
    3: "i386", 8: "mips", 21: "ppc64el", 22: "s390x", 40: "armhf", 62: "amd64", 183: "arm64",
    243: "riscv64", 258: "loong64",
}  # fmt: skip
_BROKEN = (
    tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
    zstandard.ZstdError, ValueError,  # a number that is none
    NotADirectoryError, IsADirectoryError, FileExistsError,  # a path that is a file and not one
)  # fmt: skip


def format_of(path: Path) -> PackageFormat:
    """Tell a package's format by its content.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: It is no package of a known format.
    """
    with _opened(path) as file:
        head = file.read(32)
    if head.startswith(_AR):
        return PackageFormat.DEB
    if head.startswith(_RPM):
        return PackageFormat.RPM
    if head.startswith((_ZSTD, _XZ)):  # Alpine has gzip alone
        return PackageFormat.ARCHLINUX
    if head.startswith(_GZIP) and (names := _first_names(path)):
        return PackageFormat.ARCHLINUX if names & _ARCH_ONLY else PackageFormat.APK
    raise InvalidRequest(
        f"`{path}` is not a deb, rpm, apk or Arch Linux package",
        hint="It is told by its content, whatever the name of the file is",
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged package makes of its readers into one error.

    Raises:
        InvalidRequest: The block met a damaged package.
    """
    try:
        yield
    except CommandFailed as error:
        if "status" not in error.facts:
            raise
        lines = str(error.facts.get("stderr", "")).strip().splitlines() or [str(error)]
        raise _damaged(path, lines[-1]) from error
    except _BROKEN as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def _damaged(path: Path, words: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{path}` is damaged, or no package: {words}",
        hint="Is it whole? Build it, or copy it, again",
    )


@contextmanager
def archive(path: Path, format_: PackageFormat) -> Iterator[tarfile.TarFile]:
    """Open what a package installs as a stream: each member is read when it comes, or never.

    For apk and archlinux the members of :func:`is_control` come with it.
    """
    streams = {PackageFormat.DEB: _deb, PackageFormat.RPM: _rpm}
    with (
        streams.get(format_, _decompressed)(path) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        yield tar
        while stream.read(CHUNK_BYTES):  # checksums stand behind the last member
            pass


@contextmanager
def _deb(path: Path) -> Iterator[IO[bytes]]:
    with piped(["dpkg-deb", "--fsys-tarfile", path], timeout_s=TIMEOUT_S) as pipe:
        yield pipe


@contextmanager
def _rpm(path: Path) -> Iterator[IO[bytes]]:
    argv = ["rpm2archive", "--nocompression", "-"]
    with path.open("rb") as file, piped(argv, timeout_s=TIMEOUT_S, stdin=file) as pipe:
        yield pipe


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"`{path}` does not exist") from error
    except OSError as error:
        raise InvalidRequest(f"`{path}` cannot be read: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    with _opened(path) as file:
        head = file.read(6)
        file.seek(0)
        with _stream(file, head) as stream:
            yield stream


def _stream(file: IO[bytes], head: bytes) -> IO[bytes]:
    if head.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if head.startswith(_XZ):
        return cast("IO[bytes]", lzma.LZMAFile(file))
    return cast("IO[bytes]", _Zstandard(file))


class _Zstandard(io.RawIOBase):
    """Zstd frames as a stream, which says so when a frame breaks off.

    The library's own stream ends there as if all was well (measured on 2026-11-25, 0.25.0).
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._frame = file, zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer as far as there is something."""
        while not self._ready:
            packed = self._frame.unused_data or self._file.read(CHUNK_BYTES)
            if not packed and not self._frame.eof:
                raise EOFError("the zstd frame breaks off")
            if not packed:
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._ready = memoryview(self._frame.decompress(packed))
        view = memoryview(buffer)
        taken, self._ready = self._ready[: len(view)], self._ready[len(view) :]
        view[: len(taken)] = taken
        return len(taken)


def _first_names(path: Path) -> set[str]:
    """Return the names with which a package of Alpine or Arch Linux begins; else nothing."""
    names = set()
    try:
        with _decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                names.add(member.name)
                if not is_control(member.name):
                    break
    except _BROKEN:
        pass  # what was read before it broke off is enough to tell
    return names if ".PKGINFO" in names else set()


def is_control(name: str) -> bool:
    """Tell whether a member of an apk or archlinux package describes it, and is not installed."""
    return name in _CONTROL or name in _APK_CONTROL or name.startswith(".SIGN.")


def installed_path(name: str) -> str:
    """Return the absolute path that a member is installed at."""
    return "/" + "/".join(part for part in PurePosixPath(name).parts if part not in {"/", "."})


def mode_of(member: tarfile.TarInfo) -> int:
    """Return a member's mode with its type, as ``stat`` has it.

    Links have all bits, as on Linux; nfpm writes bits of Go's own into some modes
    (measured on 2026-11-25 with 2.48.0: directories of a tree in archlinux).
    """
    kind = _TYPES.get(member.type, stat.S_IFREG)
    return kind | (0o777 if kind == stat.S_IFLNK else member.mode & 0o7777)


def interpreter_of(head: bytes) -> str:
    """Return what follows ``#!`` in a script's first line; else nothing.

    Source: execve(2), "Interpreter scripts".
    """
    if not head.startswith(b"#!"):
        return ""
    return head[2:].partition(b"\n")[0].decode(errors="replace").strip()


def machine_of(head: bytes) -> str:
    """Return what an ELF file runs on; else nothing.

    Source: System V ABI, ELF header: byte 5 is the byte order, 18 and 19 the machine.
    """
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        return ""
    (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    return _MACHINES.get(number, str(number))


@contextmanager
def unpacked(
    path: Path, format_: PackageFormat, *, wanted: Callable[[str], bool] | None = None
) -> Iterator[Path]:
    """Unpack a package's regular files into a directory that is gone when the block ends.

    Links, devices, owners and modes are left out: a link could lead out of the directory.

    Args:
        path: The package file.
        format_: Its format.
        wanted: Told each absolute path as it is installed; all of them by default.

    Raises:
        InvalidRequest: The package is damaged, or a path in it leads out of it.
    """
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
        top = Path(directory)
        with reading(path), archive(path, format_) as tar:
            for member in tar:
                where = installed_path(member.name)
                if ".." in PurePosixPath(where).parts:
                    raise InvalidRequest(f"`{path}` holds `{member.name}`, which leads out of it")
                if (
                    member.isfile()
                    and not is_control(member.name)
                    and (not wanted or wanted(where))
                ):
                    _write(tar, member, top / where.lstrip("/"))
        yield top


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is not None:
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
