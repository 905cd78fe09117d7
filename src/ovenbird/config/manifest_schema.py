"""What a manifest may say: one class for each part of ``ovenbird.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from ovenbird.config.documents import Strict
from ovenbird.config.judge_schema import JudgePart
from ovenbird.config.launch_schema import LaunchPart, ThingName, check_placeholders
from ovenbird.config.package_schema import FurtherPackagePart, PackagePart
from ovenbird.config.recipe_schema import RecipePart
from ovenbird.config.strategy_schema import AllAtOncePart, KeepPart, Percent, StrategyPart
from ovenbird.config.words import (
    AppName,
    Arn,
    Count,
    Line,
    PackageName,
    Phrase,
    Seconds,
    VariableName,
    Words,
    matches,
)
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.frigga import has_push
from ovenbird.domain.launching import user_data
from ovenbird.domain.traffic import LONGEST_STICKY_S, MarkedRequests


class ImagePart(Strict):
    """What the image starts from and what is done to it before the package is installed."""

    base: str
    packages: Annotated[tuple[PackageName, ...], Field(min_length=1)] | None = None
    recipe: tuple[RecipePart, ...] = ()
    strategy: Literal["auto", "direct", "instance"] = "auto"
    boot_check: Literal["off", "first", "always"] = "first"
    max_age_days: Annotated[float, Field(gt=0)] | None = None


class HealthPart(Strict):
    """How the load balancer asks. Source: ELBv2 API reference, CreateTargetGroup (ranges)."""

    path: Annotated[str, matches(r"/\S*", "is not a path: begin with `/`")] = "/healthz"
    healthy_after: Annotated[int, Field(ge=2, le=10)] = 2
    unhealthy_after: Annotated[int, Field(ge=2, le=10)] = 2
    interval_s: Annotated[int, Field(ge=5, le=300)] = 5
    timeout_s: Annotated[int, Field(ge=2, le=120)] = 2
    startup_s: Seconds = 300.0

    @model_validator(mode="after")
    def _in_time(self) -> HealthPart:
        if self.timeout_s >= self.interval_s:
            raise ValueError("`timeout_s` must be less than `interval_s`")
        return self


class CapacityPart(Strict):
    """How many instances."""

    min: Count
    desired: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> CapacityPart:
        if not self.min <= self.desired <= self.max:
            raise ValueError("must be `min` <= `desired` <= `max`")
        return self


class AlarmPart(Strict):
    """An alarm that is made with a server group; a guard stops the rollout.

    Source of ranges: CloudWatch API reference, PutMetricAlarm.
    """

    name: ThingName
    metric: Line
    threshold: float
    statistic: str = "Sum"
    periods: Annotated[int, Field(ge=1)] = 2
    namespace: str = ""
    dimensions: Mapping[str, str] = Field(default_factory=dict)
    comparison: Literal[">", ">=", "<", "<="] = ">"
    of_periods: Annotated[int, Field(ge=1)] | None = None
    period_s: Annotated[int, Field(ge=1)] | None = None
    missing: Literal["good", "bad", "ignore", "missing"] = "good"
    guard: bool = True
    notify: tuple[Arn, ...] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> AlarmPart:
        if self.of_periods is not None and self.of_periods < self.periods:
            raise ValueError("must be `periods` <= `of_periods`")
        if self.dimensions and not self.namespace:
            raise ValueError("`dimensions` need `namespace`")
        for name, value in self.dimensions.items():
            check_placeholders(name, value)
        return self


class EnvironmentPart(Strict):
    """How the app is deployed in one environment."""

    capacity: CapacityPart
    strategy: StrategyPart = StrategyPart(all_at_once=AllAtOncePart())
    judge: JudgePart = JudgePart()
    alarms: tuple[AlarmPart, ...] | None = None
    approval: Literal["required", "not_required"] = "not_required"
    instance_type: str = "t3.micro"
    environment: Mapping[VariableName, str] = Field(default_factory=dict)
    rollback_window_s: Annotated[float, Field(ge=0)] | None = None
    keep: KeepPart = KeepPart()
    capacity_from: Literal["manifest", "old", "larger"] = "larger"
    min_healthy_percent: Percent = 100
    on_failure: Literal["rollback", "stop"] = "rollback"
    guards: tuple[Line, ...] = ()
    launch: LaunchPart = LaunchPart()

    @field_validator("environment")
    @classmethod
    def _fits(cls, environment: Mapping[str, str]) -> Mapping[str, str]:
        try:
            user_data(environment)
        except InvalidRequest as error:
            raise ValueError(str(error)) from error
        return environment

    @property
    def window_s(self) -> float:
        """How long the previous group is kept for a rollback, seconds."""
        given = (self.rollback_window_s, self.keep.rollback_window_s)
        return next((seconds for seconds in given if seconds is not None), 3600.0)

    @model_validator(mode="after")
    def _one_window(self) -> EnvironmentPart:
        if self.rollback_window_s is not None and self.keep.rollback_window_s is not None:
            raise ValueError("`rollback_window_s` is given twice: leave one out")
        return self

    @model_validator(mode="after")
    def _names_once(self) -> EnvironmentPart:
        alarms = [alarm.name for alarm in self.alarms or ()]
        if twice := sorted({name for name in alarms if alarms.count(name) > 1}):
            raise ValueError(f"`alarms` has two of the name `{twice[0]}`")
        for name, policy in (self.launch.scaling or {}).items():
            if policy.alarm is not None and policy.alarm not in alarms:
                raise ValueError(
                    f"`launch.scaling.{name}.alarm` is `{policy.alarm}`; `alarms` has {alarms}"
                )
        return self


class TestersPart(Strict):
    """Requests that reach the new server group at any weight: by a header, or by a cookie."""

    by: Literal["header", "cookie"]
    name: str
    value: str

    @model_validator(mode="after")
    def _can_be_told(self) -> TestersPart:
        try:
            self.marks()
        except InvalidRequest as error:
            raise ValueError(f"{error}. {error.hint}") from error
        return self

    def marks(self) -> MarkedRequests:
        """Return the same in domain words."""
        header, cookie = (self.name, "") if self.by == "header" else ("", self.name)
        return MarkedRequests(header=header, cookie=cookie, value=self.value)


class DeployPart(Strict):
    """How the app is deployed; keys that are not known here are environments, in order."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, EnvironmentPart] = Field(init=False)

    port: Annotated[int, Field(ge=1, le=65535)]
    health: HealthPart = HealthPart()
    path_patterns: tuple[str, ...] = ("/*",)
    host_names: tuple[str, ...] = ()
    rule_priority: Annotated[int, Field(ge=1, le=50000)] | None = None
    draining_s: Annotated[int, Field(ge=0, le=3600)] = 30
    testers: TestersPart | None = None
    stickiness_s: Annotated[int, Field(ge=0, le=LONGEST_STICKY_S)] = 0

    @property
    def environments(self) -> Mapping[str, EnvironmentPart]:
        """The environments, in the order in which a release goes through them."""
        return self.__pydantic_extra__

    @model_validator(mode="after")
    def _somewhere(self) -> DeployPart:
        if not self.environments:
            raise ValueError("names no environment, as `dev: {capacity: {...}}`")
        for name in self.environments:  # the cluster's stack: the characters that Frigga allows
            if not re.fullmatch(r"[a-zA-Z0-9._]{1,32}", name):
                raise ValueError(
                    f"`{name}` is not an environment's name: no `-`, no spaces, 32 letters at most"
                )
            if has_push(name):
                raise ValueError(f"`{name}` reads as a server group's version: use another name")
        return self


class Manifest(Strict):
    """The whole file."""

    app: AppName
    maintainer: Line
    description: Words = ""
    homepage: Phrase = ""
    license: Phrase = ""
    package: PackagePart
    packages: Mapping[PackageName, FurtherPackagePart] = Field(default_factory=dict)
    image: ImagePart
    deploy: DeployPart

    @property
    def package_name(self) -> str:
        """The name of the app's own package."""
        return self.package.name or self.app.lower().replace("_", "-")

    @model_validator(mode="after")
    def _names(self) -> Manifest:
        known = {self.package_name, *self.packages}
        if self.package_name in self.packages:
            raise ValueError(f"`packages.{self.package_name}` is the name of `package` itself")
        for name in self.image.packages or ():
            if name not in known:
                raise ValueError(f"`image.packages` names `{name}`; there are {sorted(known)}")
        return self
