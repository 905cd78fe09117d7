"""Namespaces of this process: mounts that end with it, and whether it is root in one of users.

A thread that mounts does it in a mount namespace of its own. What it mounts is seen by it and
by what it starts, by nobody else, and the kernel takes all of it away with the last of them:
also after `kill -9`.

Source: mount_namespaces(7), unshare(2), setns(2) (both for the calling thread alone),
user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from ovenbird.domain.errors import OvenbirdError
from ovenbird.system.commands import run

CLONE_NEWNS = 0x00020000  # Source: linux/sched.h
MNT_DETACH = 2  # Source: umount(2)
# Mount points of bakes, builds, boot checks and machines, as patterns of a shell.
OTHERS = ("*/bakes/*", "*/builds/*", "*/boots/*", "*/disks/snap-*", "*/machines/i-*/root")
ALL_IDS = ["0", "0", "4294967295"]  # the map of the namespace that a host begins with


@contextmanager
def own_mounts(*needed: Path) -> Iterator[None]:
    """Give the calling thread a mount namespace of its own, for as long as the block runs.

    What bakes and machines beside this one have mounted is not in it: a copy of a mount keeps
    its disk busy, and they could not let go of it before this one ends.

    Args:
        needed: Files and directories of which the mounts stay, beside the working directory's.

    Raises:
        OvenbirdError: This process may not mount.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNS):
            why = os.strerror(ctypes.get_errno())
            raise OvenbirdError(
                f"This process may not mount: {why}",
                hint="Run it as root, or see `ovenbird doctor`",
            )
        try:
            run(["mount", "--make-rslave", "/"], timeout_s=10)  # nothing of it goes out
            for point in reversed(_of_others(Path.cwd(), *needed)):
                libc.umount2(os.fsencode(point), MNT_DETACH)  # whether it can or not
            yield
        finally:
            libc.setns(before, CLONE_NEWNS)
            os.fchdir(here)  # setns(2) went to the root directory
    finally:
        os.close(before)
        os.close(here)


def is_confined() -> bool:
    """Tell whether this process lives in a user namespace: root there is not root of the host."""
    return Path("/proc/self/uid_map").read_text(encoding="ascii").split() != ALL_IDS


def _of_others(*needed: Path) -> list[str]:
    """Return the mount points of others; none that leads to what is needed."""
    return [
        point
        for point in mount_points()
        if any(fnmatch(point, pattern) for pattern in OTHERS)
        and not any(path.is_relative_to(point) for path in needed)
    ]


def mount_points() -> list[str]:
    """Return where the calling thread has something mounted, in the order of mounting."""
    listed = Path("/proc/thread-self/mounts").read_text(encoding="utf-8").splitlines()
    return [unescaped(line.split()[1]) for line in listed]


def unescaped(text: str) -> str:
    """Return a path as it is; the kernel writes a space as `040` in octal. Source: fstab(5)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
