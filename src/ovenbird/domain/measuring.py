"""From series of numbers to pairs that can be judged: whole periods, the same on both sides.

A series is what a source of metrics answers: begin of a period in Unix seconds → a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ovenbird.domain.judging import Counts, MetricSpec, Pair, Value
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.verdicts import Sample

Series = Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Who is measured, and since when.

    Args:
        since: When both began to serve as they do.
        until: End of the stretch, not included.
        slow_s: Seconds from which an answer is slow.
    """

    canary: ServerGroupName
    baseline: ServerGroupName
    since: datetime
    until: datetime
    slow_s: float

    def periods(self, period_s: int) -> range:
        """Return the begins of all whole periods in the stretch, Unix seconds.

        The period in which it begins is left out: something else went on in its first part.
        """
        first = math.ceil(self.since.timestamp() / period_s) * period_s
        last = math.floor(self.until.timestamp() / period_s) * period_s
        return range(first, max(first, last), period_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a source said of one metric and one side.

    Args:
        found: Bad events, or values.
        total: All events, of a share.
    """

    found: Series = field(default_factory=dict)
    total: Series = field(default_factory=dict)


def pair(spec: MetricSpec, sides: tuple[Measured, Measured], periods: range) -> Pair:
    """Return both sides by period; the last ones, of which nothing is known yet, are left out.

    A missing number of bad events is 0; a period without any event holds none.

    Args:
        spec: The metric.
        sides: Canary and baseline.
        periods: Begins of the periods, Unix seconds.
    """
    canary, baseline = sides
    known = _known(spec, canary) | _known(spec, baseline)
    end = max((at for at in periods if at in known), default=periods.start - periods.step)
    times = [at for at in periods if at <= end]
    side = _counts if spec.is_share else _values
    return Pair(spec=spec, canary=side(canary, times), baseline=side(baseline, times))


def sample_of(pairs: Sequence[Pair], sides: Sides, *, is_canary: bool) -> Sample | None:
    """Return what the load balancer counted of one side, as one number each; None without it.

    Args:
        pairs: Of which those of the load balancer are looked at.
        sides: Who was measured.
        is_canary: Whose sample; the baseline's otherwise.
    """
    counted = {p.spec.source.what: p for p in pairs if hasattr(p.spec.source, "what")}
    if not counted:
        return None
    mine = {what: (p.canary if is_canary else p.baseline) for what, p in counted.items()}
    counts = {what: [c for c in side if isinstance(c, Counts)] for what, side in mine.items()}
    return Sample(
        name=sides.canary if is_canary else sides.baseline,
        since=sides.since,
        until=sides.until,
        requests=max(math.fsum(c.total for c in side) for side in counts.values()),
        errors=math.fsum(c.bad for c in counts.get("errors", ())),
        slow=math.fsum(c.bad for c in counts.get("slow", ())),
    )


def _known(spec: MetricSpec, side: Measured) -> set[int]:
    series = side.total if spec.is_share else side.found
    return {at for at, number in series.items() if math.isfinite(number)}


def _counts(side: Measured, times: Sequence[int]) -> tuple[Counts, ...]:
    found = []
    for at in times:
        total = _number(side.total, at)
        bad = min(total, _number(side.found, at))  # counted apart, and not in the same instant
        found.append(Counts(at=datetime.fromtimestamp(at, UTC), total=total, bad=bad))
    return tuple(found)


def _values(side: Measured, times: Sequence[int]) -> tuple[Value, ...]:
    return tuple(
        Value(
            at=datetime.fromtimestamp(at, UTC), value=number if math.isfinite(number) else math.nan
        )
        for at in times
        for number in (side.found.get(at, math.nan),)
    )


def _number(series: Series, at: int) -> float:
    number = series.get(at, 0.0)
    return max(0.0, number) if math.isfinite(number) else 0.0
