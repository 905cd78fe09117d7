"""Instances as machines: what moto's model says is made true, again and again.

    API call ─▶ state in moto's model ─▶ tick ─▶ what is due ─▶ boot or end ─▶ state

Each turn compares the state of every instance with its machine, and begins what is missing.
Boots are limited, since a boot takes a whole processor; ends are not, and never wait for a
boot. A machine that ends by itself makes its instance stopped or terminated, as its
shutdown behaviour says. One that cannot boot is terminated with a reason, as on EC2.

EC2 shows terminated instances for about an hour; the sandbox for five minutes, since moto
takes two milliseconds for each instance in every description. What grows is bounded:
consoles are cut to what GetConsoleOutput shows, and root disks go when nobody uses them.

Source: EC2 user guide, "Amazon EC2 instance state changes", "Change the instance initiated
shutdown behavior", "Troubleshoot an instance that terminates immediately".
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import Instance, StateReason

from ovenbird.domain.errors import NotFound
from ovenbird.sandbox import instances, launches, metadata
from ovenbird.sandbox.captures import Capture
from ovenbird.sandbox.disks import RootDisks
from ovenbird.sandbox.instances import CONSOLE_BYTES
from ovenbird.sandbox.loops import CONTROL, Loop
from ovenbird.sandbox.machine_volumes import MachineVolumes, fits
from ovenbird.sandbox.nspawn import Launch, Machine
from ovenbird.sandbox.places import REGION, Places

log = logging.getLogger(__name__)

EVERY_S = 0.25
BOOTS = 2  # at a time
ENDS = 8  # at a time
BOOT_TAKES_S = 15.0  # after it, a boot that is not finished makes room for others
HALTS_WITHIN = timedelta(seconds=10)
SHOWN_S = 300.0
CONSOLES = 200  # of machines that are gone
INTERNAL_ERROR = "Server.InternalError"


class Act(Enum):
    """What is due for one instance."""

    BOOT = auto()
    END = auto()
    MOURN = auto()
    FIT = auto()


def due(state: str, *, exists: bool, has_ended: bool = False) -> Act | None:
    """Decide what is missing between an instance's state and its machine.

    Args:
        state: In EC2's words.
        exists: Whether there is a machine, dead or alive.
        has_ended: Whether that machine has ended by itself.
    """
    match state:
        case "pending" | "running":
            if exists:
                return Act.MOURN if has_ended else None
            return Act.BOOT
        case "shutting-down" | "stopping":
            return Act.END
        case _:
            return Act.END if exists else None


@contextmanager
def running(places: Places, disks: RootDisks, accounts: Mapping[str, str]) -> Iterator[MachineRoom]:
    """Let instances be machines, with their metadata, for as long as the block runs.

    At the end every machine is killed, and nothing of them is left.

    Args:
        places: Where the machines' files are.
        disks: The images' root file systems.
        accounts: Account id → name of its network namespace.
    """
    room = MachineRoom(places, disks, accounts)
    with ExitStack() as parts:
        for account_id, namespace in accounts.items():
            parts.enter_context(metadata.serving(account_id, namespace))
        parts.callback(room.close)
        instances.REALITY.room = room
        room.open()
        yield room


class MachineRoom:
    """All machines of one sandbox, and the loop that keeps them as the API wants them."""

    def __init__(self, places: Places, disks: RootDisks, accounts: Mapping[str, str]) -> None:
        self._places, self._disks, self._accounts = places, disks, accounts
        self._volumes = MachineVolumes(places, disks)
        self._loop = Loop("machines", every_s=EVERY_S, tick=self._tick)
        self._boots = ThreadPoolExecutor(BOOTS, thread_name_prefix="boot")
        self._ends = ThreadPoolExecutor(ENDS, thread_name_prefix="end")
        self._guard = threading.Lock()
        self._machines: dict[str, Machine] = {}
        self._booting: dict[str, float] = {}  # instance → monotonic time of the start
        self._busy: set[str] = set()
        self._said: dict[str, str] = {}  # instance → last error, as it was logged
        self._terminated: dict[str, float] = {}  # instance → monotonic time it was first seen so
        self._consoles: deque[tuple[str, bytes]] = deque(maxlen=CONSOLES)  # the newest first

    def open(self) -> None:
        """Start the loop."""
        self._loop.start()

    def close(self) -> None:
        """Stop the loop, kill all machines and remove them."""
        instances.REALITY.room = None
        self._loop.stop()
        self._boots.shutdown(cancel_futures=True)
        for machine in list(self._machines.values()):
            self._ends.submit(machine.remove, with_disk=True)
        self._ends.shutdown()
        self._volumes.close()

    def wake(self) -> None:
        """Look at the states now."""
        self._loop.wake()

    def reboot(self, instance_id: str) -> None:
        """Let a machine boot again."""
        if machine := self._machines.get(instance_id):
            machine.reboot()

    def capture(self, capture: Capture) -> None:
        """Fill snapshots with what an instance's volumes hold now, before anything else."""
        self._volumes.ask(capture)
        self.wake()

    def console(self, instance_id: str) -> bytes:
        """Return what a machine wrote on its console, also of one that is gone."""
        if machine := self._machines.get(instance_id):
            return machine.console(CONSOLE_BYTES)
        return next((text for known, text in self._consoles if known == instance_id), b"")

    def pid(self, instance_id: str) -> int | None:
        """Return the process id of a machine's pid 1."""
        machine = self._machines.get(instance_id)
        return machine.pid() if machine else None

    def is_ready(self, instance_id: str) -> bool:
        """Tell whether a machine has finished its boot."""
        machine = self._machines.get(instance_id)
        return machine is not None and machine.is_ready

    def memory_bytes(self, instance_id: str) -> int:
        """Return how much memory a machine takes; 0 when there is none."""
        machine = self._machines.get(instance_id)
        return machine.memory_bytes() if machine else 0

    def _tick(self) -> None:
        with CONTROL:
            seen = {instance.id: (instance, instance.state) for instance in self._instances()}
        for key in self._volumes.due():
            self._do(self._ends, self._capture, key, key)
        for instance_id, (instance, state) in seen.items():
            machine = self._machines.get(instance_id)
            ended = machine is not None and machine.has_ended
            act = due(state, exists=machine is not None, has_ended=ended)
            if act is None and machine is not None and not fits(machine, instance):
                act = Act.FIT
            self._begin(act, instance)
        for instance_id in self._machines.keys() - seen.keys():  # its instance was forgotten
            self._do(self._ends, self._remove, instance_id)
        self._purge({instance_id: state for instance_id, (_, state) in seen.items()})
        for machine in list(self._machines.values()):
            machine.listen()
            machine.trim_console(CONSOLE_BYTES)
        self._disks.drop_idle()
        with CONTROL:
            known = {one for account in self._accounts for one in self._backend(account).volumes}
        self._volumes.keep(known)

    def _instances(self) -> Iterator[Instance]:
        for account_id in self._accounts:
            for instance in self._backend(account_id).all_instances():
                if instances.is_machine(instance, self):
                    yield instance

    @staticmethod
    def _backend(account_id: str) -> EC2Backend:
        return ec2_backends[account_id][REGION]

    def _begin(self, act: Act | None, instance: Instance) -> None:
        match act:
            case Act.BOOT:
                if self._has_room_to_boot():
                    self._do(self._boots, self._boot, instance.id, instance)
            case Act.END:
                self._do(self._ends, self._end, instance.id, instance)
            case Act.MOURN:
                self._do(self._ends, self._mourn, instance.id, instance)
            case Act.FIT:
                self._do(self._ends, self._fit, instance.id, instance)
            case None:
                pass

    def _has_room_to_boot(self) -> bool:
        """Tell whether fewer machines boot than may; one that is ready boots no more."""
        late = time.monotonic() - BOOT_TAKES_S
        for instance_id, since in list(self._booting.items()):
            machine = self._machines.get(instance_id)
            gone = machine is None and instance_id not in self._busy
            if gone or since < late or (machine and (machine.is_ready or machine.has_ended)):
                self._booting.pop(instance_id, None)
        return len(self._booting) < BOOTS

    def _do(
        self, pool: ThreadPoolExecutor, job: Callable[..., None], key: str, *words: Any
    ) -> None:
        """Begin a job on one instance, unless one is under way; its end wakes the loop."""
        with self._guard:
            if key in self._busy:
                return
            self._busy.add(key)
            if pool is self._boots:
                self._booting[key] = time.monotonic()

        def work() -> None:
            try:
                job(*(words or (key,)))
                self._said.pop(key, None)
            except Exception as error:
                if self._said.get(key) != repr(error):  # tried again at the next turn: say it once
                    self._said[key] = repr(error)
                    log.exception("instance `%s`", key)
            finally:
                self._busy.discard(key)
                self._loop.wake()

        pool.submit(work)

    def _boot(self, instance: Instance) -> None:
        with CONTROL:
            if instance.state not in {"pending", "running"}:
                return
            if launches.lacks_key(instance):
                instances.finish(instance, "terminated", copy.copy(instances.LACKS_KEY))
                return
            machine = Machine(self._places, self._launch(instance))
        had_disk = machine.has_disk
        self._machines[instance.id] = machine
        launch = machine.launch
        try:
            machine.start(self._disks.lower(launch.image_id, launch.snapshot_id, user=instance.id))
            self._volumes.fit(machine, instance)
        except Exception as error:
            log.exception("instance `%s` does not boot", instance.id)
            self._take_away(machine, with_disk=not had_disk)
            with CONTROL:
                instances.finish(instance, "stopped" if had_disk else "terminated", _failure(error))
            return
        with CONTROL:
            if instance.state == "pending":  # or somebody has ended it meanwhile: the next turn
                instances.finish(instance, "running")

    def _end(self, instance: Instance) -> None:
        """Stop or terminate; what is asked for meanwhile is due at the next turn."""
        with CONTROL:
            asked = instance.state
            launch = self._launch(instance)
        keeps_disk = asked in {"stopping", "stopped"}
        machine = self._machines.get(instance.id) or Machine(self._places, launch)
        if keeps_disk:
            machine.shut_down(within=HALTS_WITHIN)
        self._take_away(machine, with_disk=not keeps_disk)
        with CONTROL:
            if instance.state == asked:
                instances.finish(instance, "stopped" if keeps_disk else "terminated")

    def _fit(self, instance: Instance) -> None:
        if machine := self._machines.get(instance.id):
            self._volumes.fit(machine, instance)

    def _capture(self, key: str) -> None:
        """Take what is asked for of one instance; one that is shut down for it boots again."""
        for capture in self._volumes.pop(key):
            machine = self._machines.get(key)
            if machine is not None and capture.restart:
                machine.shut_down(within=HALTS_WITHIN)
                self._take_away(machine, with_disk=False)
                machine = None
            with machine.frozen() if machine else nullcontext():
                self._volumes.take(capture)

    def _mourn(self, instance: Instance) -> None:
        """Say of an instance that its machine has ended by itself."""
        machine = self._machines[instance.id]
        if machine.boots_again:  # the state is still `running`: the next turn boots it
            self._take_away(machine, with_disk=False)
            return
        state = "stopped"
        if instance.instance_initiated_shutdown_behavior == "terminate":
            state = "terminated"
        self._take_away(machine, with_disk=state == "terminated")
        with CONTROL:
            if instance.state in {"pending", "running"}:
                instances.finish(instance, state, copy.copy(instances.BY_ITSELF))

    def _remove(self, instance_id: str) -> None:
        self._take_away(self._machines[instance_id], with_disk=True)

    def _take_away(self, machine: Machine, *, with_disk: bool) -> None:
        machine.kill()
        launch = machine.launch
        self._volumes.leave(machine)
        self._consoles.appendleft((launch.instance_id, machine.console(CONSOLE_BYTES)))
        machine.remove(with_disk=with_disk)
        self._machines.pop(launch.instance_id, None)
        if with_disk:  # one that is kept stands on the image as before
            self._disks.release(launch.snapshot_id, user=launch.instance_id)

    def _launch(self, instance: Instance) -> Launch:
        return Launch(
            instance_id=instance.id,
            image_id=instance.image_id,
            snapshot_id=launches.root_snapshot(instance),
            network=self._accounts[instance.owner_id],
            address=str(instance.private_ip),
            mac=instance.nics[0].mac_address,
            host_name=instance.private_dns_name.split(".")[0],
            metadata_url=metadata.cloud_init_url(instance.id),
        )

    def _purge(self, states: Mapping[str, str]) -> None:
        """Forget instances that have been terminated for long enough."""
        now = time.monotonic()
        gone = (instance_id for instance_id, state in states.items() if state == "terminated")
        self._terminated = {found: self._terminated.get(found, now) for found in gone}
        old = {found for found, since in self._terminated.items() if since < now - SHOWN_S}
        if old:
            with CONTROL:
                for account_id in self._accounts:
                    instances.forget(self._backend(account_id), old)


def _failure(error: Exception) -> StateReason:
    code = "Client.InvalidSnapshot.NotFound" if isinstance(error, NotFound) else INTERNAL_ERROR
    return StateReason(f"{code}: {error}", code)
