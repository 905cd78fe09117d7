"""What a manifest may say about how a new server group takes over."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from ovenbird.config.documents import Strict
from ovenbird.config.words import Line, Seconds

Percent = Annotated[int, Field(ge=1, le=100)]
Wait = Annotated[float, Field(ge=0)]
# A list: behind a "before" validator pydantic checks as Python does, where a list is no tuple.
Steps = Annotated[list[int], Field(min_length=1)]


class AllAtOncePart(Strict):
    """Nothing to say."""


class BlueGreenPart(Strict):
    """How long the new group is looked at before the old one may rest."""

    look_s: Wait = 300.0
    manual: bool = False


class _StepsPart(Strict):
    """Shares that rise."""

    steps_percent: Steps

    @field_validator("steps_percent")
    @classmethod
    def _rising(cls, steps: list[int]) -> list[int]:
        rising = all(a < b for a, b in itertools.pairwise(steps))
        if not rising or not all(1 <= step <= 99 for step in steps):
            raise ValueError("must rise, each between 1 and 99")
        return steps


class CanaryPart(_StepsPart):
    """Shares of the traffic, rising, and how long each is observed."""

    steps_percent: Steps = Field(default=[5, 25, 50])
    observe_s: Seconds = 300.0
    manual_steps: list[int] = Field(default=[])
    baseline: bool = False
    pause_s: Wait = 0.0

    @model_validator(mode="after")
    def _known(self) -> CanaryPart:
        if unknown := sorted(set(self.manual_steps) - set(self.steps_percent)):
            raise ValueError(f"`manual_steps` names {unknown[0]}, which is none of its steps")
        return self


class RollingPart(_StepsPart):
    """Shares of the full size, rising, and how long each is looked at."""

    steps_percent: Steps = Field(default=[25, 50, 75])
    observe_s: Wait = 60.0


class HighlanderPart(Strict):
    """The cluster's name, written by a person who wants no way back."""

    confirm: Line = ""


class StrategyPart(Strict):
    """A word, as ``all_at_once``, or one strategy with its keys, as ``{canary: {...}}``."""

    all_at_once: AllAtOncePart | None = None
    blue_green: BlueGreenPart | None = None
    canary: CanaryPart | None = None
    rolling: RollingPart | None = None
    highlander: HighlanderPart | None = None

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        known = ", ".join(f"`{name}`" for name in cls.model_fields)
        if isinstance(value, str):
            if value not in cls.model_fields:
                raise ValueError(f"`{value}` is not a strategy; there are {known}")
            return {value: {}}
        if isinstance(value, dict) and len(value) != 1:
            raise ValueError(f"must be one strategy of {known}")
        return value


class KeepPart(Strict):
    """How long the server group before stays what it is."""

    enabled_s: Wait = 0.0
    rollback_window_s: Wait | None = None
    groups: Annotated[int, Field(ge=1, le=2)] = 2
