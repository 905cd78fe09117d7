"""DescribeInstances of many instances: each is written once, and again when it has changed.

moto 5.2.5 takes two milliseconds to write one instance as XML, in each answer again: two
seconds for a thousand. Here the XML of a reservation is kept as long as its marks stay the
same: all plain values of its instances, and of what belongs to them (interfaces, volumes,
groups, tags, options).

Source: moto/core/serialize.py, EC2Serializer; measured on 2026-11-28: see docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import datetime
from typing import Any

from moto.core.responses import ActionContext, ActionResult
from moto.ec2.models.instances import Instance, Reservation
from moto.ec2.responses.instances import InstanceResponse

KEPT = 20_000  # reservations, of all accounts
_PLAIN = (str, int, float, bool, type(None), datetime)
_EMPTY = {"<reservationSet/>", "<reservationSet></reservationSet>"}
_BEGIN, _END = "<reservationSet>", "</reservationSet>"
_kept: dict[str, tuple[Hashable, str]] = {}


def install() -> None:
    """Put our version in moto's place."""
    setattr(  # noqa: B010 - mypy knows another type
        InstanceResponse, "describe_instances", _remembered(InstanceResponse.describe_instances)
    )


def marks(reservation: Reservation) -> Hashable:
    """Return what the description of a reservation depends on."""
    return tuple(_marks_of(instance) for instance in reservation.instances)


class Described(ActionResult):
    """An answer of DescribeInstances, put together from what was written before."""

    def execute_result(self, context: ActionContext) -> Any:
        """Return status, head and body."""
        result: Any = self.result
        reservations, token = result["Reservations"], result["NextToken"]
        fragments = [_fragment(one, context) for one in reservations]
        status, head, body = _written({"Reservations": [], "NextToken": token}, context)
        whole = f"{_BEGIN}{''.join(fragments)}{_END}"
        for empty in _EMPTY:
            body = body.replace(empty, whole)
        return status, head, body


def _remembered(original: Any) -> Any:
    def describe_instances(self: InstanceResponse) -> Any:
        answer = original(self)
        return Described(answer.result) if isinstance(answer, ActionResult) else answer

    return describe_instances


def _fragment(reservation: Reservation, context: ActionContext) -> str:
    now = marks(reservation)
    known = _kept.get(reservation.id)
    if known is not None and known[0] == now:
        return known[1]
    _, _, body = _written({"Reservations": [reservation], "NextToken": None}, context)
    fragment = body.partition(_BEGIN)[2].rpartition(_END)[0]
    if len(_kept) >= KEPT:
        _kept.clear()
    _kept[reservation.id] = (now, fragment)
    return fragment


def _written(result: Any, context: ActionContext) -> Any:
    return ActionResult(result).execute_result(context)


def _marks_of(instance: Instance) -> Hashable:
    tags = instance.ec2_backend.tags.get(instance.id, {})
    mapping = instance.block_device_mapping
    return (
        _plain(instance),
        instance._state.name,
        _plain(instance.state_reason),
        _plain(instance.placement),
        _plain(instance.metadata_options),
        tuple(tags.items()),
        tuple((group.id, group.name) for group in instance.security_groups),
        tuple(_nic(nic) for nic in instance.nics.values()),
        tuple((name, _plain(mapping[name])) for name in mapping),
    )


def _nic(nic: Any) -> Hashable:
    return (_plain(nic), tuple(group.id for group in nic.group_set), str(nic.private_ip_addresses))


def _plain(thing: Any) -> Hashable:
    """Return the plain values of a thing; lists of them by their words."""
    return tuple(_values(vars(thing).values()))


def _values(values: Iterable[Any]) -> Iterable[Hashable]:
    for value in values:
        if isinstance(value, _PLAIN):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            yield repr(value) if len(value) < 3 else len(value)
