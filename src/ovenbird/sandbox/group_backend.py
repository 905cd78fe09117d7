"""Auto Scaling's rules: what it refuses, and what a call changes.

Auto Scaling refuses sizes that do not go together, names that it does not know
(ValidationError, status 400) and deleting a group with instances. moto 5.2.5 takes any
size, answers an unknown name with status 500, and deletes at once.

Source: moto/autoscaling/models.py; Auto Scaling API reference, the actions named here.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, TypeVar

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import AutoScalingBackend

from ovenbird.sandbox.group_decisions import Life
from ovenbird.sandbox.group_loop import (
    LAUNCHING,
    TERMINATING,
    USER_CHECK,
    deregister,
    forget,
    leave,
    register,
)
from ovenbird.sandbox.group_model import (
    Activity,
    Group,
    Member,
    Policy,
    refuse_sizes,
    refuse_template,
)

PROCESSES = frozenset(
    {
        "Launch", "Terminate", "AddToLoadBalancer", "AlarmNotification", "AZRebalance",
        "HealthCheck", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions",
    }
)  # fmt: skip


Thing = TypeVar("Thing")


class _Known(OrderedDict[str, Thing]):
    """Things by name; an unknown name is the caller's mistake, not ours.

    Args:
        words: What the caller is told, before the name.
    """

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def __missing__(self, name: str) -> Thing:
        raise ValidationError(f"{self._words}: {name}")


class GroupsBackend(AutoScalingBackend):
    """Auto Scaling of one account."""

    __module__ = "moto.autoscaling.models"  # moto derives the service from it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.autoscaling_groups = _Known("AutoScalingGroup name not found - no such group")
        self.launch_configurations = _Known("Launch configuration name not found")
        self.policies: dict[str, Any] = {}  # by group and name
        self.scheduled_actions: dict[str, Any] = OrderedDict()  # by group and name

    def group(self, name: str) -> Group:
        """Return a group.

        Raises:
            ValidationError: There is none of that name.
        """
        found = self.autoscaling_groups[name]
        if not isinstance(found, Group):
            raise TypeError(found)
        return found

    def policy(self, group_name: str | None, name: str) -> Policy:
        """Return a policy, by its name in a group or by its ARN.

        Raises:
            ValidationError: There is none.
        """
        for policy in self.policies.values():
            by_name = (policy.auto_scaling_group_name, policy.name) == (group_name, name)
            if isinstance(policy, Policy) and (by_name or policy.arn == name):
                return policy
        raise ValidationError(f"PolicyName not found: {name}")

    def put_scaling_policy(self, name: str, *words: Any, **named: Any) -> Any:
        """Stand in for PutScalingPolicy: of one group."""
        group, others = self.group(named["as_name"]), self.policies
        self.policies = {}
        try:
            made = super().put_scaling_policy(name, *words, **named)
        finally:
            self.policies = others
        self.policies[f"{group.name}/{name}"] = made
        return made

    def put_scheduled_update_group_action(self, name: str, *words: Any, **named: Any) -> Any:
        """Stand in for PutScheduledUpdateGroupAction: of one group."""
        group, others = self.group(name), self.scheduled_actions
        self.scheduled_actions = OrderedDict()
        try:
            made = super().put_scheduled_update_group_action(name, *words, **named)
        finally:
            self.scheduled_actions = others
        self.scheduled_actions[f"{group.name}/{made.scheduled_action_name}"] = made
        return made

    def delete_scheduled_action(
        self, auto_scaling_group_name: str, scheduled_action_name: str
    ) -> None:
        """Stand in for DeleteScheduledAction."""
        key = f"{auto_scaling_group_name}/{scheduled_action_name}"
        if self.scheduled_actions.pop(key, None) is None:
            raise ValidationError("Scheduled action name not found")

    def groups(self) -> list[Group]:
        """Return all groups."""
        return [self.group(name) for name in list(self.autoscaling_groups)]

    def create_auto_scaling_group(self, **named: Any) -> Any:  # type: ignore[override]
        """Stand in for CreateAutoScalingGroup."""
        name = named["name"]
        if name in self.autoscaling_groups:
            raise AutoscalingClientError(
                "AlreadyExists",
                "AutoScalingGroup by this name already exists - A group with the name"
                f" {name} already exists",
            )
        minimum, maximum = named["min_size"], named["max_size"]
        if minimum is None or maximum is None:
            raise ValidationError("MinSize and MaxSize are required")
        refuse_sizes(minimum, maximum, named["desired_capacity"])
        mixed = (named.get("mixed_instances_policy") or {}).get("LaunchTemplate", {})
        if template := named["launch_template"] or mixed.get("LaunchTemplateSpecification"):
            refuse_template(self.ec2_backend, template)
        if not set(named["target_group_arns"]) <= self.elbv2_backend.target_groups.keys():
            raise ValidationError(
                "Provided Target Groups may not be valid. Please ensure they exist and try again."
            )
        group = super().create_auto_scaling_group(**named)
        group.health_check_grace_period = int(named["health_check_period"] or 0)  # moto: 300
        return group

    def delete_auto_scaling_group(self, group_name: str, *, force: bool = False) -> None:
        """Stand in for DeleteAutoScalingGroup; the loop forgets the group."""
        group = self.group(group_name)
        if group.members and not force:
            raise AutoscalingClientError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending"
                " Spot instance request(s) still in the group.",
            )
        before, group.dropped, group.status = group.desired_capacity, True, "Delete in progress"
        group.min_size = group.desired_capacity = 0
        group.ask("deleted the AutoScalingGroup", before=before or 0)
        for member in group.live:
            leave(
                group, member, "an instance was taken out of service in response to a user request."
            )
        if not group.members:
            forget(group)

    def set_desired_capacity(self, group_name: str, desired_capacity: int | None) -> None:
        """Stand in for SetDesiredCapacity."""
        group = self.group(group_name)
        group.refuse_if_deleted()
        before, wanted = group.desired_capacity or 0, int(desired_capacity or 0)
        low, high = group.bounds
        if not low <= wanted <= high:
            wrong = f"above max value {high}" if wanted > high else f"below min value {low}"
            raise ValidationError(
                f"New SetDesiredCapacity value {wanted} is {wrong} for the AutoScalingGroup."
            )
        group.set_desired_capacity(wanted)
        group.ask("explicitly set group desired capacity", before=before)
        group.failures, group.quiet_until = 0, 0.0

    def set_instance_health(
        self, instance_id: str, health_status: str, *, respect_grace: bool = True
    ) -> None:
        """Stand in for SetInstanceHealth; during the grace period it may be ignored."""
        group, member = self.managed(instance_id)
        if health_status == "Healthy":
            member.health_status, member.why_unhealthy = "Healthy", ""
            return
        grace = (group.health_check_grace_period or 0) if respect_grace else 0
        in_grace = member.life is not Life.IN_SERVICE or time.time() - member.in_service_at < grace
        if not (respect_grace and in_grace):
            member.fail(USER_CHECK)

    def terminate_instance(self, instance_id: str, should_decrement: bool) -> Any:  # noqa: FBT001 - moto's
        """Stand in for TerminateInstanceInAutoScalingGroup."""
        group, member = self.managed(instance_id)
        before, cause = group.desired_capacity or 0, ""
        if should_decrement:
            if before <= (group.min_size or 0):
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({before}). Terminating instance"
                    " without replacement will violate group's min size constraint. Either set"
                    " shouldDecrementDesiredCapacity flag to false or lower group's min size."
                )
            group.desired_capacity = before - 1
            cause = f", shrinking the capacity from {before} to {before - 1}"
        why = f"instance {instance_id} was taken out of service in response to a user request"
        if not member.leaving:
            leave(group, member, f"{why}{cause}.")
        return member.activity

    def managed(self, instance_id: str) -> tuple[Group, Member]:
        """Return an instance and its group.

        Raises:
            ValidationError: No group has it.
        """
        for group in self.groups():
            if member := group.member(instance_id):
                return group, member
        raise ValidationError(
            f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
        )

    def update_attached_target_groups(self, group_name: str) -> None:
        """Register the instances in service with all target groups of a group."""
        group = self.group(group_name)
        for member in group.members:
            if member.life is Life.IN_SERVICE:
                register(group, member)

    def detach_load_balancer_target_groups(
        self, group_name: str, target_group_arns: list[str]
    ) -> None:
        """Stand in for DetachLoadBalancerTargetGroups."""
        group = self.group(group_name)
        gone = [
            target_group for target_group in group.attached if target_group.arn in target_group_arns
        ]
        group.target_group_arns = [a for a in group.target_group_arns if a not in target_group_arns]
        for member in group.members:
            deregister(gone, member)

    def enter_standby_instances(
        self,
        group_name: str,
        instance_ids: list[str],
        should_decrement: bool,  # noqa: FBT001
    ) -> Any:
        """Stand in for EnterStandby: out of the load balancers."""
        activities = super().enter_standby_instances(group_name, instance_ids, should_decrement)
        self._deregister(group_name, instance_ids)
        return activities

    def exit_standby_instances(self, group_name: str, instance_ids: list[str]) -> Any:
        """Stand in for ExitStandby: back into the load balancers."""
        activities = super().exit_standby_instances(group_name, instance_ids)
        self.update_attached_target_groups(group_name)
        return activities

    def detach_instances(
        self,
        group_name: str,
        instance_ids: list[str],
        should_decrement: bool,  # noqa: FBT001
    ) -> Any:
        """Stand in for DetachInstances: they live on, outside the load balancers."""
        self._deregister(group_name, instance_ids)
        return super().detach_instances(group_name, instance_ids, should_decrement)

    def _deregister(self, group_name: str, instance_ids: list[str]) -> None:
        group = self.group(group_name)
        for member in group.members:
            if member.instance_id in instance_ids:
                deregister(group.attached, member)

    def create_lifecycle_hook(
        self, name: str, as_name: str, transition: str, *more: Any, **named: Any
    ) -> Any:
        """Stand in for PutLifecycleHook."""
        self.group(as_name)
        if transition not in {LAUNCHING, TERMINATING}:
            raise ValidationError(f"Lifecycle Transition: {transition} is not valid")
        return super().create_lifecycle_hook(name, as_name, transition, *more, **named)

    def suspend_processes(self, group_name: str, scaling_processes: list[str]) -> None:
        """Stand in for SuspendProcesses."""
        if unknown := set(scaling_processes or ()) - PROCESSES:
            raise ValidationError(f"{', '.join(sorted(unknown))} is not a process of Auto Scaling")
        super().suspend_processes(group_name, scaling_processes)

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """Do nothing: the loop sees for itself what was terminated."""

    def activities(self, group_name: str | None, wanted: list[str]) -> list[Activity]:
        """Return activities, newest first.

        Args:
            group_name: None for those of all groups.
            wanted: Their ids; empty for all.
        """
        groups = [self.group(group_name)] if group_name else self.groups()
        found = [one for group in groups for one in group.activities]
        found.sort(key=lambda activity: activity.start_time, reverse=True)
        return [one for one in found if not wanted or one.activity_id in wanted]
