"""From a root tree to a disk that EC2 could boot, without loop devices and always the same.

    sector 0      boot.img, jumps to partition 14
    partition 14  BIOS boot: GRUB's core image
    partition 15  EFI system partition: GRUB for UEFI
    partition 1   ext4, made from the tree by mke2fs -d

Every UUID, time and hash seed is fixed: the same tree gives the same bytes.

Source: GNU GRUB manual, "BIOS installation"; grub/i386/pc/boot.h (offsets in boot.img);
mke2fs(8); debugfs(8), "set_inode_field". Measured on 2026-11-24: two builds from nothing
are the same bytes. A prototype of this layout booted with BIOS and UEFI in QEMU; this
disk's own kernel has not been booted yet.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.system.commands import run, stream

SIZE_GIB = 4
EPOCH_S = 1_760_000_000
TIMEOUT_S = 300.0
SECTOR = 512
ROOT_INODE = 2
FIRST_INODE = 11  # lost+found; those before it but the root are reserved

BIOS_BOOT = (2048, 8191)  # first and last sector
ESP = (8192, 8192 + 124 * 2048 - 1)
ROOT_FIRST = 262_144
ROOT_LAST = SIZE_GIB * 2**30 // SECTOR - 2048 - 1

DISK_GUID = "DDDDDDDD-0000-4000-8000-000000000001"
ROOT_UUID = "11111111-2222-4333-8444-555555555555"
HASH_SEED = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"

GRUB = Path("/usr/lib/grub")
MODULES = [
    "part_gpt", "ext2", "normal", "linux", "search", "search_fs_uuid", "configfile", "serial",
    "terminal", "echo", "test", "gzio", "ls",
]  # fmt: skip
FIXED = {"E2FSPROGS_FAKE_TIME": str(EPOCH_S), "SOURCE_DATE_EPOCH": str(EPOCH_S)}

# EBS volumes are NVMe devices that may pause. Source: EC2 user guide, "I/O operation timeout".
KERNEL_OPTIONS = "console=tty0 console=ttyS0,115200 net.ifnames=0 nvme_core.io_timeout=4294967295"
GRUB_CFG = f"""set timeout=0
set default=0
serial --unit=0 --speed=115200
terminal_output serial console
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
menuentry "Linux" {{
  linux /vmlinuz root=UUID={ROOT_UUID} ro {KERNEL_OPTIONS}
  initrd /initrd.img
}}
"""
FSTAB = f"UUID={ROOT_UUID} / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n"
EARLY_CFG = f"""search --no-floppy --fs-uuid --set=root {ROOT_UUID}
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
"""


def make_disk(tree: Path, disk: Path, *, work: Path) -> None:
    """Write *disk* from *tree*.

    Args:
        tree: Root file system, owned as it shall be; boot files are added to it.
        disk: File to write.
        work: Empty directory for what is made on the way.
    """
    boot = tree / "boot/grub"
    boot.mkdir(parents=True, exist_ok=True)
    (boot / "grub.cfg").write_text(GRUB_CFG)
    (tree / "etc/fstab").write_text(FSTAB)
    with disk.open("wb") as file:
        file.truncate(SIZE_GIB * 2**30)
    _partition(disk)
    clamp_times(tree)
    _root(tree, disk)
    _fix_change_times(disk, work)
    (work / "early.cfg").write_text(EARLY_CFG)
    _bios(disk, work)
    _uefi(disk, work)


def _partition(disk: Path) -> None:
    argv = ["sgdisk", "--set-alignment=1", f"--disk-guid={DISK_GUID}"]
    table = ((14, *BIOS_BOOT, "EF02"), (15, *ESP, "EF00"), (1, ROOT_FIRST, ROOT_LAST, ROOT_TYPE))
    for number, first, last, kind in table:
        guid = f"DDDDDDDD-0000-4000-8000-{number:012X}"
        argv += ["-n", f"{number}:{first}:{last}", "-t", f"{number}:{kind}"]
        argv += ["-u", f"{number}:{guid}"]
    run([*argv, disk], timeout_s=TIMEOUT_S)


def _root(tree: Path, disk: Path) -> None:
    options = f"offset={ROOT_FIRST * SECTOR},hash_seed={HASH_SEED},lazy_itable_init=1"
    size = f"{(ROOT_LAST - ROOT_FIRST + 1) // 2}k"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "cloudimg-root", "-U", ROOT_UUID]
    run([*argv, "-E", options, "-d", tree, disk, size], timeout_s=TIMEOUT_S, env=FIXED)


def clamp_times(tree: Path) -> None:
    """Let no file of the tree be newer than the epoch, and none be read at another time."""
    below = (Path(at, name) for at, names, files in os.walk(tree) for name in names + files)
    for path in (tree, *below):
        modified_s = min(int(path.lstat().st_mtime), EPOCH_S)
        os.utime(path, (EPOCH_S, modified_s), follow_symlinks=False)


def change_time_commands(used_inodes: int) -> list[str]:
    """Return debugfs's commands that set the change time of each inode in use.

    mke2fs copies it from the tree, where nobody can set it. In a file system just made,
    the inodes in use are the first ones.
    """
    inodes = (ROOT_INODE, *range(FIRST_INODE, used_inodes + 1))
    return [f"sif <{inode}> ctime @{EPOCH_S}" for inode in inodes]


def used_inodes(header: str) -> int:
    """Return how many inodes are in use, from what ``dumpe2fs -h`` says.

    Raises:
        InvalidRequest: It does not say so.
    """
    count = re.search(r"^Inode count: +(\d+)$", header, re.MULTILINE)
    free = re.search(r"^Free inodes: +(\d+)$", header, re.MULTILINE)
    if not (count and free):
        raise InvalidRequest("`dumpe2fs` does not say how many inodes are in use")
    return int(count[1]) - int(free[1])


def _fix_change_times(disk: Path, work: Path) -> None:
    target = f"{disk}?offset={ROOT_FIRST * SECTOR}"
    header = run(["dumpe2fs", "-h", target], timeout_s=TIMEOUT_S)
    script = work / "times.commands"
    script.write_text("\n".join(change_time_commands(used_inodes(header))) + "\n")
    said: list[str] = []
    argv = ["debugfs", "-w", "-f", str(script), target]
    stream(argv, timeout_s=TIMEOUT_S, on_line=said.append, env=FIXED)
    # debugfs goes on after a failure and ends with 0: what it says is what counts.
    if complaints := [line for line in said if line and not line.startswith("debugfs")]:
        raise CommandFailed("`debugfs` could not set times", stderr="\n".join(complaints[:20]))
    run(["e2fsck", "-f", "-n", target], timeout_s=TIMEOUT_S)


def _mkimage(work: Path, platform: str, target: Path, modules: list[str]) -> None:
    argv = ["grub-mkimage", "-O", platform, "-d", GRUB / platform, "-p", "/boot/grub"]
    out = ["-c", str(work / "early.cfg"), "-o", str(target)]
    run([*map(str, argv), *out, *modules], timeout_s=TIMEOUT_S)


def _bios(disk: Path, work: Path) -> None:
    """Put GRUB's boot sector and core image where BIOS finds them."""
    core_path = work / "core.img"
    _mkimage(work, "i386-pc", core_path, ["biosdisk", *MODULES])
    core = bytearray(core_path.read_bytes())
    if len(core) > (BIOS_BOOT[1] - BIOS_BOOT[0] + 1) * SECTOR:
        raise InvalidRequest("GRUB's core image does not fit into its partition")
    boot = bytearray((GRUB / "i386-pc/boot.img").read_bytes())
    boot[0x5C:0x64] = struct.pack("<Q", BIOS_BOOT[0])  # where the core image begins
    boot[0x66:0x68] = b"\x90\x90"  # trust the BIOS's drive number
    rest = (len(core) + SECTOR - 1) // SECTOR - 1
    core[0x1F4:0x200] = struct.pack("<QHH", BIOS_BOOT[0] + 1, rest, 0x820)
    with disk.open("r+b") as file:
        mbr = file.read(SECTOR)
        boot[0x1B8:0x200] = mbr[0x1B8:0x200]  # the protective partition table stays
        boot[0x03:0x5A] = mbr[0x03:0x5A]
        file.seek(0)
        file.write(boot[:SECTOR])
        file.seek(BIOS_BOOT[0] * SECTOR)
        file.write(core)


def _uefi(disk: Path, work: Path) -> None:
    """Put GRUB for UEFI into the EFI system partition."""
    program = work / "BOOTX64.EFI"
    _mkimage(work, "x86_64-efi", program, [*MODULES, "fat", "efi_gop", "all_video"])
    where, env = f"{disk}@@{ESP[0] * SECTOR}", FIXED | {"MTOOLS_SKIP_CHECK": "1"}
    sectors = str(ESP[1] - ESP[0] + 1)
    for argv in (
        ["mformat", "-i", where, "-F", "-v", "ESP", "-N", "12345678", "-T", sectors, "::"],
        ["mmd", "-i", where, "::EFI", "::EFI/BOOT"],
        ["mcopy", "-i", where, str(program), "::EFI/BOOT/BOOTX64.EFI"],
    ):
        run(argv, timeout_s=TIMEOUT_S, env=env)
