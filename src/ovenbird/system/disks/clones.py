"""A file system that may be written to, beside one that may not.

What a bake writes goes to a clone: a file that begins where the file system begins. There
are four kinds, and one way to use them:

    outline   only metadata is there; a hole stands for what is as in the base (ext4)
    reflink   the host's file system shares the blocks (XFS, btrfs)
    copy      all that is no hole
    qcow2     a layer over the base, shown as a file by QEMU's storage daemon

An outline of 500 MB takes 0.05 s where a copy takes 0.3 s, and only what is in it can have
changed (measured on 2026-11-28). It needs a place whose holes are as fine as the file
system's blocks, and each place is asked.

Source: e2image(8); lseek(2), SEEK_DATA; ioctl_ficlonerange(2); copy_file_range(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents
from ovenbird.domain.errors import OvenbirdError
from ovenbird.system.commands import run
from ovenbird.system.disks import layers
from ovenbird.system.disks.disks import extents_between
from ovenbird.system.disks.root_file_systems import RootFileSystem

PAGE_BYTES = 4096
CHUNK_BYTES = 8 << 20
SPARE_BYTES = 512 << 20  # for what a bake writes
LARGE_BYTES = 8 << 30  # more than this takes longer to copy than a layer costs
THREADS = 2  # comparing reads two files; more threads are no faster (measured on 2026-11-23)
TIMEOUT_S = 600.0
FICLONERANGE = 0x4020940D

Span = tuple[int, int]  # first byte, byte after the last
Written = Callable[[], list[Span]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A clone of a root file system.

    Args:
        base: What it was made from.
        origin: The root file system as it was downloaded: the base, or the base before its
            journal was replayed.
        path: The file; the file system begins with its first byte.
        written: Tells which spans of the file hold what may differ from the base; what lies
            between is as in the base. None when all of the file counts.
    """

    base: RootFileSystem
    origin: RootFileSystem
    path: Path
    kind: str
    written: Written | None = None

    @property
    def root(self) -> RootFileSystem:
        """The file system in it."""
        return replace(self.base, disk=self.path, offset=0)

    def changed_blocks(self) -> dict[int, bytes]:
        """Return index → bytes of the disk's blocks that differ from the origin's."""
        with ExitStack() as stack:
            origin = _Layer(stack, self.origin, [])
            whole = [(0, self.base.size)]
            made = _Layer(stack, self.root, self.written() if self.written else whole)
            suspects = made.spans if self.written else [*made.data(), *origin.data()]
            over = [made]
            if self.base != self.origin:
                base = _Layer(stack, self.base, whole)
                over, suspects = [base, made], [*suspects, *base.data(), *origin.data()]
            shift = self.origin.offset
            spans = ((start + shift, end + shift) for start, end in _joined(suspects))
            compared = partial(_compared, origin=origin, over=over)
            with ThreadPoolExecutor(THREADS) as pool:
                found = pool.map(compared, list(blocks_of_extents(spans)))
                return {index: block for index, block in found if block is not None}


class _Layer:
    """A file that holds a file system, or some spans of it, open for reading."""

    def __init__(self, stack: ExitStack, root: RootFileSystem, spans: list[Span]) -> None:
        self.root, self.spans = root, spans
        self._starts = [start for start, _ in spans]
        self._file = stack.enter_context(root.disk.open("rb")).fileno()

    def data(self) -> Iterator[Span]:
        """Yield what is no hole, in bytes of the file system."""
        start = self.root.offset
        for first, last in extents_between(self._file, start, start + self.root.size):
            yield first - start, last - start

    def block(self, index: int) -> bytes:
        """Return a block of the disk."""
        return os.pread(self._file, BLOCK_BYTES, index * BLOCK_BYTES)

    def lay(self, block: bytearray, at: int) -> None:
        """Put this layer's spans over a block that begins at a byte of the file system."""
        end = at + len(block)
        for number in range(max(bisect_right(self._starts, at) - 1, 0), len(self.spans)):
            first, last = self.spans[number]
            if first >= end:
                return
            first, last = max(first, at), min(last, end)
            if first < last:
                data = os.pread(self._file, last - first, first + self.root.offset)
                block[first - at : first - at + len(data)] = data


def _compared(index: int, *, origin: _Layer, over: list[_Layer]) -> tuple[int, bytes | None]:
    """Return a block's index, and the block where it is another than the origin's."""
    was = origin.block(index)
    now = bytearray(was)
    for layer in over:
        layer.lay(now, index * BLOCK_BYTES - origin.root.offset)
    return index, (bytes(now) if now != was else None)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield spans rising and apart."""
    end = -1
    begun = 0
    for first, last in sorted(spans):
        if first > end:
            if end > begun:
                yield begun, end
            begun = first
        end = max(end, last)
    if end > begun:
        yield begun, end


@contextmanager
def cloned(
    base: RootFileSystem, *, origin: RootFileSystem, scratch: Path, place: Path
) -> Iterator[Clone]:
    """Clone a root file system in the cheapest way that this host has; it goes with the block.

    Args:
        base: Only read.
        origin: What differences are told from.
        scratch: Directory for an outline, in memory best.
        place: Directory for anything that is as large as the base.

    Raises:
        OvenbirdError: Nothing fits: too little space, and no layers.
    """
    if base.block_bytes >= PAGE_BYTES and _holes_are_fine(scratch):
        with _removed(scratch / "outline.raw") as path:
            yield _outline(base, origin, path)
        return
    with _removed(place / "clone.raw") as path, _full_clone(base, path) as made:
        kind, written = made
        yield Clone(base=base, origin=origin, path=path, kind=kind, written=written)


def _outline(base: RootFileSystem, origin: RootFileSystem, path: Path) -> Clone:
    # -f: it takes a mount through FUSE for one that is written to.
    run(["e2image", "-r", "-f", "-o", str(base.offset), base.disk, path], timeout_s=TIMEOUT_S)
    os.truncate(path, base.size)

    def written() -> list[Span]:
        with path.open("rb") as file:
            return list(extents_between(file.fileno(), 0, base.size))

    return Clone(base=base, origin=origin, path=path, kind="outline", written=written)


def _holes_are_fine(directory: Path) -> bool:
    """Tell whether a page that is written between holes is all that is then no hole."""
    wanted = [(at * PAGE_BYTES, (at + 1) * PAGE_BYTES) for at in (3, 5, 259)]
    with tempfile.TemporaryFile(dir=directory) as file:
        file.truncate(512 * PAGE_BYTES)
        for start, _ in wanted:
            os.pwrite(file.fileno(), b"\1" * PAGE_BYTES, start)
        return list(extents_between(file.fileno(), 0, 512 * PAGE_BYTES)) == wanted


@contextmanager
def _full_clone(base: RootFileSystem, path: Path) -> Iterator[tuple[str, Written | None]]:
    path.touch(0o600)
    os.truncate(path, base.size)
    if _share_blocks(base, path):
        yield "reflink", None
        return
    data = _data_of(base)
    if _fits(base, path.parent, sum(last - first for first, last in data)):
        _copy(base, path, data)
        yield "copy", None
        return
    with layers.shown(base, path) as written:
        yield "qcow2", written


def _fits(base: RootFileSystem, place: Path, size: int) -> bool:
    """Tell whether to copy, and not to make a layer.

    Raises:
        OvenbirdError: Neither can be done.
    """
    free, missing = shutil.disk_usage(place).free, layers.missing()
    if size + SPARE_BYTES <= free and (size <= LARGE_BYTES or missing is not None):
        return True
    if missing is None and free >= SPARE_BYTES:
        return False
    _refuse_little_space(base, place, size)
    return True


def _refuse_little_space(base: RootFileSystem, place: Path, size: int) -> None:
    needed, free = size + SPARE_BYTES, shutil.disk_usage(place).free
    if needed > free:
        lacks = layers.missing()
        raise OvenbirdError(
            f"A copy of `{base.disk.name}` needs {needed} bytes below `{place}`, {free} are free",
            hint="Free space there" + (f"; or install {lacks}" if lacks else ""),
            needed_bytes=str(needed),
            free_bytes=str(free),
        )


def _data_of(base: RootFileSystem) -> list[Span]:
    with base.disk.open("rb") as file:
        return list(extents_between(file.fileno(), base.offset, base.offset + base.size))


@contextmanager
def copied(base: RootFileSystem, path: Path) -> Iterator[RootFileSystem]:
    """Copy a root file system to a file of its own; a block that fails leaves none.

    Raises:
        OvenbirdError: There is too little space.
    """
    try:
        path.touch(0o600)
        os.truncate(path, base.size)
        if not _share_blocks(base, path):
            data = _data_of(base)
            _refuse_little_space(base, path.parent, sum(last - first for first, last in data))
            _copy(base, path, data)
        yield replace(base, disk=path, offset=0)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _share_blocks(base: RootFileSystem, path: Path) -> bool:
    """Let a file share the base's blocks, if the host's file system can."""
    with base.disk.open("rb") as source, path.open("r+b") as target:
        span = struct.pack("=qQQQ", source.fileno(), base.offset, base.size, 0)
        try:
            fcntl.ioctl(target.fileno(), FICLONERANGE, span)
        except OSError as error:
            if error.errno not in _NO_SHARING:
                raise
            return False
    return True


# Two file systems; one that cannot; ends within a block of it; no such call.
_NO_SHARING = {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}


def _copy(base: RootFileSystem, path: Path, data: list[Span]) -> None:
    """Copy what is no hole, within the kernel where it can."""
    with base.disk.open("rb") as source, path.open("r+b") as target:
        for first, last in data:
            at = first
            while at < last:
                size, to = min(last - at, CHUNK_BYTES), at - base.offset
                at += _copy_piece(source.fileno(), target.fileno(), at, to, size)


def _copy_piece(source: int, target: int, at: int, to: int, size: int) -> int:
    try:
        return os.copy_file_range(source, target, size, at, to)
    except OSError as error:
        if error.errno not in _NO_SHARING:
            raise
        return os.pwrite(target, os.pread(source, size, at), to)


@contextmanager
def _removed(path: Path) -> Iterator[Path]:
    path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
