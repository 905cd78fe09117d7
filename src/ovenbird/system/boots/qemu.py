"""Boots a whole disk once in a virtual machine: its firmware, boot loader and own kernel.

    disk ─ overlay with what tells of the boot ─ its changed blocks ─▶ a copy of the disk
    qemu: NVMe disk as on Nitro, network that leads nowhere but to the app's port,
          console on the first serial port

KVM is used when it carries a guest: on some hosts it opens and the guest hangs, which is
found out once for each boot of the host. Emulated, a boot takes a minute or two.

Source: qemu-system(1), `-netdev user,restrict=`, `-device nvme`; measured on 2026-11-23:
62 s by UEFI and NVMe, 105 to 144 s by BIOS, emulated on two cores.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.boot_checks import BootReport, Probe
from ovenbird.domain.images import Image
from ovenbird.domain.ports import Progress
from ovenbird.system.boots import boot_containers, boot_guests
from ovenbird.system.commands import end_group, spawn
from ovenbird.system.disks import overlays
from ovenbird.system.disks.disks import clone
from ovenbird.system.disks.layers import escaped
from ovenbird.system.rooms import applying, base_roots

WITHIN_S = 900.0  # emulated, on a busy host
KVM_WITHIN_S = 60.0  # what says nothing until then hangs
MEMORY_MIB = 1024
PROCESSORS = 2
PROGRAM = "qemu-system-x86_64"
FIRMWARE = (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_CODE.fd"))
KVM = Path("/dev/kvm")
_KERNEL_LINE = re.compile(r"\[ *\d+\.\d{6}\]")  # a kernel that says anything runs
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class QemuBoots:
    """The :class:`ovenbird.domain.image_ports.Boots` that uses QEMU.

    Args:
        directory: For copies of disks under way.
        within_s: Seconds that a boot and the app's start may take.
    """

    engine = "qemu"

    def __init__(self, directory: Path, *, within_s: float = WITHIN_S) -> None:
        self._directory, self._within_s = directory, within_s

    def missing(self, image: Image) -> str:
        """Return why an image cannot be booted here; empty when it can."""
        if os.geteuid():
            return "disks are prepared for a boot by root only"
        if image.architecture != "x86_64":
            return f"it is for {image.architecture}, and QEMU is used for x86_64 only"
        if shutil.which(PROGRAM) is None:
            return f"`{PROGRAM}` is not installed"
        if _is_uefi(image) and not any(path.exists() for path in FIRMWARE):
            return "OVMF, the firmware for UEFI, is not installed"
        return ""

    def boot(self, image: Image, disk: Path, *, probe: Probe, progress: Progress) -> BootReport:
        """Boot an image's disk, which is only read, and return what came of it.

        Raises:
            InvalidRequest: The disk has no root file system that can be used.
            CommandFailed: It cannot be mounted or changed.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        boot_containers.sweep(self._directory)
        if self._may_use_kvm():
            progress(f"Booting `{image.name}` in QEMU with KVM")
            report = self._booted(image, disk, probe, accelerator="kvm")
            began = report.last or _KERNEL_LINE.search(report.console)
            if began or (report.ended and report.console):  # else QEMU could not even begin
                return report
            self._no_kvm.write_text(_boot_id())
            progress("KVM does not carry a guest on this host")
        progress(f"Booting `{image.name}` in QEMU, emulated")
        return self._booted(image, disk, probe, accelerator="tcg")

    @property
    def _no_kvm(self) -> Path:
        return self._directory / "no-kvm"

    def _may_use_kvm(self) -> bool:
        if not os.access(KVM, os.R_OK | os.W_OK):
            return False
        return not self._no_kvm.exists() or self._no_kvm.read_text() != _boot_id()

    def _booted(self, image: Image, disk: Path, probe: Probe, *, accelerator: str) -> BootReport:
        nonce = secrets.token_hex(16)
        within_s = KVM_WITHIN_S if accelerator == "kvm" else self._within_s
        port = _free_port() if probe.port else 0
        with _prepared(disk, self._directory / nonce[:12], nonce) as copy:
            console = copy.with_name("console")
            argv = command(copy, accelerator=accelerator, is_uefi=_is_uefi(image),
                           console=console, ports=(port, probe.port))  # fmt: skip
            with console.open("ab") as output:
                process = spawn(argv, output=output)
                try:
                    return boot_guests.Guest(
                        engine=f"{self.engine}, {accelerator}",
                        nonce=nonce,
                        console=console,
                        has_ended=lambda: process.poll() is not None,
                        ask=lambda: boot_guests.ask(port, probe.path),
                    ).watched(probe, within_s=within_s)
                finally:
                    end_group(process)
                    process.wait()


def command(
    disk: Path, *, accelerator: str, is_uefi: bool, console: Path, ports: tuple[int, int]
) -> list[str]:
    """Return what boots a disk.

    Args:
        disk: Raw; written to.
        accelerator: ``kvm`` or ``tcg``.
        is_uefi: Whether its firmware is UEFI, otherwise BIOS.
        console: File that takes what the first serial port says.
        ports: Of this host, and of the guest to which it leads; zeros for none.
    """
    here, there = ports
    forward = f",hostfwd=tcp:127.0.0.1:{here}-:{there}" if there else ""
    firmware = next((path for path in FIRMWARE if path.exists()), FIRMWARE[0])
    drive = f"if=pflash,format=raw,readonly=on,file={firmware}"
    return [
        "setpriv", "--pdeathsig", "KILL", PROGRAM,
        "-machine", "q35", "-accel", accelerator,
        "-cpu", "host" if accelerator == "kvm" else "max",
        "-smp", str(PROCESSORS), "-m", str(MEMORY_MIB),
        "-nodefaults", "-display", "none", "-no-reboot",
        "-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console",
        *(["-drive", drive] if is_uefi else []),
        "-drive", f"if=none,id=root,format=raw,cache=unsafe,file={escaped(disk)}",
        "-device", "nvme,drive=root,serial=vol-boot-check",
        "-netdev", f"user,id=net,restrict=on{forward}", "-device", "virtio-net-pci,netdev=net",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


@contextmanager
def _prepared(disk: Path, place: Path, nonce: str) -> Iterator[Path]:
    """Give a copy of a disk that has the number and the program that watches."""
    try:
        with base_roots.opened(disk, place) as base:
            boot_guests.furnish(base.root, nonce)
            changed = overlays.changes(base.upper, base.lower)
            copy = place / "disk.raw"
            clone(disk, copy)
            with copy.open("r+b") as file:
                for index, block in applying.apply(base, changed).blocks.items():
                    os.pwrite(file.fileno(), block, index * BLOCK_BYTES)
            yield copy
    finally:
        place.with_suffix(".lock").unlink(missing_ok=True)


def _is_uefi(image: Image) -> bool:
    return image.boot_mode.startswith("uefi")


def _boot_id() -> str:
    return BOOT_ID.read_text().strip()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
