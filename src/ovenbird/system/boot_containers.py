"""Boots an image's own disk once in a container: its init system, this host's kernel.

    disk ─ loop, read-only ─ overlay (forgotten) ─ systemd-nspawn
    network of its own: lo and an eth0 that leads nowhere; the app is asked inside of it

When this process is killed, the guest ends with it, and the next check sweeps its mounts.

Source: systemd-nspawn(1); setpriv(1), `--pdeathsig`; unshare(1); veth(4).
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from ovenbird.domain.boot_checks import BootReport, Probe
from ovenbird.domain.images import Image
from ovenbird.domain.ports import Progress
from ovenbird.system import base_roots, boot_guests, namespaces, nspawn
from ovenbird.system.clock import await_true
from ovenbird.system.commands import Process, end_group, spawn
from ovenbird.system.control_groups import ControlGroup

WITHIN_S = 120.0
GONE_WITHIN = timedelta(seconds=5)
ADDRESS = "172.31.255.10/16"
PROGRAMS = ("systemd-nspawn", "unshare", "setpriv", "ip")
OTHERS = ("*/bakes/*", "*/builds/*", "*/boots/*", "*/disks/snap-*", "*/machines/i-*/root")
_HOSTS = {"aarch64": "arm64"}  # the kernel's words → EC2's, where they differ
_NETWORK = f"""
ip link set lo up &&
ip link add eth0 type veth peer name uplink &&
ip addr add {ADDRESS} dev eth0 && ip link set uplink up && ip link set eth0 up &&
exec "$@"
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
        base_roots.sweep_dead(self._directory)
        nonce = secrets.token_hex(16)
        place = self._directory / nonce[:12]
        progress(f"Booting `{image.name}` in a container")
        try:
            with base_roots.opened(disk, place) as base:
                boot_guests.furnish(base.root, nonce)
                with _started(base.root, name=f"ovb-boot-{nonce[:8]}") as (process, console):
                    return boot_guests.Guest(
                        engine=self.engine,
                        nonce=nonce,
                        console=console,
                        has_ended=lambda: process.poll() is not None,
                        ask=lambda: _ask(process, probe),
                    ).watched(probe, within_s=self._within_s)
        finally:
            place.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _started(root: Path, *, name: str) -> Iterator[tuple[Process, Path]]:
    """Start a guest; it and all that it started are gone when the block ends."""
    group = ControlGroup(name=name)
    with tempfile.NamedTemporaryFile(prefix="ovenbird-console-") as console:
        group.make()
        try:
            process = spawn(
                nspawn.apart(root, command(root, name), patterns=OTHERS),
                output=console,
                env=nspawn.ENVIRONMENT,
                on_start=group.enter,
            )
            try:
                yield process, Path(console.name)
            finally:
                end_group(process)  # the kernel ends the guest with its parent
                group.kill()
                process.wait()
        finally:
            with suppress(TimeoutError):  # busy for a moment after its last process
                await_true(group.remove, within=GONE_WITHIN)


def command(root: Path, name: str) -> list[str]:
    """Return what boots a root file system in a network of its own."""
    return [
        "unshare", "--net", "setpriv", "--pdeathsig", "KILL", "sh", "-c", _NETWORK, "sh",
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
