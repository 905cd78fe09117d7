"""The device of a root file system, as programs inside of an image look for it.

grub-probe, and the scripts that make an initramfs, ask of which device `/` is, and read it. The
overlay says that it is of this one, which is the base's own, read-only: its UUID and its kind are
the image's. Without it the package of a kernel fails where GRUB is installed.

Source: grub-probe(8); GRUB, ``grub-core/osdep/linux/getroot.c`` (what `/proc/self/mountinfo`
says counts) and ``util/grub.d/10_linux.in`` (`/dev/disk/by-uuid` decides what the kernel is
told); measured on 2026-11-28 with GRUB 2.06.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ovenbird.system.disks.root_file_systems import RootFileSystem, uuid_of

DEVICE = "/dev/ovenbird-root"
LOOP = 7  # Source: Linux, Documentation/admin-guide/devices.txt


def show(root: Path, *, lower: Path, file_system: RootFileSystem) -> bool:
    """Make the device in a root whose `dev` is of the bake alone.

    Args:
        root: The overlay's merged view.
        lower: The base's file system, mounted.
        file_system: The same.

    Returns:
        Whether there is one: not for what is mounted otherwise than from a loop device.
    """
    number = lower.stat().st_dev
    if os.major(number) != LOOP:
        return False
    os.mknod(root / DEVICE[1:], stat.S_IFBLK | 0o600, number)
    names = root / "dev/disk/by-uuid"
    names.mkdir(parents=True)
    (names / uuid_of(file_system)).symlink_to("../../ovenbird-root")
    return True
