"""A disk's root file system: where it lies, and what it is, by the bytes that are there.

Source: ext4 disk layout (kernel documentation, filesystems/ext4, "The Super Block"); XFS
Algorithms & Data Structures, "Superblocks"; btrfs on-disk format, "Superblock"; LVM2
metadata format; LUKS On-Disk Format Specification; mkswap(8).
"""

from __future__ import annotations

import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.commands import run
from ovenbird.system.disks.disks import TIMEOUT_S, mounted
from ovenbird.system.disks.partitions import LINUX, ROOTS, Partition, partitions
from ovenbird.system.mount_namespaces import is_confined

LOOPS = Path("/dev/loop-control")
EXT_SUPERBLOCK = 1024
BACKUPS = (8_389_632, 33_554_432, 134_217_728)  # the first one; with blocks of 1, 2, 4 KiB
WAY_OUT = "Set `image.strategy` to `instance`: a builder instance's own kernel reads it"
_NEEDS_RECOVERY, _64_BIT = 0x4, 0x80  # incompatible features
_HAS_ERRORS = 0x2  # state
_HEAD_BYTES = 0x11000  # up to the btrfs superblock and what it begins with


class Kind(StrEnum):
    """What a root partition can hold that a direct bake can change."""

    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


_UUIDS = {Kind.EXT4: EXT_SUPERBLOCK + 104, Kind.XFS: 32, Kind.BTRFS: 0x10020}  # bytes from it
_NO_REPLAY = {Kind.EXT4: "noload", Kind.XFS: "norecovery", Kind.BTRFS: "rescue=nologreplay"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFileSystem:
    """The root file system of a disk, or of a file that holds nothing else.

    Args:
        offset: Bytes from the disk's begin.
        size: Bytes of its partition.
        block_bytes: Of ext4; 0 for the others.
        needs_replay: Its journal holds what the file system itself does not yet (ext4).
    """

    disk: Path
    kind: Kind
    offset: int
    size: int
    block_bytes: int = 0
    needs_replay: bool = False


def find_root(disk: Path) -> RootFileSystem:
    """Find a disk's root file system.

    It is in the largest partition that says it is one for a root, else in the largest one
    for Linux, else it is the whole disk.

    Raises:
        InvalidRequest: There is none, it is of a kind that a direct bake cannot change, or
            it is damaged.
    """
    found = partitions(disk)
    if not found:
        found = (Partition(kind="", offset=0, size=disk.stat().st_size),)
    partition = _largest(found, ROOTS) or _largest(found, LINUX | {""})
    if partition is None:
        kinds = ", ".join(partition.kind for partition in found)
        raise InvalidRequest(
            f"`{disk.name}` has no Linux partition, only {kinds}",
            hint="Is it the root volume of a Linux image?",
        )
    with disk.open("rb") as file:
        head = os.pread(file.fileno(), min(_HEAD_BYTES, partition.size), partition.offset)
        kind = _supported(head)
        if kind is None:
            raise _refusal(disk.name, partition, file.fileno(), head)
    block_bytes = _block_bytes(disk.name, head, partition) if kind is Kind.EXT4 else 0
    return RootFileSystem(
        disk=disk,
        kind=kind,
        offset=partition.offset,
        size=partition.size,
        block_bytes=block_bytes,
        needs_replay=kind is Kind.EXT4 and bool(_features(head) & _NEEDS_RECOVERY),
    )


@contextmanager
def mounted_root(disk: Path, where: Path) -> Iterator[Path]:
    """Mount a disk's root file system read-only, without replaying its journal."""
    with mounted_file_system(find_root(disk), where) as root:
        yield root


@contextmanager
def mounted_file_system(
    what: RootFileSystem, where: Path, *, writable: bool = False, replaying: bool = False
) -> Iterator[Path]:
    """Mount a root file system; read-only, unless it is said otherwise.

    Args:
        what: Where it lies.
        where: Directory; made when missing.
        writable: Replays its journal, too.
        replaying: Read-only, but fails when the journal needs to be replayed.
    """
    if is_confined() or not LOOPS.exists():
        with _mounted_by_fuse(what, where) as root:
            yield root
        return
    options = ["loop", f"offset={what.offset}", f"sizelimit={what.size}", "noatime"]
    options += [] if writable else ["ro"]
    options += [] if writable or replaying else [_NO_REPLAY[what.kind]]
    options += ["nouuid"] if what.kind is Kind.XFS else []  # its base may be mounted, too
    with mounted(what.disk, where, kind=what.kind, options=",".join(options)) as root:
        yield root


@contextmanager
def _mounted_by_fuse(what: RootFileSystem, where: Path) -> Iterator[Path]:
    """Mount without a loop device, read-only."""
    why = "without root" if is_confined() else "on a host without loop devices"
    if what.kind is not Kind.EXT4 or shutil.which("fuse2fs") is None:
        needed = "an ext4 root" if what.kind is not Kind.EXT4 else "`fuse2fs`"
        raise InvalidRequest(
            f"A bake {why} needs {needed}; `{what.disk.name}` has {what.kind}",
            hint="Bake as root on a host with loop devices (kernel module `loop`), or "
            "set `image.strategy` to `instance`",
        )
    where.mkdir(parents=True, exist_ok=True)
    options = f"ro,offset={what.offset},fakeroot,allow_other"
    run(["fuse2fs", "-o", options, what.disk, where], timeout_s=TIMEOUT_S)
    try:
        yield where
    finally:
        run(["umount", where], timeout_s=TIMEOUT_S)


def uuid_of(what: RootFileSystem) -> str:
    """Return the UUID by which boot loaders and fstab(5) name a root file system."""
    with what.disk.open("rb") as file:
        return str(uuid.UUID(bytes=os.pread(file.fileno(), 16, what.offset + _UUIDS[what.kind])))


def _largest(found: tuple[Partition, ...], kinds: frozenset[str]) -> Partition | None:
    of_kind = [partition for partition in found if partition.kind in kinds]
    return max(of_kind, key=lambda partition: partition.size, default=None)


def _supported(head: bytes) -> Kind | None:
    if _is_ext(head[EXT_SUPERBLOCK:]):
        return Kind.EXT4
    if head.startswith(b"XFSB"):
        return Kind.XFS
    if head[0x10040:0x10048] == b"_BHRfS_M":
        return Kind.BTRFS
    return None


def _is_ext(superblock: bytes) -> bool:
    return superblock[56:58] == b"\x53\xef"


def _refusal(name: str, partition: Partition, descriptor: int, head: bytes) -> InvalidRequest:
    """Say what is there instead of a file system that could be used."""
    supported = ", ".join(Kind)
    if what := _recognised(head):
        text = f"The root partition of `{name}` holds {what}; direct bakes know {supported}"
        return InvalidRequest(text, hint=WAY_OUT)
    if _has_backup(descriptor, partition):
        return InvalidRequest(
            f"The ext4 superblock of `{name}` is damaged",
            hint="`e2fsck -b` repairs it from a backup; or use another base image",
        )
    where = "root partition" if partition.kind else "disk"
    return InvalidRequest(
        f"The {where} of `{name}` {'is empty' if not any(head) else 'holds no known file system'}; "
        f"direct bakes know {supported}",
        hint=WAY_OUT if any(head) else "Use another base image",
    )


def _recognised(head: bytes) -> str:
    marks = (
        (0, b"LUKS\xba\xbe", "LUKS (encrypted)"),
        (0x218, b"LVM2 001", "LVM"),
        (4086, b"SWAPSPACE2", "swap space"),
        (0, b"hsqs", "squashfs"),
        (EXT_SUPERBLOCK, b"\x10\x20\xf5\xf2", "F2FS"),
        (EXT_SUPERBLOCK, b"\xe2\xe1\xf5\xe0", "EROFS"),
        (0x1000, b"\xfc\x4e\x2b\xa9", "Linux software RAID"),
        (3, b"NTFS    ", "NTFS"),
        (82, b"FAT32", "FAT"),
        (54, b"FAT1", "FAT"),
    )
    return next((word for at, mark, word in marks if head[at : at + len(mark)] == mark), "")


def _has_backup(descriptor: int, partition: Partition) -> bool:
    return any(
        _is_ext(os.pread(descriptor, 1024, partition.offset + at))
        for at in BACKUPS
        if at < partition.size
    )


def _features(head: bytes) -> int:
    return _number(head, 96)


def _number(head: bytes, at: int) -> int:
    number: int = struct.unpack_from("<I", head, EXT_SUPERBLOCK + at)[0]
    return number


def _block_bytes(name: str, head: bytes, partition: Partition) -> int:
    """Return the size of an ext4's blocks; a superblock that makes no sense is refused."""
    low, log_size, high = (_number(head, at) for at in (4, 24, 336))
    if log_size > 6:
        raise InvalidRequest(
            f"The ext4 superblock of `{name}` is damaged",
            hint="`e2fsck -b` repairs it from a backup; or use another base image",
        )
    blocks = low + ((high << 32) if _features(head) & _64_BIT else 0)
    needed = blocks * (1024 << log_size)
    if needed > partition.size:
        raise InvalidRequest(
            f"The root file system of `{name}` is cut short: it has {needed} bytes, "
            f"its partition {partition.size}",
            hint="Was the base image's volume or its download cut off?",
        )
    (state,) = struct.unpack_from("<H", head, EXT_SUPERBLOCK + 58)
    if state & _HAS_ERRORS:
        raise InvalidRequest(
            f"The root file system of `{name}` has errors, as its own superblock says",
            hint="Repair it with `e2fsck` and make the base image anew",
        )
    return 1024 << log_size
