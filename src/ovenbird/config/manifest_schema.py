"""What a manifest may say: one class for each part of ``ovenbird.yaml``.

``package.contents[].from`` and ``to`` are called ``origin`` and ``destination`` in the code.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from ovenbird.config.documents import Strict

# Source: EC2 user guide, "Run commands at launch": user data has 16 KB; ours is JSON around it.
ENVIRONMENT_BYTES = 12_000
NOT_BUILT_FORMATS = {"rpm", "apk", "archlinux", "ipk"}


def _matches(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"`{text}` {words}")
        return text

    return AfterValidator(check)


def _line(text: str) -> str:
    if "\n" in text.strip() or not text.strip():
        raise ValueError("must be one line that is not empty")
    return text.strip()


# Source: Frigga, NameConstants: names of apps have no hyphen, since it parts name and stack.
AppName = Annotated[
    str,
    _matches(r"[a-zA-Z0-9._]+", "is not an app's name: use letters, digits, `.` and `_`, no `-`"),
    Field(max_length=64),
]
# Source: Debian policy 5.6.1, Source; 5.6.7, Package.
PackageName = Annotated[
    str, _matches(r"[a-z0-9][a-z0-9+.-]+", "is not a package's name: lower case, digits, `+.-`")
]
# Source: adduser(8), NAME_REGEX of Debian.
UserName = Annotated[
    str, _matches(r"[a-z_][a-z0-9_-]{0,30}", "is not a user's name: lower case, digits, `_-`")
]
ServiceName = Annotated[
    str, _matches(r"[a-z0-9][a-z0-9_.-]*", "is not a service's name: lower case, digits, `_.-`")
]
Destination = Annotated[
    str,
    _matches(r"/[^\s\"']+", "is not an absolute path (without spaces)"),
]
VariableName = Annotated[str, _matches(r"[A-Za-z_][A-Za-z0-9_]*", "is not a variable's name")]
Line = Annotated[str, AfterValidator(_line)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]


class ContentPart(Strict):
    """One thing that the package installs; a ``from`` that ends with ``/`` is a whole tree."""

    origin: str = Field(default="", alias="from")
    destination: Destination = Field(alias="to")
    kind: Literal["file", "tree", "config", "dir", "symlink"] | None = None
    mode: str | None = None
    owner: UserName = "root"
    group: UserName = "root"

    @field_validator("mode")
    @classmethod
    def _octal(cls, mode: str | None) -> str | None:
        if mode is not None and not re.fullmatch(r"0?[0-7]{3,4}", mode):
            raise ValueError(f"`{mode}` is not a mode; write it in quotes, as '0644'")
        return mode

    @model_validator(mode="after")
    def _inside(self) -> ContentPart:
        if self.kind != "dir" and not self.origin:
            raise ValueError("`from` is missing")
        parts = PurePosixPath(self.origin)
        if self.kind != "symlink" and (parts.is_absolute() or ".." in parts.parts):
            raise ValueError(f"`from` must stay inside the checkout, not `{self.origin}`")
        return self


class ServicePart(Strict):
    """One process that systemd keeps running."""

    command: Line
    user: UserName = "root"
    restart: Literal[
        "no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"
    ] = "always"
    config_reload: Literal["", "SIGHUP", "SIGUSR1", "SIGUSR2"] = ""
    environment: Mapping[VariableName, str] = Field(default_factory=dict)

    @field_validator("command")
    @classmethod
    def _absolute(cls, command: str) -> str:
        try:
            program = shlex.split(command)[0]
        except ValueError as error:
            raise ValueError(f"cannot be split into words: {error}") from error
        if not program.startswith("/"):
            raise ValueError(f"must begin with an absolute path, not `{program}`")
        return command


class DependsPart(Strict):
    """Relations to other packages, by format."""

    deb: tuple[Line, ...] = ()


class PackagePart(Strict):
    """How the app is built and what its package holds."""

    name: PackageName | None = None
    formats: Annotated[tuple[str, ...], Field(min_length=1)] = ("deb",)
    architecture: Literal["all", "amd64", "arm64"] = "all"
    build: str = ""
    contents: Annotated[tuple[ContentPart, ...], Field(min_length=1)]
    depends: DependsPart = DependsPart()
    services: Mapping[ServiceName, ServicePart] = Field(default_factory=dict)
    tag_prefix: str = "v"
    timeout_s: Seconds = 900.0

    @field_validator("formats")
    @classmethod
    def _built(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for name in formats:
            if name in NOT_BUILT_FORMATS:
                raise ValueError(f"`{name}` is known but not built yet; use `deb`")
            if name != "deb":
                raise ValueError(f"`{name}` is not a package format; use `deb`")
        return tuple(dict.fromkeys(formats))


class RecipePart(Strict):
    """One step of the recipe."""

    shell: Annotated[tuple[Line, ...], Field(min_length=1)]


class ImagePart(Strict):
    """What the image starts from and what is done to it before the package is installed."""

    base: str
    recipe: tuple[RecipePart, ...] = ()


class HealthPart(Strict):
    """How the load balancer asks. Source: ELBv2 API reference, CreateTargetGroup (ranges)."""

    path: Annotated[str, _matches(r"/\S*", "is not a path: begin with `/`")] = "/healthz"
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


class CanaryPart(Strict):
    """Shares of the traffic, rising, and how long each is observed."""

    # A list: behind a "before" validator pydantic checks as Python does, where a list is no tuple.
    steps_percent: Annotated[list[int], Field(min_length=1)] = Field(default=[5, 25, 50])
    observe_s: Seconds = 300.0

    @field_validator("steps_percent")
    @classmethod
    def _rising(cls, steps: list[int]) -> list[int]:
        rising = all(a < b for a, b in itertools.pairwise(steps))
        if not rising or not all(1 <= step <= 99 for step in steps):
            raise ValueError("must rise, each between 1 and 99")
        return steps


class AllAtOncePart(Strict):
    """Nothing to say."""


class StrategyPart(Strict):
    """``all_at_once``, or ``{canary: {...}}``."""

    all_at_once: AllAtOncePart | None = None
    canary: CanaryPart | None = None

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        if isinstance(value, str):
            if value not in {"all_at_once", "canary"}:
                raise ValueError(f"`{value}` is not a strategy; use `all_at_once` or `canary`")
            return {value: {}}
        if isinstance(value, dict) and len(value) != 1:
            raise ValueError("must be one strategy: `all_at_once` or `canary`")
        return value


class JudgePart(Strict):
    """When a canary is worse than the group it stands beside."""

    max_error_rate_increase: Share = 0.01
    slow_s: Seconds = 0.5
    max_slow_share_increase: Share = 0.05
    min_requests: Annotated[int, Field(ge=1)] = 30
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95


class AlarmPart(Strict):
    """An alarm that stops the rollout."""

    name: Annotated[str, _matches(r"[A-Za-z0-9_-]+", "is not an alarm's name")]
    metric: Line
    threshold: float
    statistic: str = "Sum"
    periods: Annotated[int, Field(ge=1)] = 2


class EnvironmentPart(Strict):
    """How the app is deployed in one environment."""

    capacity: CapacityPart
    strategy: StrategyPart = StrategyPart(all_at_once=AllAtOncePart())
    judge: JudgePart = JudgePart()
    alarms: tuple[AlarmPart, ...] | None = None
    approval: Literal["required", "not_required"] = "not_required"
    instance_type: str = "t3.micro"
    environment: Mapping[VariableName, str] = Field(default_factory=dict)
    rollback_window_s: Annotated[float, Field(ge=0)] = 3600.0

    @field_validator("environment")
    @classmethod
    def _fits(cls, environment: Mapping[str, str]) -> Mapping[str, str]:
        size = sum(len(f'{name}="{value}"\n'.encode()) for name, value in environment.items())
        if size > ENVIRONMENT_BYTES:
            raise ValueError(f"has {size} bytes; user data carries {ENVIRONMENT_BYTES} of it")
        return environment


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
        return self


class Manifest(Strict):
    """The whole file."""

    app: AppName
    maintainer: Line
    description: str = ""
    homepage: str = ""
    license: str = ""
    package: PackagePart
    image: ImagePart
    deploy: DeployPart
