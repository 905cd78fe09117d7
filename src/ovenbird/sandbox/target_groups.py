"""Targets and their health, as ELBv2 has them.

A target is known by id and port; its health comes from checks; one that is deregistered
drains before it is forgotten, and one that was never registered is none; a target group
that no rule uses has ``unused`` targets, and says so at once.
moto 5.2.5 calls every target healthy, forgets a deregistered one at once or refuses it,
keeps one port for each target, and remembers load balancers that a group has left.

Source: moto/elbv2/models.py, FakeTargetGroup; ELBv2 API reference, RegisterTargets,
DeregisterTargets, DescribeTargetHealth, TargetHealth.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from moto.ec2.models import EC2Backend
from moto.elbv2.exceptions import (
    ELBClientError,
    InvalidTargetError,
    TargetGroupNotFoundError,
    TargetNotRunning,
)
from moto.elbv2.models import (
    ELBv2Backend,
    FakeHealthStatus,
    FakeTargetGroup,
    elbv2_backends,
)

from ovenbird.sandbox import balancer_rules, data_plane
from ovenbird.sandbox.targets import CHECKING, DRAINING, HEALTH, NOT_REGISTERED, REGISTERING, Key

DELAY = "deregistration_delay.timeout_seconds"
SHORTEST_S = 1.0  # the balancer needs a moment to stop sending, also when the delay is 0


def install() -> None:
    """Put our versions in moto's place."""
    FakeTargetGroup.register = register
    FakeTargetGroup.deregister = deregister
    FakeTargetGroup.deregister_terminated_instances = deregister_terminated_instances
    FakeTargetGroup.health_for = health_for
    setattr(FakeTargetGroup, "load_balancer_arns", property(_balancers, _ignore))  # noqa: B010
    ELBv2Backend.describe_target_health = describe_target_health


def register(self: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
    """Stand in for RegisterTargets; what is registered already stays as it is."""
    for target in targets:
        _check(self, target["Id"])
    for key in _keys(self, targets):
        if _place(key) not in self.targets:
            self.targets[_place(key)] = {"Id": key[1], "Port": key[2]}
            HEALTH.write(*key, REGISTERING)
    data_plane.wake(self.account_id)


def deregister(self: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
    """Stand in for DeregisterTargets; a target that is not registered is none."""
    used = self.arn in balancer_rules.in_use(_backend(self))
    for key in _keys(self, targets):
        if not self.targets.pop(_place(key), None):
            continue
        if used:
            HEALTH.drain(*key, within_s=max(SHORTEST_S, float(str(self.attributes[DELAY]))))
        else:
            HEALTH.forget(*key)
    data_plane.wake(self.account_id)


def deregister_terminated_instances(self: FakeTargetGroup, instance_ids: list[str]) -> None:
    """Deregister instances that were terminated."""
    found = [dict(t) for t in self.targets.values() if t["Id"] in instance_ids]
    if found:
        deregister(self, found)


def health_for(
    self: FakeTargetGroup,
    target: dict[str, Any],
    ec2_backend: EC2Backend,  # noqa: ARG001 - moto gives it
) -> FakeHealthStatus:
    """Return the health of one target."""
    (key,) = _keys(self, [target])
    if _place(key) in self.targets:
        used = self.arn in balancer_rules.in_use(_backend(self))
        found = balancer_rules.health_of(self, key, used=used)
        if found.state == "healthy" and not data_plane.carries(self.account_id, key):
            found = CHECKING  # whoever reads "healthy" may move the traffic at once
    else:
        found = DRAINING if key in HEALTH.draining(self.arn) else NOT_REGISTERED
    port = self.health_check_port
    return FakeHealthStatus(
        key[1],
        str(key[2]),
        str(key[2]) if port in {None, "traffic-port"} else port,
        found.state,
        found.reason or None,
        found.description or None,
    )


def describe_target_health(
    self: ELBv2Backend, target_group_arn: str, targets: list[dict[str, Any]]
) -> list[FakeHealthStatus]:
    """Stand in for DescribeTargetHealth; without names it shows those that drain, too."""
    group = self.target_groups.get(target_group_arn)
    if group is None:
        raise TargetGroupNotFoundError
    draining = [{"Id": key[1], "Port": key[2]} for key in HEALTH.draining(group.arn)]
    asked = targets or [*group.targets.values(), *draining]
    return [group.health_for(target, self.ec2_backend) for target in asked]


def forget(group: FakeTargetGroup) -> None:
    """Forget the targets of a group that is deleted."""
    for key in (*balancer_rules.keys(group), *HEALTH.draining(group.arn)):
        HEALTH.forget(*key)


def _check(group: FakeTargetGroup, target: str) -> None:
    """Refuse an instance that does not run, and what is no address."""
    if group.target_type == "ip":
        try:
            ipaddress.IPv4Address(target)
        except ValueError as error:
            words = f"The IP address '{target}' is not a valid IPv4 address"
            raise ELBClientError("ValidationError", words) from error
        return
    instance = group.ec2_backend.get_instance_by_id(target)
    if instance is None:
        raise InvalidTargetError
    if instance.state != "running":
        raise TargetNotRunning(instance_id=target)


def _keys(group: FakeTargetGroup, targets: Iterable[Mapping[str, Any]]) -> list[Key]:
    return [(group.arn, one["Id"], int(one.get("Port") or group.port)) for one in targets]


def _place(key: Key) -> str:
    return balancer_rules.target_name(key[1], key[2])


def _backend(group: FakeTargetGroup) -> ELBv2Backend:
    return elbv2_backends[group.account_id][group.region_name]


def _balancers(self: FakeTargetGroup) -> list[str]:
    balancer = balancer_rules.in_use(_backend(self)).get(self.arn)
    return [balancer] if balancer else []


def _ignore(_self: FakeTargetGroup, _value: list[str]) -> None:
    """Let moto's own list go: what rules say is the truth."""
