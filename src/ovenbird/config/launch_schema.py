"""What a manifest may say of instances, scaling and schedules: ``deploy.ENV.launch``.

Source of ranges: Auto Scaling API reference, CreateAutoScalingGroup, PutLifecycleHook,
PutScalingPolicy, PutScheduledUpdateGroupAction; EC2 API reference, EbsBlockDevice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ovenbird.config.documents import Strict
from ovenbird.config.words import Arn, Count, Line, matches
from ovenbird.domain.launching import PLACEHOLDERS

ThingName = Annotated[str, matches(r"[A-Za-z0-9_-]{1,64}", "is not a name: letters, digits, `_-`")]
Percent = Annotated[int, Field(ge=0, le=100)]
InstanceType = Annotated[
    str, matches(r"[a-z0-9-]+\.[a-z0-9-]+", "is not an instance type, as `t3.micro`")
]
Process = Literal[
    "AlarmNotification", "AZRebalance", "InstanceRefresh", "ScheduledActions",
]  # fmt: skip  # not those without which a group cannot keep its instances serving
WarmUp = Annotated[int, Field(ge=0, le=3600)]


def _moment(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f"`{text}` is not a time with its offset, as `2026-12-24T18:00:00+01:00`")
    return text


def _cron(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z*,/?LW#-]+( [0-9A-Za-z*,/?LW#-]+){4}", text):
        raise ValueError(f"`{text}` does not have the five fields of cron, as `0 7 * * 1-5`")
    return text


Moment = Annotated[str, AfterValidator(_moment)]
Cron = Annotated[str, AfterValidator(_cron)]


def check_placeholders(name: str, value: str) -> None:
    """Refuse a dimension with a placeholder that nothing is put in for.

    Raises:
        ValueError: It has one.
    """
    for word in re.findall(r"\{([^{}]*)\}", value):
        if word not in PLACEHOLDERS:
            known = ", ".join(f"`{{{known}}}`" for known in sorted(PLACEHOLDERS))
            raise ValueError(f"`{name}`: `{{{word}}}` is not a placeholder; there are {known}")


class InstancesPart(Strict):
    """What kinds of instances a group has."""

    types: tuple[InstanceType, ...] = ()
    on_demand_base: Count = 0
    spot_percent: Percent = 0
    on_demand_strategy: Literal["prioritized", "lowest-price"] = "prioritized"
    spot_strategy: Literal[
        "price-capacity-optimized", "capacity-optimized", "capacity-optimized-prioritized",
        "lowest-price",
    ] = "price-capacity-optimized"  # fmt: skip
    spot_max_price: Annotated[str, matches(r"|\d+(\.\d+)?", "is not a price, as `0.05`")] = ""

    @model_validator(mode="after")
    def _once(self) -> InstancesPart:
        if len(set(self.types)) != len(self.types):
            raise ValueError("`types` names one twice")
        return self


class RootVolumePart(Strict):
    """What the root volume has differently from the image."""

    size_gib: Annotated[int, Field(ge=1, le=65536)] | None = None
    kind: Literal["", "gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"] = ""
    iops: Annotated[int, Field(ge=100, le=256_000)] | None = None
    throughput_mib_s: Annotated[int, Field(ge=125, le=2000)] | None = None

    @model_validator(mode="after")
    def _go_together(self) -> RootVolumePart:
        if self.iops and self.kind not in {"gp3", "io1", "io2"}:
            raise ValueError("`iops` needs `kind: gp3`, `io1` or `io2`")
        if self.kind in {"io1", "io2"} and not self.iops:
            raise ValueError(f"`kind: {self.kind}` needs `iops`")
        if self.throughput_mib_s and self.kind != "gp3":
            raise ValueError("`throughput_mib_s` needs `kind: gp3`")
        return self


class MetadataPart(Strict):
    """What an instance's metadata service allows; IMDSv2 is always required."""

    hop_limit: Annotated[int, Field(ge=1, le=64)] | None = None
    tags: bool = False


class HealthCheckPart(Strict):
    """Who says that an instance is unhealthy, and from when on."""

    kind: Literal["elb", "ec2"] = "elb"
    grace_s: Count | None = None


class WarmPoolPart(Strict):
    """Instances that are made ready before they are needed."""

    min: Count = 0
    max_prepared: Count | None = None
    state: Literal["stopped", "running", "hibernated"] = "stopped"
    reuse: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> WarmPoolPart:
        if self.max_prepared is not None and self.max_prepared < self.min:
            raise ValueError("must be `min` <= `max_prepared`")
        return self


class HookPart(Strict):
    """A wait of each instance until somebody answers for it."""

    transition: Literal["launch", "terminate"]
    timeout_s: Annotated[int, Field(ge=30, le=7200)] = 300
    default: Literal["abandon", "continue"] = "abandon"
    notify: Arn | Literal[""] = ""
    role_arn: Arn | Literal[""] = ""
    metadata: Annotated[str, Field(max_length=1023)] = ""

    @model_validator(mode="after")
    def _tells(self) -> HookPart:
        if bool(self.notify) != bool(self.role_arn):
            raise ValueError("`notify` and `role_arn` go together")
        return self


class StepPart(Strict):
    """One step of a step scaling policy."""

    above: float | None = None
    below: float | None = None
    change: int

    @model_validator(mode="after")
    def _between(self) -> StepPart:
        if self.above is None and self.below is None:
            raise ValueError("must say `above` or `below`")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError("must be `above` < `below`")
        return self


class ScalingPart(Strict):
    """A policy: ``metric`` and ``target``, or ``alarm`` and ``steps``."""

    metric: Line | None = None
    target: Annotated[float, Field(gt=0)] | None = None
    namespace: str = ""
    dimensions: Mapping[str, str] = Field(default_factory=dict)
    statistic: Literal["Average", "Minimum", "Maximum", "SampleCount", "Sum"] = "Average"
    scale_in: bool = True
    alarm: str | None = None
    steps: tuple[StepPart, ...] = ()
    unit: Literal["instances", "percent", "exact"] = "instances"
    min_change: Annotated[int, Field(ge=1)] | None = None
    warm_up_s: WarmUp | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ScalingPart:
        tracks = self.metric is not None and self.target is not None
        steps = self.alarm is not None and bool(self.steps)
        if tracks == steps or (self.metric is None) != (self.target is None):
            raise ValueError("must have `metric` and `target`, or `alarm` and `steps`")
        known = {"cpu", "requests_per_target", "network_in", "network_out"}
        if tracks and not self.namespace and self.metric not in known:
            raise ValueError(
                f"`{self.metric}` is none of {sorted(known)}: a metric of yours needs `namespace`"
            )
        for name, value in self.dimensions.items():
            check_placeholders(name, value)
        if self.min_change is not None and self.unit != "percent":
            raise ValueError("`min_change` needs `unit: percent`")
        return self


class SchedulePart(Strict):
    """A change of the size at a time."""

    recurrence: Cron | Literal[""] = ""
    start: Moment | Literal[""] = ""
    end: Moment | Literal[""] = ""
    time_zone: Annotated[str, matches(r"|[A-Za-z0-9/_+-]+", "is not a time zone")] = ""
    min: Count | None = None
    desired: Count | None = None
    max: Count | None = None

    @model_validator(mode="after")
    def _says_something(self) -> SchedulePart:
        if not self.recurrence and not self.start:
            raise ValueError("must say when: `recurrence` or `start`")
        sizes = [size for size in (self.min, self.desired, self.max) if size is not None]
        if not sizes:
            raise ValueError("must say how many: `min`, `desired` or `max`")
        if sizes != sorted(sizes):
            raise ValueError("must be `min` <= `desired` <= `max`")
        return self


class LaunchPart(Strict):
    """How instances are launched and counted."""

    instances: InstancesPart = InstancesPart()
    zones: tuple[Annotated[str, matches(r"[a-z0-9-]+", "is not a zone")], ...] = ()
    security_groups: tuple[Line, ...] = ()
    instance_profile: str = ""
    key_pair: str = ""
    detailed_monitoring: bool = False
    metadata: MetadataPart = MetadataPart()
    root_volume: RootVolumePart | None = None
    health_check: HealthCheckPart = HealthCheckPart()
    termination_policies: tuple[Line, ...] = ()
    capacity_rebalance: bool = False
    warm_pool: WarmPoolPart | None = None
    lifecycle_hooks: Mapping[ThingName, HookPart] = Field(default_factory=dict)
    suspended_processes: tuple[Process, ...] = ()
    warm_up_s: WarmUp | None = None
    max_lifetime_s: Annotated[int, Field(ge=86_400, le=31_536_000)] | None = None
    scaling: Mapping[ThingName, ScalingPart] | None = None
    schedules: Mapping[ThingName, SchedulePart] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> LaunchPart:
        if self.warm_pool and self.instances.spot_percent:
            raise ValueError("`warm_pool` takes no Spot Instances: drop `instances.spot_percent`")
        return self
