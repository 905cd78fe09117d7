"""What was judged, with all that the judge saw: enough to judge it again.

A look is kept with its samples, those alone that the looks before it had not seen:

    {"errors": {"canary": [[1764000000, 120.0, 3.0]], "baseline": [[1764000000, 480.0, 5.0]]}}

A share has ``[begin, total, bad]``, a value ``[begin, value]`` (null where it is missing);
``[begin]`` alone takes back what an earlier look had seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ovenbird.domain.guards import States
from ovenbird.domain.judging import Counts, MetricSpec, Pair, Value
from ovenbird.domain.strategies.refusals import PERIODS_PER_STEP
from ovenbird.domain.verdicts import MetricVerdict, Outcome, Sample, Verdict

Point = Sequence[Any]
Samples = Mapping[str, Mapping[str, Sequence[Point]]]
"""Metric → side → points."""

SIDES = ("canary", "baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look was given, beside what it found.

    Args:
        pairs: None when nothing was measured, because a guard spoke first.
        observed: Share of the step's time that was over, 0..1.
        seconds: Of this step, in which was measured.
        instances: Of the canary; empty when they were not looked at.
    """

    verdict: Verdict
    pairs: tuple[Pair, ...] | None = None
    observed: float = 1.0
    seconds: float = 0.0
    instances: States = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookKept:
    """One look, as our records have it.

    Args:
        samples: All that was known by then; None of looks that measured nothing, and of old ones.
        canary: What the load balancer had counted by then.
    """

    number: int
    step_percent: int
    outcome: str
    reasons: tuple[str, ...]
    metrics: tuple[MetricVerdict, ...]
    score: float | None
    is_final: bool
    observed: float
    seconds: float
    samples: Samples | None
    canary: Mapping[str, Any] | None = None
    baseline: Mapping[str, Any] | None = None
    instances: States = field(default_factory=dict)

    @property
    def is_old(self) -> bool:
        """Whether it was kept by a version that kept sums alone."""
        return self.samples is None and self.canary is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementKept:
    """One step of a rollout that was judged, as our records have it.

    Args:
        action: Its number in the plan.
        policy: As the workflow engine's JSON; None of old ones.
        steps: How many steps of the rollout were to be judged.
    """

    rollout_id: str
    action: int
    canary: str
    baseline: str
    since: datetime | None
    observe_s: float
    steps: int
    policy: Any
    looks: tuple[LookKept, ...]


def can_tell(verdict: Verdict, number: int, *, is_over: bool) -> bool:
    """Tell whether a look ends its step: the time is over, or the evidence stays.

    Args:
        verdict: What the look found.
        number: Of the look, from 1; a canary that is fine is looked at three times at least.
        is_over: Whether the step's time is.
    """
    if verdict.outcome is Outcome.NOT_ENOUGH_DATA:
        return False
    is_soon = verdict.outcome is Outcome.FAIL or number >= PERIODS_PER_STEP
    return is_over or (verdict.is_final and is_soon)


def samples_of(pairs: Iterable[Pair]) -> Samples:
    """Return pairs as they are kept."""
    return {
        pair.spec.name: {side: [_point(item) for item in getattr(pair, side)] for side in SIDES}
        for pair in pairs
    }


def pairs_of(samples: Samples, specs: Iterable[MetricSpec]) -> tuple[Pair, ...]:
    """Return what was kept as pairs, for those of the metrics that were measured."""
    return tuple(
        Pair(
            spec=spec,
            canary=_items(samples[spec.name]["canary"], is_share=spec.is_share),
            baseline=_items(samples[spec.name]["baseline"], is_share=spec.is_share),
        )
        for spec in specs
        if spec.name in samples and _fits(samples[spec.name], spec)
    )


def news(before: Samples, now: Samples) -> Samples:
    """Return what is in *now* and not in *before*; :func:`joined` is the way back."""
    found: dict[str, dict[str, list[Point]]] = {}
    for name, sides in now.items():
        old = before.get(name)
        changed = {side: _changes(old[side] if old else [], sides[side]) for side in SIDES}
        if old is None or any(changed.values()):
            found[name] = changed
    return found


def joined(before: Samples, more: Samples) -> Samples:
    """Return what was known before with what is new."""
    found = dict(before)
    for name, sides in more.items():
        old = before.get(name, {side: [] for side in SIDES})
        found[name] = {side: _merged(old[side], sides[side]) for side in SIDES}
    return found


def sums_as_samples(canary: Mapping[str, Any], baseline: Mapping[str, Any]) -> Samples:
    """Return the sums of an old record as samples of a single period each."""
    return {
        name: {
            side: [[0, sums["requests"], sums[name]]]
            for side, sums in zip(SIDES, (canary, baseline), strict=True)
        }
        for name in ("errors", "slow")
    }


def sums_of(sample: Sample | None) -> dict[str, Any] | None:
    """Return a sample as it is kept."""
    if sample is None:
        return None
    numbers = {name: getattr(sample, name) for name in ("requests", "errors", "slow")}
    return {"name": str(sample.name), **numbers}


def _changes(old: Sequence[Point], new: Sequence[Point]) -> list[Point]:
    known = {point[0]: list(point) for point in old}
    times = {point[0] for point in new}
    gone = [[at] for at in known if at not in times]
    return sorted([*(p for p in new if known.get(p[0]) != list(p)), *gone], key=lambda p: p[0])


def _merged(old: Sequence[Point], new: Sequence[Point]) -> list[Point]:
    points = {point[0]: point for point in (*old, *new)}
    return [points[at] for at in sorted(points) if len(points[at]) > 1]


def _point(item: Counts | Value) -> Point:
    at = round(item.at.timestamp())
    if isinstance(item, Counts):
        return [at, item.total, item.bad]
    return [at, item.value if math.isfinite(item.value) else None]


def _items(points: Sequence[Point], *, is_share: bool) -> Any:
    if is_share:
        return tuple(Counts(at=_time(at), total=total, bad=bad) for at, total, bad in points)
    return tuple(
        Value(at=_time(at), value=math.nan if value is None else value) for at, value in points
    )


def _fits(sides: Mapping[str, Sequence[Point]], spec: MetricSpec) -> bool:
    """Tell whether a metric was then of the kind that it is said to be now."""
    wanted = 3 if spec.is_share else 2
    return all(len(point) == wanted for points in sides.values() for point in points)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
