"""Policies, schedules, warm pool and suspended processes of one server group.

What the manifest does not say of policies and schedules is copied from the group before: its
name and its target group become the new one's wherever they stand.

Source: Auto Scaling API reference, the actions named here; CloudWatch API reference, MetricAlarm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ovenbird.aws.alarms import Alarms
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.launch_requests import (
    Request,
    Surroundings,
    policy_request,
    schedule_request,
    warm_pool_request,
)
from ovenbird.domain.launching import StepScaling
from ovenbird.domain.names import ServerGroupName, alarm_name
from ovenbird.domain.plans import CreateServerGroup
from ovenbird.domain.ports import Clock

_OF_POLICIES = (
    "PolicyName", "PolicyType", "AdjustmentType", "MinAdjustmentMagnitude", "ScalingAdjustment",
    "Cooldown", "MetricAggregationType", "StepAdjustments", "EstimatedInstanceWarmup",
    "TargetTrackingConfiguration", "PredictiveScalingConfiguration", "Enabled",
)  # fmt: skip
_OF_SCHEDULES = (
    "ScheduledActionName", "StartTime", "EndTime", "Recurrence", "TimeZone", "MinSize",
    "MaxSize", "DesiredCapacity",
)  # fmt: skip
_OF_ALARMS = (
    "AlarmDescription", "ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions",
    "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit",
    "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator",
    "TreatMissingData", "EvaluateLowSampleCountPercentile", "Metrics", "ThresholdMetricId",
)  # fmt: skip


class Scaling:
    """What changes the sizes of groups in one account.

    Permissions: autoscaling:DescribePolicies, PutScalingPolicy, DescribeScheduledActions,
    PutScheduledUpdateGroupAction, PutWarmPool, SuspendProcesses; those of ``Alarms``.
    """

    def __init__(
        self,
        account: Account,
        *,
        alarms: Alarms,
        clock: Clock,
        target_group_of: Callable[[ServerGroupName], str | None],
    ) -> None:
        self._autoscaling = account.autoscaling
        self._alarms = alarms
        self._clock = clock
        self._target_group_of = target_group_of

    def ensure(self, where: Surroundings, wanted: CreateServerGroup) -> dict[str, list[str]]:
        """Give a group what changes its size; each call can be made again.

        Args:
            where: The group, which is there.
            wanted: What it shall be.

        Returns:
            Name of an alarm of the manifest → ARNs of the policies that it sets off.
        """
        name, launch, before = str(wanted.name), wanted.launch, wanted.copies
        if launch.suspended_processes:
            with cloud_errors(f"suspending processes of `{name}`"):
                self._autoscaling.suspend_processes(
                    AutoScalingGroupName=name, ScalingProcesses=list(launch.suspended_processes)
                )
        if launch.warm_pool:
            with cloud_errors(f"making the warm pool of `{name}`"):
                self._autoscaling.put_warm_pool(**warm_pool_request(name, launch.warm_pool))
        for schedule in launch.schedules or ():
            self._put_schedule(schedule_request(name, schedule))
        if launch.schedules is None and before:
            self._copy_schedules(before, name)
        if launch.scaling is None and before:
            return self._copy_policies(before, where, wanted)
        return self._own_policies(where, wanted)

    def _own_policies(self, where: Surroundings, wanted: CreateServerGroup) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for policy in wanted.launch.scaling or ():
            arn = self._put_policy(policy_request(policy, where))
            if isinstance(policy, StepScaling):
                found[policy.alarm].append(arn)
        return dict(found)

    def _copy_policies(
        self, before: ServerGroupName, where: Surroundings, wanted: CreateServerGroup
    ) -> dict[str, list[str]]:
        raws = self._policies(before)
        if not raws:
            return {}
        name, watched, arns = str(where.name), dict[str, list[str]](), dict[str, str]()
        renames = _renames(before, where, self._target_group_of(before) or "")
        for raw in raws:
            request = renamed(_told(raw, _OF_POLICIES), renames)
            arn = self._put_policy({**request, "AutoScalingGroupName": name})
            arns[raw["PolicyARN"]] = arn
            # Of target tracking AWS makes the alarms itself.
            if raw["PolicyType"] in {"StepScaling", "SimpleScaling"}:
                for alarm in raw.get("Alarms", []):
                    watched.setdefault(alarm["AlarmName"], []).append(arn)
        own = {alarm_name(before, spec.name): spec.name for spec in wanted.alarms}
        for raw in self._alarms.describe([a for a in watched if a not in own]):
            self._alarms.put(copied_alarm(raw, before, where, {**renames, **arns}), tags=where.tags)
        return {own[alarm]: found for alarm, found in watched.items() if alarm in own}

    def _policies(self, name: ServerGroupName) -> list[Any]:
        pages = self._autoscaling.get_paginator("describe_policies")
        with cloud_errors(f"reading the scaling policies of `{name}`"):
            found = pages.paginate(AutoScalingGroupName=str(name))
            return [raw for page in found for raw in page["ScalingPolicies"]]

    def _put_policy(self, request: Request) -> str:
        with cloud_errors(f"making scaling policy `{request['PolicyName']}`"):
            return self._autoscaling.put_scaling_policy(**request)["PolicyARN"]

    def _copy_schedules(self, before: ServerGroupName, name: str) -> None:
        now = self._clock.now()
        for raw in self.schedules(before):
            request = copied_schedule(raw, now=now)
            if request is not None:
                self._put_schedule({**request, "AutoScalingGroupName": name})

    def schedules(self, name: ServerGroupName) -> list[Any]:
        """Return a group's scheduled actions, as Auto Scaling describes them."""
        pages = self._autoscaling.get_paginator("describe_scheduled_actions")
        with cloud_errors(f"reading the schedules of `{name}`"):
            found = pages.paginate(AutoScalingGroupName=str(name))
            return [raw for page in found for raw in page["ScheduledUpdateGroupActions"]]

    def _put_schedule(self, request: Request) -> None:
        with cloud_errors(f"making schedule `{request['ScheduledActionName']}`"):
            self._autoscaling.put_scheduled_update_group_action(**request)


def _renames(before: ServerGroupName, where: Surroundings, target_group: str) -> dict[str, str]:
    found = {str(before): str(where.name)}
    if target_group:
        found[target_group.rsplit(":", 1)[1]] = where.target_group_word
    return found


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a request in which old names are new ones, wherever they stand.

    A text is renamed when it is a name as a whole, or ends with one behind a slash, as the
    resource label of a target group does.
    """
    if isinstance(value, Mapping):
        return {key: renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(item, names) for item in value]
    if isinstance(value, str):
        hit = next((old for old in names if value == old or value.endswith(f"/{old}")), "")
        return value.removesuffix(hit) + names[hit] if hit else value
    return value


def copied_alarm(
    raw: Mapping[str, Any], before: ServerGroupName, where: Surroundings, names: Mapping[str, str]
) -> Request:
    """Return what makes another group's alarm this one's; it goes when this one goes.

    Args:
        raw: As CloudWatch describes it.
        before: The other group.
        where: This group.
        names: Old name → new name, those of policies too.
    """
    old = str(raw["AlarmName"])
    word = old.removeprefix(alarm_name(before, ""))
    request = _told(raw, _OF_ALARMS)
    return {**renamed(request, names), "AlarmName": alarm_name(where.name, word)}


def _told(raw: Mapping[str, Any], keys: tuple[str, ...]) -> Request:
    """Return what a description says of these keys; a switch that is off is said too."""
    return {key: raw[key] for key in keys if raw.get(key) not in (None, "", [], {})}


def copied_schedule(raw: Mapping[str, Any], *, now: datetime) -> Request | None:
    """Return what makes a scheduled action anew, or None for one whose time has passed.

    Args:
        raw: As Auto Scaling describes it.
        now: A start that has passed is left out: Auto Scaling refuses it.
    """
    request = {key: raw[key] for key in _OF_SCHEDULES if raw.get(key) is not None}
    begun = "StartTime" in request and _moment(request["StartTime"]) <= now
    if "EndTime" in request and _moment(request["EndTime"]) <= now:
        return None
    if begun and "Recurrence" not in request:
        return None
    if begun:
        del request["StartTime"]
    return request


def _moment(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
