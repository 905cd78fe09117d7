"""Auto Scaling groups, one for each server group, of the same name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.launch_requests import group_request
from ovenbird.aws.reads import JUST_NOW_S, POLLED_S
from ovenbird.aws.tags import from_aws
from ovenbird.aws.waiting import await_state
from ovenbird.domain.clusters import Capacity, Instance, InstanceId, InstanceState
from ovenbird.domain.errors import Conflict
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import NEW_PLAN, CreateServerGroup
from ovenbird.domain.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import (
        AutoScalingGroupTypeDef,
        FilterTypeDef,
        InstanceTypeDef,
    )

GONE_WITHIN = timedelta(minutes=75)  # draining takes an hour at most: `draining_s`
LOOK_EVERY = timedelta(seconds=1)


class AutoScalingGroups:
    """Auto Scaling groups of one account.

    Permissions: autoscaling:DescribeAutoScalingGroups, CreateAutoScalingGroup,
    UpdateAutoScalingGroup, DeleteAutoScalingGroup, CreateOrUpdateTags, DeleteTags,
    PutLifecycleHook, SuspendProcesses, ResumeProcesses; ec2:RunInstances, ec2:CreateTags;
    iam:PassRole on the roles of lifecycle hooks.
    """

    def __init__(self, account: Account, *, clock: Clock) -> None:
        self._autoscaling, self._reads = account.autoscaling, account.reads
        self._clock = clock

    def get(self, name: ServerGroupName) -> AutoScalingGroupTypeDef:
        """Return a group as Auto Scaling describes it.

        Raises:
            Conflict: It is gone; plans name only what was there.
        """
        raw = self.find(name, max_age_s=JUST_NOW_S)
        if raw is None:
            raise Conflict(
                f"`{name}` is not there any more",
                hint=NEW_PLAN,
            )
        return raw

    def find(
        self, name: ServerGroupName, *, max_age_s: float = 0.0
    ) -> AutoScalingGroupTypeDef | None:
        """Return a group as Auto Scaling describes it, if it is there.

        Args:
            name: Of the group.
            max_age_s: How old the answer may be; never from before a change of ours.
        """
        return self._reads.groups.find(str(name), max_age_s=max_age_s)

    def of_cluster(self, name: ClusterName) -> list[AutoScalingGroupTypeDef]:
        """Return all groups with the cluster's tag."""
        return self._reads.clusters.get(str(name))

    def tagged(self, key: str, value: str) -> list[AutoScalingGroupTypeDef]:
        """Return all groups with this tag."""
        filters: list[FilterTypeDef] = [{"Name": f"tag:{key}", "Values": [value]}]
        with cloud_errors("describing server groups"):
            pages = self._autoscaling.get_paginator("describe_auto_scaling_groups")
            found = pages.paginate(Filters=filters)
            return [raw for page in found for raw in page["AutoScalingGroups"]]

    def tag(self, name: ServerGroupName, tags: Mapping[str, str]) -> None:
        """Set tags on the group alone, not on its instances; all at once."""
        with self._changing(name), cloud_errors(f"tagging `{name}`"):
            self._autoscaling.create_or_update_tags(
                Tags=[
                    {
                        "ResourceId": str(name),
                        "ResourceType": "auto-scaling-group",
                        "Key": key,
                        "Value": value,
                        "PropagateAtLaunch": False,
                    }
                    for key, value in tags.items()
                ]
            )

    def untag(self, name: ServerGroupName, *keys: str) -> None:
        """Take tags away; one that is not there is none."""
        with self._changing(name), cloud_errors(f"removing a tag of `{name}`"):
            self._autoscaling.delete_tags(
                Tags=[
                    {"ResourceId": str(name), "ResourceType": "auto-scaling-group", "Key": key}
                    for key in keys
                ]
            )

    def create(
        self,
        wanted: CreateServerGroup,
        tags: Mapping[str, str],
        *,
        subnet_ids: Sequence[str],
        target_group: str,
        template_version: str,
    ) -> None:
        """Make the group at the wanted size, with its tags in the same call."""
        request = group_request(
            wanted,
            tags,
            subnet_ids=subnet_ids,
            target_group=target_group,
            template_version=template_version,
        )
        creating = cloud_errors(f"creating Auto Scaling group `{wanted.name}`")
        with self._changing(wanted.name), creating:
            self._autoscaling.create_auto_scaling_group(**request)

    def set_minimum(self, name: ServerGroupName, instances: int) -> None:
        """Change nothing but the minimum."""
        with self._changing(name), cloud_errors(f"setting the minimum of `{name}`"):
            self._autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=str(name), MinSize=instances
            )

    def set_capacity(self, name: ServerGroupName, capacity: Capacity) -> None:
        """Set minimum, desired and maximum at once."""
        with self._changing(name), cloud_errors(f"resizing `{name}`"):
            self._autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=str(name),
                MinSize=capacity.min,
                MaxSize=capacity.max,
                DesiredCapacity=capacity.desired,
            )

    def suspend(self, name: ServerGroupName, process: str) -> None:
        """Let one of Auto Scaling's processes rest."""
        with self._changing(name), cloud_errors(f"suspending `{process}` of `{name}`"):
            self._autoscaling.suspend_processes(
                AutoScalingGroupName=str(name), ScalingProcesses=[process]
            )

    def resume(self, name: ServerGroupName, process: str) -> None:
        """Let one of Auto Scaling's processes go on."""
        with self._changing(name), cloud_errors(f"resuming `{process}` of `{name}`"):
            self._autoscaling.resume_processes(
                AutoScalingGroupName=str(name), ScalingProcesses=[process]
            )

    @contextmanager
    def _changing(self, name: ServerGroupName) -> Iterator[None]:
        """Let nobody take an answer from before a change of a group."""
        try:
            yield
        finally:
            self._reads.groups.forget(str(name))

    def empty_and_delete(self, name: ServerGroupName) -> None:
        """Scale to none, so that instances are drained, then delete the group.

        Raises:
            Unhealthy: Its instances did not go away in time.
        """
        raw = self.find(name)
        if raw is not None and not raw.get("Status"):  # else an earlier run has deleted it
            if "Terminate" in suspended(raw):
                self.resume(name, "Terminate")
            # No maximum: neither policies nor a person make it grow meanwhile.
            with self._changing(name), cloud_errors(f"emptying `{name}`"):
                self._autoscaling.update_auto_scaling_group(
                    AutoScalingGroupName=str(name), MinSize=0, MaxSize=0, DesiredCapacity=0
                )
        await_state(
            f"Emptying `{name}`",
            lambda: len((self.find(name, max_age_s=POLLED_S) or {"Instances": []})["Instances"]),
            done=lambda left: left == 0,
            within=GONE_WITHIN,
            every=LOOK_EVERY,
            clock=self._clock,
        )
        if self.find(name) is not None:
            with self._changing(name), cloud_errors(f"deleting Auto Scaling group `{name}`"):
                self._autoscaling.delete_auto_scaling_group(
                    AutoScalingGroupName=str(name), ForceDelete=True
                )
        await_state(
            f"Deleting `{name}`",
            lambda: self.find(name, max_age_s=POLLED_S) is not None,
            done=lambda there: not there,
            within=GONE_WITHIN,
            every=LOOK_EVERY,
            clock=self._clock,
        )


def target_group_of(raw: AutoScalingGroupTypeDef) -> str:
    """Return the ARN of a group's target group; empty without one."""
    return next(iter(raw.get("TargetGroupARNs", [])), "")


def tags_of(raw: AutoScalingGroupTypeDef) -> dict[str, str]:
    """Return a group's tags."""
    return from_aws(raw.get("Tags", []))  # type: ignore[arg-type]


def suspended(raw: AutoScalingGroupTypeDef) -> set[str]:
    """Return which of Auto Scaling's processes rest for a group."""
    return {str(one.get("ProcessName")) for one in raw.get("SuspendedProcesses", [])}


def instances(
    raw: AutoScalingGroupTypeDef, health: Mapping[str, tuple[InstanceState, str]] | None
) -> tuple[Instance, ...]:
    """Return a group's instances; *health* is the load balancer's, None when it was not asked."""
    return tuple(_instance(instance, health) for instance in raw["Instances"])


def _instance(
    raw: InstanceTypeDef, health: Mapping[str, tuple[InstanceState, str]] | None
) -> Instance:
    life, instance_id = str(raw["LifecycleState"]), raw["InstanceId"]
    state, reason = InstanceState.STARTING, ""
    if life.startswith(("Terminat", "Detach", "EnteringStandby")):
        state = InstanceState.TERMINATING
    elif health is not None:
        state, reason = health.get(instance_id, (state, reason))
    elif life == "InService":
        fine = raw["HealthStatus"].lower() == "healthy"
        state = InstanceState.HEALTHY if fine else InstanceState.UNHEALTHY
    return Instance(instance_id=InstanceId(instance_id), state=state, reason=reason)
