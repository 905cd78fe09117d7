"""Small disks with a root file system, made by the usual programs and changed for real."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.system.disks import overlays
from ovenbird.system.disks.disks import extents_between, mounted
from ovenbird.system.rooms import base_roots
from ovenbird.system.rooms.applying import Applied, apply

if TYPE_CHECKING:
    from ovenbird.system.rooms.base_roots import BaseRoot

MIB = 2**20
AT = MIB  # where the partition begins
MAKE = {
    "ext4": ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"],
    "small": ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
}
MIBS = {"ext4": 32, "small": 32, "xfs": 320, "btrfs": 128}


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 - fixed
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


def made(path: Path, kind: str, fill: Callable[[Path], object], *, garbage: bytes = b"") -> Path:
    """Make a disk with a GPT and one root partition of a kind.

    Args:
        path: The disk.
        kind: A key of :data:`MAKE`.
        fill: Writes into the mounted root.
        garbage: What lies in all that the file system does not use; zeros when empty.
    """
    size = MIBS[kind] * MIB
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        if garbage:
            file.write(garbage * (size // len(garbage)))
        file.truncate(size)
    run(*MAKE[kind], *(["-E", "nodiscard"] if garbage else []), part)
    with mounted(part, path.with_suffix(".mnt"), options="loop") as root:
        fill(root)
    with path.open("wb") as file:
        file.truncate(size + 2 * AT)
    run("sgdisk", f"-n1:2048:+{size // MIB}M", "-t1:8304", path)
    put(part, path)
    part.unlink()
    return path


def put(part: Path, disk: Path) -> None:
    """Write a file's bytes into a disk's partition."""
    with part.open("rb") as source, disk.open("r+b") as target:
        for start, end in extents_between(source.fileno(), 0, part.stat().st_size):
            os.pwrite(target.fileno(), os.pread(source.fileno(), end - start, start), AT + start)


def tree(root: Path) -> None:
    """Fill a root file system with a little of everything."""
    for name in ("etc", "usr/share/doc", "var/log", "run", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "etc/hostname").write_text("base\n")
    (root / "etc/old").write_text("old\n")
    (root / "usr/share/doc/one").write_bytes(os.urandom(300_000))
    (root / "usr/link").symlink_to("share")


def change(root: Path) -> None:
    """Change it: new, other, gone, a link, an owner, an attribute."""
    (root / "etc/hostname").write_text("baked\n")
    (root / "etc/old").unlink()
    (root / "usr/share/doc/two").write_bytes(b"two" * 100_000)
    os.link(root / "usr/share/doc/two", root / "usr/share/doc/same")
    os.chown(root / "usr/share/doc/two", 33, 33)
    os.setxattr(root / "usr/share/doc/two", "user.colour", b"gr\x00en")
    (root / "usr/share/doc/two").chmod(0o4711)
    (root / "srv").mkdir(mode=0o750)
    os.mkfifo(root / "srv/pipe")


def baked(disk: Path, place: Path, work: Callable[[Path], object]) -> Applied:
    """Open a disk, change it, and return what came of it."""
    with base_roots.opened(disk, place) as base:
        work(base.root)
        return applied(base)


def applied(base: BaseRoot) -> Applied:
    return apply(base, overlays.changes(base.upper, base.lower))


def with_blocks(disk: Path, blocks: Mapping[int, bytes], path: Path) -> Path:
    """Write a disk that is another one with these blocks."""
    run("cp", "--sparse=always", disk, path)
    path.chmod(0o600)
    with path.open("r+b") as file:
        for index, block in blocks.items():
            os.pwrite(file.fileno(), block, index * BLOCK_BYTES)
    return path


def listed(root: Path) -> dict[str, tuple[object, ...]]:
    """Return path → what an image keeps of it."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory) / name
            status = path.lstat()
            rest: object = None
            if path.is_symlink():
                rest = str(path.readlink())
            elif path.is_file():
                rest = path.read_bytes()
            elif not path.is_dir():
                rest = status.st_rdev
            # Not the links: an overlay shows those of the file below.
            facts = (status.st_mode, status.st_uid, status.st_gid, rest)
            found[str(path.relative_to(root))] = (*facts, overlays.attributes(path))
    found.pop("lost+found", None)
    return found
