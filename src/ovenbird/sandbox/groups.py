"""Auto Scaling's API over groups that a loop follows.

Auto Scaling deletes groups with instances only when forced to, tells its activities, and
lets lifecycle actions be answered. moto 5.2.5 has no activities and no lifecycle actions,
and looks at no ForceDelete.

Source: moto/autoscaling/responses.py; Auto Scaling API reference, the actions named here.
Not built: instance refresh, tokens of lifecycle actions (they are known by instance), what
`group_settings` names as without effect.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from ovenbird.sandbox import group_settings, templates
from ovenbird.sandbox.group_backend import GroupsBackend
from ovenbird.sandbox.group_loop import tick
from ovenbird.sandbox.group_model import Group, Member, Waiting
from ovenbird.sandbox.loops import Loop
from ovenbird.sandbox.pages import page_of

EVERY_S = 0.25
_ACTIVITIES_AT_ONCE = 100  # Source: DescribeScalingActivities, MaxRecords


class _Turning:
    """The loop that runs, if one does."""

    loop: Loop | None = None


def install() -> None:
    """Put our versions in moto's place, those of launch templates too."""
    templates.install()
    group_settings.install()
    setattr(models, "FakeAutoScalingGroup", Group)  # noqa: B010 - mypy: a class is no variable
    setattr(models, "InstanceState", Member)  # noqa: B010
    autoscaling_backends.backend = GroupsBackend
    AutoScalingResponse.call_action = _waking(AutoScalingResponse.call_action)
    AutoScalingResponse.delete_auto_scaling_group = delete_auto_scaling_group
    AutoScalingResponse.set_instance_health = set_instance_health
    AutoScalingResponse.describe_scaling_activities = describe_scaling_activities
    for action in (complete_lifecycle_action, record_lifecycle_action_heartbeat):
        setattr(AutoScalingResponse, action.__name__, action)


@contextmanager
def running() -> Iterator[None]:
    """Let all groups be followed for as long as the block runs.

    Its instances are EC2's: what launched them removes them.
    """
    loop = Loop("groups", every_s=EVERY_S, tick=lambda: tick(time.time()))
    _Turning.loop = loop
    loop.start()
    try:
        yield
    finally:
        _Turning.loop = None
        loop.stop()


def delete_auto_scaling_group(self: AutoScalingResponse) -> ActionResult:
    """Stand in for DeleteAutoScalingGroup."""
    _backend(self).delete_auto_scaling_group(
        self._get_param("AutoScalingGroupName"),
        force=bool(self._get_bool_param("ForceDelete")),
    )
    return EmptyResult()


def set_instance_health(self: AutoScalingResponse) -> ActionResult:
    """Stand in for SetInstanceHealth."""
    status = self._get_param("HealthStatus")
    if status not in {"Healthy", "Unhealthy"}:
        raise ValidationError("Valid instance health states are: [Healthy, Unhealthy]")
    _backend(self).set_instance_health(
        self._get_param("InstanceId"),
        status,
        respect_grace=self._get_bool_param("ShouldRespectGracePeriod") is not False,
    )
    return EmptyResult()


def describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
    """Stand in for DescribeScalingActivities."""
    found = _backend(self).activities(
        self._get_param("AutoScalingGroupName"), self._get_param("ActivityIds", [])
    )
    size = self._get_int_param("MaxRecords") or _ACTIVITIES_AT_ONCE
    activities, token = page_of(found, self._get_param("NextToken"), size=size)
    return ActionResult({"Activities": activities, "NextToken": token})


def complete_lifecycle_action(self: AutoScalingResponse) -> ActionResult:
    """Stand in for CompleteLifecycleAction, by instance."""
    result = self._get_param("LifecycleActionResult")
    if result not in {"CONTINUE", "ABANDON"}:
        raise ValidationError("LifecycleActionResult must be CONTINUE or ABANDON")
    _action(self).result = result
    return EmptyResult()


def record_lifecycle_action_heartbeat(self: AutoScalingResponse) -> ActionResult:
    """Stand in for RecordLifecycleActionHeartbeat, by instance."""
    waiting = _action(self)
    group, name = self._get_param("AutoScalingGroupName"), self._get_param("LifecycleHookName")
    (hook,) = _backend(self).describe_lifecycle_hooks(group, [name])
    waiting.deadline = time.time() + hook.heartbeat_timeout
    return EmptyResult()


def _action(self: AutoScalingResponse) -> Waiting:
    """Return the lifecycle action that is spoken of.

    Raises:
        ValidationError: It does not wait, or never did.
    """
    group = _backend(self).group(self._get_param("AutoScalingGroupName"))
    instance_id = self._get_param("InstanceId") or ""
    member, name = group.member(instance_id), self._get_param("LifecycleHookName")
    hooks = _backend(self).describe_lifecycle_hooks(group.name, [name])
    if member is None or not hooks or name not in member.waiting:
        raise ValidationError(
            f"No active Lifecycle Action found with instance ID {instance_id or 'null'}"
        )
    return member.waiting[name]


def _backend(self: AutoScalingResponse) -> GroupsBackend:
    backend = self.autoscaling_backend
    if not isinstance(backend, GroupsBackend):
        raise TypeError(backend)
    return backend


def _waking(original: Any) -> Any:
    """Let the loop look at once after each call."""

    def call_action(self: AutoScalingResponse) -> Any:
        try:
            return original(self)
        finally:
            if _Turning.loop:
                _Turning.loop.wake()

    return call_action
