"""How the instances of a server group are launched, kept and counted, in domain words.

What is left out is AWS's default, or the image's, or what the group before it has: policies
and schedules that are None are copied from there.

Source: Auto Scaling API reference, CreateAutoScalingGroup, InstancesDistribution, PutWarmPool,
LifecycleHookSpecification, PutScalingPolicy, PutScheduledUpdateGroupAction; EC2 API reference,
RequestLaunchTemplateData.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ovenbird.domain.errors import InvalidRequest

USER_DATA_BYTES = 16 * 1024  # Source: EC2 user guide, "Run commands at launch"; before base64
PLACEHOLDERS = frozenset(  # of dimensions
    {"app", "cluster", "environment", "load_balancer", "server_group", "target_group"}
)
ENVIRONMENT_FILE = "/etc/ovenbird/environment"  # the packages' units read it


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMix:
    """What kinds of instances a group has.

    Args:
        types: Instance types, the preferred one first; empty for the environment's one type.
        on_demand_base: So many instances are On-Demand in any case.
        spot_percent: Share of Spot Instances among those above the base, 0..100.
        on_demand_strategy: ``prioritized`` (in the order of *types*) or ``lowest-price``.
        spot_strategy: ``price-capacity-optimized``, ``capacity-optimized``,
            ``capacity-optimized-prioritized`` or ``lowest-price``.
        spot_max_price: US dollars an hour; empty for the On-Demand price.
    """

    types: tuple[str, ...] = ()
    on_demand_base: int = 0
    spot_percent: int = 0
    on_demand_strategy: str = "prioritized"
    spot_strategy: str = "price-capacity-optimized"
    spot_max_price: str = ""

    @property
    def mixed(self) -> bool:
        """Whether it takes a mixed instances policy."""
        return len(self.types) > 1 or self.spot_percent > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RootVolume:
    """What the root volume has differently from the image.

    Args:
        size_gib: GiB; not less than the image's.
        kind: Volume type, as ``gp3``.
        throughput_mib_s: MiB/s, of ``gp3`` only.
    """

    size_gib: int | None = None
    kind: str = ""
    iops: int | None = None
    throughput_mib_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPool:
    """Instances that are made ready before they are needed.

    Args:
        min: Instances that the pool has at least.
        max_prepared: Instances in group and pool together at most; None for the group's maximum.
        state: ``stopped``, ``running`` or ``hibernated``.
        reuse: Whether instances return into it on scale in.
    """

    min: int = 0
    max_prepared: int | None = None
    state: str = "stopped"
    reuse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleHook:
    """A wait of each instance until somebody answers for it.

    Args:
        transition: ``launch`` or ``terminate``.
        timeout_s: Seconds until *default* is the answer, 30..7200.
        default: ``abandon`` or ``continue``.
        notify: ARN of a topic or queue that is told; empty for EventBridge alone.
        role_arn: With which Auto Scaling tells it.
        metadata: Goes with each message.
    """

    name: str
    transition: Literal["launch", "terminate"]
    timeout_s: int = 300
    default: str = "abandon"
    notify: str = ""
    role_arn: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTracking:
    """A policy that keeps a metric at a value.

    Args:
        metric: ``cpu`` (percent), ``requests_per_target`` (requests a minute), ``network_in``,
            ``network_out`` (bytes), or the name of a metric of *namespace*.
        dimensions: Of a metric of *namespace*; placeholders as in alarms.
        scale_in: Whether it also makes the group smaller.
        warm_up_s: Seconds until a new instance counts; None for the group's.
    """

    name: str
    metric: str
    target: float
    namespace: str = ""
    dimensions: Mapping[str, str] = field(default_factory=dict)
    statistic: str = "Average"
    scale_in: bool = True
    warm_up_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a step scaling policy.

    Args:
        above: Distance of the metric from the alarm's threshold at which it begins; None for
            minus infinity.
        below: At which it ends; None for infinity.
        change: Instances, or percent.
    """

    change: int
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScaling:
    """A policy that changes the size in steps when an alarm fires.

    Args:
        alarm: Name of one of the environment's alarms.
        unit: ``instances`` (more or fewer), ``percent``, or ``exact``.
        min_change: Instances that a change in percent is at least; None for 1.
        warm_up_s: Seconds until a new instance counts; None for the group's.
    """

    name: str
    alarm: str
    steps: tuple[Step, ...]
    unit: Literal["instances", "percent", "exact"] = "instances"
    min_change: int | None = None
    warm_up_s: int | None = None


ScalingPolicy = TargetTracking | StepScaling


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A change of the size at a time.

    Args:
        recurrence: Five fields as cron has them; empty for once.
        start: ISO 8601 with offset; empty for from now on.
        end: ISO 8601 with offset; empty for ever.
        time_zone: Of *recurrence*, as ``Europe/Berlin``; empty for UTC.
        min: Instances; None leaves it as it is, as do *desired* and *max*.
    """

    name: str
    recurrence: str = ""
    start: str = ""
    end: str = ""
    time_zone: str = ""
    min: int | None = None
    desired: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """How the instances of an environment's server groups are launched and counted.

    Args:
        zones: Availability Zones, as ``us-east-1a``; empty for those of all subnets.
        security_groups: Ids or names, beside those of the settings.
        instance_profile: Name or ARN; empty for none.
        key_pair: Name of an SSH key of EC2; empty for none.
        detailed_monitoring: Whether EC2's metrics come every minute.
        hop_limit: Of answers of the instance metadata service, 1..64; None for the image's.
        metadata_tags: Whether an instance finds its tags in its metadata.
        health_check: ``elb`` (the load balancer's, and EC2's) or ``ec2``.
        grace_s: Seconds without health checks; None for the time an instance may start.
        termination_policies: Who goes first on scale in, as ``OldestInstance``.
        suspended_processes: Of Auto Scaling, as ``AZRebalance``.
        warm_up_s: Seconds until a new instance counts in metrics; None for AWS's default.
        max_lifetime_s: Seconds after which an instance is replaced; None for never.
        scaling: Policies; None for those of the group before.
        schedules: None for those of the group before.
    """

    instances: InstanceMix = field(default_factory=InstanceMix)
    zones: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    instance_profile: str = ""
    key_pair: str = ""
    detailed_monitoring: bool = False
    hop_limit: int | None = None
    metadata_tags: bool = False
    root_volume: RootVolume | None = None
    health_check: Literal["elb", "ec2"] = "elb"
    grace_s: int | None = None
    termination_policies: tuple[str, ...] = ()
    capacity_rebalance: bool = False
    warm_pool: WarmPool | None = None
    lifecycle_hooks: tuple[LifecycleHook, ...] = ()
    suspended_processes: tuple[str, ...] = ()
    warm_up_s: int | None = None
    max_lifetime_s: int | None = None
    scaling: tuple[ScalingPolicy, ...] | None = None
    schedules: tuple[Schedule, ...] | None = None

    def types(self, only: str) -> tuple[str, ...]:
        """Return the instance types, the preferred one first.

        Args:
            only: The environment's one type.
        """
        return self.instances.types or (only,)


def user_data(environment: Mapping[str, str]) -> str:
    """Return the cloud-config that writes the environment file; JSON is YAML.

    No shell reads a value: cloud-init writes the file, systemd reads it. What would end a line
    or a value of it is quoted; what a file of lines cannot hold is refused.

    Args:
        environment: Name → value.

    Raises:
        InvalidRequest: A value has a control character, or all together are too long.

    Source: cloud-init documentation, "Cloud config data" and module ``write_files``;
    systemd.exec(5), EnvironmentFile.
    """
    lines = (f"{key}={_quoted(key, value)}\n" for key, value in sorted(environment.items()))
    file = {"path": ENVIRONMENT_FILE, "permissions": "0640", "content": "".join(lines)}
    text = "#cloud-config\n" + json.dumps({"write_files": [file]}, indent=1) + "\n"
    if (size := len(text.encode())) > USER_DATA_BYTES:
        longest = max(environment, key=lambda key: len(environment[key]))
        raise InvalidRequest(
            f"User data would have {size} bytes; EC2 takes {USER_DATA_BYTES}",
            hint=f"`{longest}` is the longest value: fetch it at the start of the service instead",
        )
    return text


def _quoted(key: str, value: str) -> str:
    if any(ord(sign) < 32 and sign != "\t" for sign in value) or "\x7f" in value:
        raise InvalidRequest(
            f"The environment's `{key}` has a line break or another control character",
            hint="The file of variables has one line for each: encode the value, as by base64",
        )
    escaped = value
    for character in '\\"`$':
        escaped = escaped.replace(character, "\\" + character)
    return f'"{escaped}"'
