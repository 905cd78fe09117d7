"""Disks that were read once and are kept: bounded, verified, shared between processes.

    NAME.raw   the disk, sparse, never written to again
    NAME.sums  size, time, boot, then index and SHA-256 of each block that is not all zero
    NAME.lock  held while the disk is made or removed
    NAME.part  a disk that is being made

Whoever got a disk holds a shared lock on it until its process ends, so that nobody removes
it meanwhile. A disk that was changed or half lost is made anew: size and time are looked at
each time, and the bytes once after each boot, since a machine that lost its power may have
kept the name of a file without its bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from ovenbird.domain.blocks import BLOCK_BYTES, blocks_of_extents
from ovenbird.domain.errors import Conflict
from ovenbird.domain.ports import Clock
from ovenbird.system.caches import full_disk_errors, is_full
from ovenbird.system.disks.disks import extents
from ovenbird.system.locks import file_lock

IDLE = timedelta(days=14)  # what was not used for so long goes, also when there is room
UNHELD = timedelta(hours=6)  # longer than any bake: a server lets go of what rested so long
THREADS = 4
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ROW = struct.Struct(">Q32s")

Fill = Callable[[Path], Mapping[int, bytes]]
"""Makes a disk at a path; returns index → SHA-256 (32 bytes) of the blocks that are not zero."""


class DiskCache:
    """A directory of disks.

    Args:
        directory: Made when it is missing.
        limit_gib: What they may take together; the least recently used go first.
        clock: Knows the time.
    """

    def __init__(self, directory: Path, *, limit_gib: float, clock: Clock) -> None:
        self._directory, self._clock = directory, clock
        self._limit = int(limit_gib * 2**30)
        self._held: dict[Path, BinaryIO] = {}
        weakref.finalize(self, _close_all, self._held)

    def get(self, name: str, fill: Fill) -> Path:
        """Return a disk, made now unless it is there; who asks meanwhile waits for it.

        Raises:
            OvenbirdError: There is no room, also without all that is not in use.
        """
        disk = self._directory / f"{name}.raw"
        with full_disk_errors(self._directory), file_lock(disk.with_suffix(".lock")):
            if not _is_whole(disk):
                self._made(disk, fill)
            self._hold(disk)
        self._let_go()
        self.shrink(self._limit)
        return disk

    def digests(self, name: str) -> dict[int, bytes]:
        """Return index → SHA-256 of a disk's blocks that are not all zero."""
        return _read_sums(self._directory / f"{name}.raw")[1]

    def examined(self) -> Iterator[tuple[Path, bool]]:
        """Read disk after disk, and tell whether its bytes are what was written."""
        for disk in sorted(self._directory.glob("*.raw")):
            if disk.with_suffix(".sums").exists():
                yield disk, _has_its_bytes(disk)

    def shrink(self, limit: int) -> None:
        """Remove what is not in use: the idle, the unfinished, and the oldest above a limit.

        Args:
            limit: Bytes.
        """
        for stray in (*self._directory.glob("*.part"), *self._directory.glob("*.raw")):
            if not stray.with_suffix(".sums").exists():
                self._remove(stray)
        used = {disk: _used_at(disk) for disk in self._directory.glob("*.raw")}
        total = sum(map(_taken, used))
        for disk in sorted(used, key=lambda one: used[one]):
            if total <= limit and self._clock.now() - used[disk] < IDLE:
                continue
            size = _taken(disk)
            if self._remove(disk):
                total -= size

    def _made(self, disk: Path, fill: Fill) -> None:
        part = disk.with_suffix(".part")
        disk.with_suffix(".sums").unlink(missing_ok=True)
        disk.unlink(missing_ok=True)  # who has it open keeps it
        try:
            try:
                sums = fill(part)
            except OSError as error:
                if not is_full(error):
                    raise
                self.shrink(0)
                sums = fill(part)
            part.chmod(0o444)
            part.replace(disk)
            _write_sums(disk, sums)
        finally:
            part.unlink(missing_ok=True)  # half a disk only takes room

    def _hold(self, disk: Path) -> None:
        """Tell all processes that this one uses the disk."""
        now = self._clock.now().timestamp()
        os.utime(disk.with_suffix(".sums"), (now, now))
        if held := self._held.pop(disk, None):
            held.close()
        file = disk.open("rb")
        fcntl.flock(file, fcntl.LOCK_SH)
        self._held[disk] = file

    def _let_go(self) -> None:
        for disk in list(self._held):
            rested = self._clock.now() - _used_at(disk) > UNHELD
            if rested and (held := self._held.pop(disk, None)):  # several threads may do this
                held.close()

    def _remove(self, disk: Path) -> bool:
        """Remove a disk with its sums; false when it is in use."""
        try:
            with file_lock(disk.with_suffix(".lock"), wait=False), _unused(disk):
                if disk.suffix == ".raw":  # of half a disk, they may be the whole one's by now
                    disk.with_suffix(".sums").unlink(missing_ok=True)
                disk.unlink(missing_ok=True)
        except Conflict:
            return False
        return True


@contextmanager
def _unused(disk: Path) -> Iterator[None]:
    with suppress(FileNotFoundError), disk.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"`{disk}` is in use") from error
    yield


def _close_all(held: dict[Path, BinaryIO]) -> None:
    for file in held.values():
        file.close()


def _used_at(disk: Path) -> datetime:
    for path in (disk.with_suffix(".sums"), disk):
        with suppress(FileNotFoundError):
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return datetime.fromtimestamp(0, UTC)


def _taken(disk: Path) -> int:
    with suppress(FileNotFoundError):
        return disk.stat().st_blocks * 512
    return 0


def _is_whole(disk: Path) -> bool:
    """Tell whether a disk is there as it was made; its bytes are read once after each boot."""
    try:
        head, sums = _read_sums(disk)
        found = disk.stat()
    except (OSError, ValueError, KeyError, struct.error):
        return False
    if (found.st_size, found.st_mtime_ns) != (head["size"], head["mtime_ns"]):
        return False
    if head["boot"] == _boot():
        return True
    if not _has_its_bytes(disk):
        return False
    _write_sums(disk, sums)
    return True


def _has_its_bytes(disk: Path) -> bool:
    """Read a disk and compare it with its sums; what is not in them must be zero."""
    try:
        _, sums = _read_sums(disk)
    except (OSError, ValueError, KeyError, struct.error):
        return False
    indexes = sorted({*sums, *blocks_of_extents(extents(disk))})
    with disk.open("rb") as file:

        def right(index: int) -> bool:
            data = os.pread(file.fileno(), BLOCK_BYTES, index * BLOCK_BYTES)
            if index not in sums:
                return not any(data)
            return hashlib.sha256(data).digest() == sums[index]

        with ThreadPoolExecutor(THREADS) as pool:
            return all(pool.map(right, indexes))


def _read_sums(disk: Path) -> tuple[dict[str, int | str], dict[int, bytes]]:
    """Return what stands beside a disk.

    Raises:
        OSError: Nothing does.
        ValueError: It is damaged.
    """
    data = disk.with_suffix(".sums").read_bytes()
    line, _, rest = data.partition(b"\n")
    digest, rows = rest[:32], rest[32:]
    if hashlib.sha256(line + rows).digest() != digest:
        raise ValueError(f"`{disk}` has damaged sums")
    return json.loads(line), dict(_ROW.iter_unpack(rows))


def _write_sums(disk: Path, sums: Mapping[int, bytes]) -> None:
    found = disk.stat()
    head = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "boot": _boot()}
    line = json.dumps(head).encode()
    rows = b"".join(_ROW.pack(index, sums[index]) for index in sorted(sums))
    part = disk.with_suffix(".sums-part")
    part.write_bytes(line + b"\n" + hashlib.sha256(line + rows).digest() + rows)
    part.replace(disk.with_suffix(".sums"))


def _boot() -> str:
    return BOOT_ID.read_text().strip()


def write_block(file: BinaryIO, index: int, data: bytes) -> None:
    """Write one block of a disk; several threads may do it at once.

    Raises:
        OSError: There is no space left, which pwrite(2) first tells by writing less.
    """
    done, at = 0, index * BLOCK_BYTES
    while done < len(data):
        done += os.pwrite(file.fileno(), memoryview(data)[done:], at + done)
