"""One machine: an image's root file system under an overlay, booted by systemd-nspawn.

    lower (read-only, shared) + upper (this instance's disk) ─▶ root
    namespace with eth0 = the instance's address, control group of its own
    systemd-nspawn ─▶ the machine's pid 1, systemd

Nothing is written into the image or the disk: host name, machine id and what makes no sense
in a container are told to the machine's systemd on its command line, which it reads as a
kernel would hand it over.

What holds for every such machine is in :mod:`ovenbird.system.boots.nspawn`. Here also: cloud-init's
local stage looks for data on disks, where there is none: it comes with the network.

Source: systemd-nspawn(1); sd_notify(3); overlayfs,
"Volatile mount"; cloud-init, "Networking config", kernel command line; measured on
2026-11-25: 2.1 s for a halt, 0.1 s for SIGKILL of pid 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.sandbox import networks
from ovenbird.sandbox.places import Places
from ovenbird.sandbox.volume_disks import Drive
from ovenbird.system.boots import nspawn as shared
from ovenbird.system.boots.control_groups import ControlGroup
from ovenbird.system.clock import await_true
from ovenbird.system.commands import Process, run, spawn
from ovenbird.system.mount_namespaces import OTHERS

TIMEOUT_S = 30.0
CONSOLE_GROWS = 8  # times what is kept
KILLED_WITHIN = timedelta(seconds=5)
HALT = signal.SIGRTMIN + 3  # systemd(1), "Signals"
REBOOT = signal.SIGINT  # ctrl-alt-del
REBOOTS_STATUS = 133  # of nspawn with --keep-unit: whoever started it shall start it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What one machine is made from.

    Args:
        network: The account's namespace.
        address: Private IPv4 address, in 172.31.0.0/16.
        host_name: Without a domain.
        metadata_url: Where its cloud-init asks.
    """

    instance_id: str
    image_id: str
    snapshot_id: str
    network: str
    address: str
    mac: str
    host_name: str
    metadata_url: str


def nspawn(root: Path, launch: Launch, namespace: str) -> list[str]:
    """Return the command that boots a machine."""
    return [
        "systemd-nspawn", "--boot", "--quiet", "-D", str(root),
        f"--machine={launch.instance_id}",
        f"--hostname={launch.host_name}",
        f"--uuid={machine_id(launch.instance_id)}",
        f"--network-namespace-path={networks.RUN_NETNS / namespace}",
        *shared.SETTLED, "--notify-ready=yes", f"--kill-signal={HALT}",
        *command_line(launch),
    ]  # fmt: skip


def command_line(launch: Launch) -> list[str]:
    """Return what the machine's systemd and cloud-init are told as by a boot loader."""
    told = {"datasource": {"Ec2": {"metadata_urls": [launch.metadata_url]}}}
    return [
        *shared.masked("cloud-init-local.service"),
        "network-config=disabled",
        f"cc: {json.dumps(told)} end_cc",
    ]


def machine_id(instance_id: str) -> str:
    """Return 32 hex digits that are an instance's own, the same at each of its boots."""
    return uuid.uuid5(uuid.NAMESPACE_OID, instance_id).hex


class Machine:
    """The machine of one instance: started once, ended once; its disk may outlive it.

    Args:
        places: Its files are in ``places.machines``.
        launch: What it is made from.
    """

    def __init__(self, places: Places, launch: Launch) -> None:
        self.launch = launch
        self.namespace = f"ovb-{places.token}-{launch.instance_id[-8:]}"
        self._group = ControlGroup(name=f"ovb{places.token}-{launch.instance_id}")
        self._directory = places.machines / launch.instance_id
        self._process: Process | None = None
        self._notified: socket.socket | None = None
        self._ready = False
        self._drives: dict[str, str] = {}

    def start(self, lower: Path) -> None:
        """Boot, on the disk that an earlier start left or a new one; return when pid 1 is there.

        Args:
            lower: The image's root file system, read-only.

        Raises:
            CommandFailed: Something did not start; call :meth:`remove`.
        """
        root = self._mount(lower)
        networks.plug_in(
            self.launch.network,
            self.namespace,
            address=self.launch.address,
            mac=self.launch.mac,
        )
        self._group.make()
        with (self._directory / "console.log").open("ab") as console:
            self._process = spawn(
                shared.apart(root, nspawn(root, self.launch, self.namespace), patterns=OTHERS),
                output=console,
                env={**shared.ENVIRONMENT, "NOTIFY_SOCKET": self._listen()},
                on_start=self._group.enter,
            )
        await_true(
            lambda: self.pid() is not None or self.has_ended, within=timedelta(seconds=TIMEOUT_S)
        )
        if self.has_ended:
            raise CommandFailed(
                f"systemd-nspawn ended: {self.console(300).decode(errors='replace')}"
            )

    @property
    def has_disk(self) -> bool:
        """Whether an earlier start has left a disk."""
        return self.upper.exists()

    @property
    def has_ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self._process is not None and self._process.poll() is not None

    @property
    def boots_again(self) -> bool:
        """Whether it ended in order to boot again."""
        return self._process is not None and self._process.poll() == REBOOTS_STATUS

    @property
    def is_ready(self) -> bool:
        """Whether its systemd has said that the boot is finished."""
        self.listen()
        return self._ready

    def listen(self) -> None:
        """Take what its systemd has said; to be called again and again for as long as it runs.

        A slow boot says how far it is every few seconds, and a socket holds ten messages: nspawn
        would wait for us, and the machine's pid 1 for nspawn.
        """
        while self._notified:
            try:
                if b"READY=1" in self._notified.recv(4096).split(b"\n"):
                    self._ready = True  # never False again: two threads may ask
            except OSError:  # nothing more was said, or it was taken away meanwhile
                break

    def pid(self) -> int | None:
        """Return the process id that the machine's pid 1 has on this host."""
        if self._process is None:
            return None
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            pids = [int(pid) for pid in children.read_text().split()]
            return next((pid for pid in pids if _is_first(pid)), None)
        except OSError:  # it has ended
            return None

    @property
    def drives(self) -> dict[str, str]:
        """Device → id of each volume that it has, but for its root."""
        return dict(self._drives)

    @property
    def upper(self) -> Path:
        """What it wrote on its root disk."""
        return self._directory / "upper"

    def plug(self, drive: Drive, loops: Sequence[str]) -> None:
        """Show a volume in the machine, under its name in both ways of writing it.

        Args:
            drive: The volume.
            loops: Devices of this host: the whole volume, then its partitions.
        """
        if pid := self.pid():
            for number, loop in enumerate(loops):
                status = Path(loop).stat()
                for node in _nodes(drive.device):
                    path = Path(f"/proc/{pid}/root/dev/{node}{number or ''}")
                    with contextlib.suppress(FileExistsError):
                        os.mknod(path, status.st_mode, status.st_rdev)
            self._drives[drive.device] = drive.volume_id

    def unplug(self, device: str) -> None:
        """Show a volume no more; what is mounted of it stays until it is unmounted."""
        self._drives.pop(device, None)
        for node in _nodes(device):
            with contextlib.suppress(OSError):  # the machine itself has removed it, or ended
                for path in Path(f"/proc/{self.pid()}/root/dev").glob(f"{node}*"):
                    path.unlink()

    def frozen(self) -> AbstractContextManager[None]:
        """Let nothing in it run for as long as the block does."""
        return self._group.frozen()

    def memory_bytes(self) -> int:
        """Return how much memory its processes take, shared pages in proportion."""
        return self._group.memory_bytes()

    def reboot(self) -> None:
        """Ask its systemd to boot again; it ends for that, see :attr:`boots_again`."""
        self._signal(REBOOT)

    def shut_down(self, *, within: timedelta) -> None:
        """Let it halt; what takes longer is cut short by :meth:`kill`."""
        self._signal(HALT)
        with contextlib.suppress(TimeoutError):
            await_true(lambda: self._process is None or self.has_ended, within=within)

    def kill(self) -> None:
        """End it at once, and everything in it."""
        self._signal(signal.SIGKILL)  # of pid 1: the kernel kills the rest, nspawn tidies up
        with contextlib.suppress(TimeoutError):
            await_true(lambda: self._process is None or self.has_ended, within=KILLED_WITHIN)
        self._group.kill()
        if self._process:
            self._process.wait(KILLED_WITHIN.total_seconds())

    def remove(self, *, with_disk: bool) -> None:
        """Take away everything that :meth:`start` made; each part even if another fails."""
        with ExitStack() as parts:
            if with_disk:
                parts.callback(shutil.rmtree, self._directory, ignore_errors=True)
            parts.callback(self._leave_group)
            parts.callback(networks.unplug, self.namespace)
            parts.callback(self._unmount)
            if self._notified:
                parts.callback(self._notified.close)
            parts.callback(self.kill)

    def console(self, most: int) -> bytes:
        """Return the last bytes that it wrote on its console, in all its boots."""
        try:
            with (self._directory / "console.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - most))
                return file.read()
        except OSError:
            return b""

    def trim_console(self, most: int) -> None:
        """Cut the console to its last bytes when it has grown large.

        systemd-nspawn appends, so that it goes on behind them.
        """
        path = self._directory / "console.log"
        with contextlib.suppress(OSError):  # it is gone
            if path.stat().st_size > CONSOLE_GROWS * most:
                last = self.console(most)
                os.truncate(path, 0)
                with path.open("ab") as file:
                    file.write(last)

    def _mount(self, lower: Path) -> Path:
        """Mount the root; a volatile overlay must be given a new work directory each time."""
        root, upper, work = (self._directory / name for name in ("root", "upper", "work"))
        shutil.rmtree(work, ignore_errors=True)
        for path in (root, upper, work):
            path.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work},volatile"
        run(["mount", "-t", "overlay", "overlay", "-o", options, root], timeout_s=TIMEOUT_S)
        return root

    def _unmount(self) -> None:
        root = self._directory / "root"
        if os.path.ismount(root):
            run(["umount", "--lazy", root], timeout_s=TIMEOUT_S)

    def _listen(self) -> str:
        """Open the socket on which nspawn says that the machine is ready; return its name."""
        name = f"ovb-{self.namespace}"
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notified.bind(f"\0{name}")  # abstract: no file to remove, no limit to its home's path
        return f"@{name}"

    def _signal(self, number: int) -> None:
        if pid := self.pid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _leave_group(self) -> None:
        with contextlib.suppress(TimeoutError):  # the sweep at the sandbox's end gets it
            await_true(self._group.remove, within=KILLED_WITHIN)


def _nodes(device: str) -> frozenset[str]:
    """Return the names in /dev by which a machine knows a device, as Xen and EC2 write it."""
    name = Path(device).name
    return frozenset({name, f"xvd{name[2:]}" if name.startswith("sd") else name})


def _is_first(pid: int) -> bool:
    """Tell whether a process is pid 1 of a namespace inside ours."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            inner = line.split()[1:]
            return len(inner) > 1 and inner[-1] == "1"
    return False
