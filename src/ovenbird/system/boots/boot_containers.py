"""Boots an image's own disk once in a container: its init system, this host's kernel.

    disk ─ loop, read-only ─ overlay (forgotten) ─ systemd-nspawn
    network of its own: lo and an eth0 that leads nowhere; the app is asked inside of it

When this process is killed, the guest ends with it, and the next check sweeps its mounts.

Source: systemd-nspawn(1); prctl(2), PR_SET_PDEATHSIG; unshare(1), `--kill-child`; veth(4).
"""

from __future__ import annotations

import ctypes
import os
import platform
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from ovenbird.domain.boot_checks import BootReport, Probe
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import Image
from ovenbird.domain.ports import Progress
from ovenbird.system.boots import boot_guests, namespaces, nspawn
from ovenbird.system.boots.control_groups import ControlGroup
from ovenbird.system.clock import await_true
from ovenbird.system.commands import Process, end_group, spawn
from ovenbird.system.locks import file_lock
from ovenbird.system.mount_namespaces import OTHERS
from ovenbird.system.rooms import base_roots

WITHIN_S = 120.0
GONE_WITHIN = timedelta(seconds=5)
ADDRESS = "172.31.255.10/16"
PROGRAMS = ("systemd-nspawn", "unshare", "ip")
CONSOLE = "console"
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
_HOSTS = {"aarch64": "arm64"}  # the kernel's words → EC2's, where they differ
_NETWORK = f"""
ip link set lo up &&
ip link add eth0 type veth peer name uplink &&
ip addr add {ADDRESS} dev eth0 && ip link set uplink up && ip link set eth0 up &&
"$@"
exit $?
"""


class ContainerBoots:
    """The :class:`ovenbird.domain.image_ports.Boots` that uses systemd-nspawn.

    Args:
        directory: For mounts of checks under way.
        within_s: Seconds that a boot and the app's start may take.
    """

    engine = "container"

    def __init__(self, directory: Path, *, within_s: float = WITHIN_S) -> None:
        self._directory, self._within_s = directory, within_s

    def missing(self, image: Image) -> str:
        """Return why an image cannot be booted here; empty when it can."""
        if os.geteuid():
            return "containers are booted by root only"
        if _HOSTS.get(platform.machine(), platform.machine()) != image.architecture:
            return f"it is for {image.architecture}, and this host is {platform.machine()}"
        absent = [program for program in PROGRAMS if shutil.which(program) is None]
        return f"`{absent[0]}` is not installed" if absent else ""

    def boot(self, image: Image, disk: Path, *, probe: Probe, progress: Progress) -> BootReport:
        """Boot an image's disk, which is only read, and return what came of it.

        Raises:
            InvalidRequest: The disk has no root file system that can be used.
            CommandFailed: It cannot be mounted.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        sweep(self._directory)
        nonce = secrets.token_hex(16)
        place = self._directory / nonce[:12]
        progress(f"Booting `{image.name}` in a container")
        try:
            with base_roots.opened(disk, place) as base:
                boot_guests.furnish(base.root, nonce)
                with _started(base) as process:
                    return boot_guests.Guest(
                        engine=self.engine,
                        nonce=nonce,
                        console=base.scratch / CONSOLE,
                        has_ended=lambda: process.poll() is not None,
                        ask=lambda: _ask(process, probe),
                    ).watched(probe, within_s=self._within_s)
        finally:
            place.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _started(base: base_roots.BaseRoot) -> Iterator[Process]:
    """Start a guest; it and all that it started are gone when the block ends."""
    group = _group(base.place)
    with (base.scratch / CONSOLE).open("ab") as console, _emptied(group):
        group.make()
        process = spawn(
            nspawn.apart(base.root, command(base.root, group.name), patterns=OTHERS),
            output=console,
            env=nspawn.ENVIRONMENT,
            on_start=lambda: _begin(group),
        )
        try:
            yield process
        finally:
            end_group(process)  # the kernel ends the guest with the first of its processes
            process.wait()


def sweep(directory: Path) -> None:
    """End the guests of checks that were killed, and remove what they left.

    Raises:
        Conflict: Something is mounted that cannot be unmounted.
    """
    for lock in sorted(directory.glob("*.lock")):
        with suppress(Conflict), file_lock(lock, wait=False):  # otherwise its check lives
            with _emptied(_group(lock.with_suffix(""))):
                pass
            base_roots.sweep(lock.with_suffix(""))
            lock.unlink(missing_ok=True)  # its check has just ended


def _group(place: Path) -> ControlGroup:
    return ControlGroup(name=f"ovb-boot-{place.name}")


@contextmanager
def _emptied(group: ControlGroup) -> Iterator[None]:
    """Kill what is in a group when the block ends, and remove it."""
    try:
        yield
    finally:
        with suppress(TimeoutError):  # busy for a moment after its last process

            def is_gone() -> bool:
                group.kill()
                return group.remove()

            await_true(is_gone, within=GONE_WITHIN)


def _begin(group: ControlGroup) -> None:
    """Run between fork and exec: the guest's first process ends with this one."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    group.enter()


def command(root: Path, name: str) -> list[str]:
    """Return what boots a root file system in a network of its own.

    A shell is the first process of a namespace in which systemd-nspawn runs: all ends with it.
    That systemd-nspawn itself ends with its parent cannot be asked for: it forgets it.
    """
    return [
        "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
        "sh", "-c", _NETWORK, "sh",
        "systemd-nspawn", "--boot", "--quiet", "-D", str(root), f"--machine={name}",
        "--network-namespace-path=/proc/self/ns/net", *nspawn.SETTLED,
        *nspawn.masked(), "network-config=disabled",
    ]  # fmt: skip


def _ask(process: Process, probe: Probe) -> int:
    try:
        place = Path(f"/proc/{process.pid}/ns/net")
        return namespaces.within(place, lambda: boot_guests.ask(probe.port, probe.path))
    except OSError:  # it has ended
        return 0
