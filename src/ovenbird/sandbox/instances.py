"""Instances in their states, as EC2 takes them from one to the next.

    pending ─▶ running ─▶ stopping ─▶ stopped ─▶ pending ...
       └──────────┴──▶ shutting-down ─▶ terminated

On EC2 a call only asks: the state that it answers with (`pending`, `stopping`,
`shutting-down`) lasts until the machine is there or gone. Stopping or starting an instance
in another state is `IncorrectInstanceState`; terminating is always allowed, and repeated
calls change nothing. An interface that the launch made goes with its instance, and its
address is free again only then.

moto 5.2.5 jumps to the last state in the call itself, keeps interface and address for ever,
shows terminated instances for ever, answers GetConsoleOutput with a canned text, forgets the
other metadata options when one is modified, and says at once that all status checks passed.

What is launched while a machine room is open (:data:`REALITY`) is a machine of that room:
calls here only write the state that was asked for and wake the room, which finishes with
moto's own methods when the machine is there or gone. All others are instances in moto's
model alone, whose state machine works as it is: enough for tests of the API.

Source: EC2 user guide, "Amazon EC2 instance state changes"; EC2 API reference,
TerminateInstances, StopInstances, StartInstances, RebootInstances, GetConsoleOutput,
StateReason; moto/ec2/models/instances.py.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any, Protocol

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidInstanceIdError,
    InvalidParameterCombination,
    OperationDisableApiStopNotPermitted,
    OperationNotPermitted4,
)
from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import (
    Instance,
    InstanceBackend,
    InstanceState,
    MetadataOptions,
    StateReason,
)
from moto.ec2.responses.general import General
from moto.elbv2.models import elbv2_backends

from ovenbird.sandbox import descriptions, launches
from ovenbird.sandbox.captures import Capture
from ovenbird.sandbox.loops import CONTROL

CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
CONSOLE_BYTES = 65536  # EC2 keeps the most recent 64 KiB
BY_USER = StateReason(
    "Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown"
)
BY_ITSELF = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    "Client.InstanceInitiatedShutdown",
)
LACKS_KEY = StateReason("Client.InternalError: Client error on launch", "Client.InternalError")
Changed = list[tuple[Instance, InstanceState]]


class Room(Protocol):
    """What the API needs of the room in which instances are machines."""

    def wake(self) -> None:
        """Look at the states now."""

    def reboot(self, instance_id: str) -> None:
        """Let a machine boot again."""

    def capture(self, capture: Capture) -> None:
        """Fill snapshots with what an instance's volumes hold now."""

    def console(self, instance_id: str) -> bytes:
        """Return the last that a machine wrote on its console."""

    def is_ready(self, instance_id: str) -> bool:
        """Tell whether a machine has finished its boot."""

    def memory_bytes(self, instance_id: str) -> int:
        """Return how much memory a machine takes; 0 when there is none."""


class Reality:
    """Whether instances are machines: the room that is open, or None."""

    room: Room | None = None


REALITY = Reality()


def install() -> None:
    """Put our versions in moto's place."""
    launches.install()
    descriptions.install()
    changed: dict[str, Callable[[Any], Any]] = {
        "run_instances": _pending,
        "terminate_instances": lambda original: _asked(original, _terminate),
        "stop_instances": lambda original: _asked(original, _stop),
        "start_instances": lambda original: _asked(original, _start),
        "reboot_instances": lambda original: _asked(original, _reboot),
    }
    for name, wrap in changed.items():
        setattr(InstanceBackend, name, wrap(getattr(InstanceBackend, name)))
    for name, find in (("get_instance_by_id", find_instance), ("get_instance", get_instance)):
        setattr(InstanceBackend, name, find)
    setattr(Instance, "terminate", _once(Instance.terminate))  # noqa: B010 - mypy knows another type
    setattr(
        InstanceBackend, modify_instance_metadata_options.__name__, modify_instance_metadata_options
    )
    General.get_console_output = _console(General.get_console_output)
    setattr(Instance, "instance_status", _checked(Instance.instance_status))  # noqa: B010 - a property


def is_machine(instance: Instance, room: Room | None) -> bool:
    """Tell whether an instance is a machine of a room."""
    return room is not None and getattr(instance, "room", None) is room


def finish(instance: Instance, state: str, reason: StateReason | None = None) -> None:
    """Write the state that a machine has reached; a terminated one leaves its target groups.

    Args:
        instance: Seen under :data:`CONTROL`.
        state: ``running``, ``stopped`` or ``terminated``.
        reason: None for what the last call wrote.
    """
    why, words = reason or instance.state_reason, instance._reason
    {"running": instance.start, "stopped": instance.stop, "terminated": instance.terminate}[state]()
    if state == "running":
        return
    instance.state_reason = why
    instance._reason = words if reason is None else f"{why.code} ({_now()})"
    if state == "terminated":
        backend = instance.ec2_backend
        balancers = elbv2_backends[backend.account_id][backend.region_name]
        balancers.notify_terminate_instances([instance.id])


def forget(backend: EC2Backend, instance_ids: set[str]) -> None:
    """Drop terminated instances, and reservations that are empty, from moto's model."""
    for reservation in backend.reservations.values():
        reservation.instances = [i for i in reservation.instances if i.id not in instance_ids]
    launches.drop_empty(backend)
    for instance_id in instance_ids:
        _index(backend).pop(instance_id, None)


def find_instance(self: EC2Backend, instance_id: str) -> Instance | None:
    """Return an instance, by an index: moto goes through all there are."""
    index = _index(self)
    if instance_id not in index:
        every = (one for found in self.reservations.values() for one in found.instances)
        index.update({one.id: one for one in every})
    return index.get(instance_id)


def get_instance(self: EC2Backend, instance_id: str) -> Instance:
    """Return an instance.

    Raises:
        InvalidInstanceIdError: There is none of that id.
    """
    found = find_instance(self, instance_id)
    if found is None:
        raise InvalidInstanceIdError(instance_id)
    return found


def _index(backend: EC2Backend) -> dict[str, Instance]:
    found: dict[str, Instance] = backend.__dict__.setdefault("_by_id", {})
    return found


def modify_instance_metadata_options(
    self: EC2Backend, instance_id: str, **given: Any
) -> MetadataOptions:
    """Stand in for ModifyInstanceMetadataOptions: what is not named stays."""
    options: MetadataOptions = self.get_instance(instance_id).metadata_options
    names = {
        "http_tokens": "http_tokens",
        "hop_limit": "http_put_response_hop_limit",
        "http_endpoint": "http_endpoint",
        "http_protocol": "http_protocol_ipv6",
        "metadata_tags": "instance_metadata_tags",
    }
    for key, name in names.items():
        if given.get(key) is not None:
            setattr(options, name, given[key])
    return options


def _set(instance: Instance, state: str) -> None:
    instance._state = InstanceState(state, CODES[state])


def _now() -> str:
    return f"{utcnow():%Y-%m-%d %H:%M:%S} UTC"


def _pending(original: Any) -> Any:
    """Let what is launched be pending, and the room know."""

    def run_instances(self: EC2Backend, *words: Any, **named: Any) -> Any:
        with CONTROL:
            known = set(self.reservations)
            made = original(self, *words, **named)
            if REALITY.room is None:
                for instance in filter(launches.lacks_key, made.instances):
                    finish(instance, "terminated", copy.copy(LACKS_KEY))
            elif made.id not in known:  # known: the answer to a repeated call
                for instance in made.instances:
                    instance.room = REALITY.room
                    _set(instance, "pending")
                REALITY.room.wake()
            return made

    return run_instances


def _asked(original: Any, ask: Callable[[Instance], None]) -> Any:
    """Let a call on several instances only ask while a room is open."""

    def change(self: EC2Backend, instance_ids: list[str]) -> Any:
        with CONTROL:
            if not instance_ids:
                raise InvalidParameterCombination("No instances specified")
            found = self.get_multi_instances_by_id(instance_ids)
            machines = [one for one in found if is_machine(one, REALITY.room)]
            before = [(instance, copy.copy(instance._state)) for instance in machines]
            for instance in machines:
                ask(instance)
            if machines and REALITY.room:
                REALITY.room.wake()
            others = [instance.id for instance in found if instance not in machines]
            return [*before, *original(self, others)] if others else before

    return change


def _terminate(instance: Instance) -> None:
    if instance.disable_api_termination is True:
        raise OperationNotPermitted4(instance.id)
    if instance.state != "terminated":
        _set(instance, "shutting-down")
        _by_user(instance)


def _stop(instance: Instance) -> None:
    if instance.disable_api_stop is True:
        raise OperationDisableApiStopNotPermitted(instance.id)
    if instance.state == "running":
        _set(instance, "stopping")
        _by_user(instance)
    elif instance.state not in {"stopping", "stopped"}:
        raise _wrong_state(instance, "stopped")


def _start(instance: Instance) -> None:
    if instance.state == "stopped":
        _set(instance, "pending")
        instance._reason, instance.state_reason = "", StateReason()
    elif instance.state not in {"pending", "running"}:
        raise _wrong_state(instance, "started")


def _reboot(instance: Instance) -> None:
    if instance.state != "running":
        raise _wrong_state(instance, "rebooted")
    if REALITY.room:
        REALITY.room.reboot(instance.id)


def _by_user(instance: Instance) -> None:
    instance._reason, instance.state_reason = f"User initiated ({_now()})", copy.copy(BY_USER)


def _wrong_state(instance: Instance, what: str) -> EC2ClientError:
    return EC2ClientError(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {what}.",
    )


def _once(original: Any) -> Any:
    """Terminate an instance once, and give its address back once."""

    def terminate(self: Instance) -> InstanceState:
        if self.state == "terminated":
            return copy.copy(self._state)
        before: InstanceState = original(self)
        self._private_ips.clear()  # moto would free them again when the object goes
        return before

    return terminate


def _console(original: Any) -> Any:
    """Answer with the machine's own console."""

    def get_console_output(self: General) -> ActionResult:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        room = REALITY.room
        if room is None or not is_machine(instance, room):
            canned: ActionResult = original(self)
            return canned
        text = room.console(instance.id)
        output = base64.b64encode(text).decode()
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    return get_console_output


def _checked(original: Any) -> property:
    """Let a machine's reachability be unknown until it has booted."""

    def instance_status(self: Instance) -> dict[str, Any]:
        room = REALITY.room
        if self.state != "running" or room is None or not is_machine(self, room):
            passed: dict[str, Any] = original.fget(self)
            return passed
        if room.is_ready(self.id):
            return {"Details": [{"Name": "reachability", "Status": "passed"}], "Status": "ok"}
        details = [{"Name": "reachability", "Status": "initializing"}]
        return {"Details": details, "Status": "initializing"}

    return property(instance_status)
