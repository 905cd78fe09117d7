"""One metric of both sides, ready to be asked whether the canary is beyond a limit.

A limit is a difference of shares, or a ratio of quantiles: this module hides which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np

from ovenbird.analysis.evidence import Totals, log_evidence, tally
from ovenbird.analysis.quantiles import values_of
from ovenbird.analysis.series import blocks, known_values, periods
from ovenbird.domain.judging import Counts, MetricSpec, Pair

LEAST_SIZE = 0.01  # share; a smaller tolerance says nothing of how large a fault may be
FAR = (1.0, 5.0)  # faults are about this many tolerances beyond the tolerance
QUANTILE_SCALES = (0.5, 2.0)  # the same for quantiles, in shares of the values beyond them
BISECTIONS = 30
MOST_FURTHER = 1000.0  # times as many requests; beyond, nobody knows
FURTHER_STEPS = 40


class Way(StrEnum):
    """On which side of a limit the canary is said to be."""

    ABOVE = "above"
    BELOW = "below"


Evidence = Callable[[float, Way, float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of both sides.

    Args:
        canary: Its share of bad events, or its quantile.
        baseline: As above.
        events: The canary's requests, or numbers.
        baseline_events: The baseline's.
        periods: In which both sides have some.
        evidence: (limit, way, times as much) → log of the e-value for "the canary is on that
            side of the limit", if there were so many times as many events like these.
        limits: The lowest and the highest limit there can be.
    """

    canary: float
    baseline: float
    events: float
    baseline_events: float
    periods: int
    evidence: Evidence
    limits: tuple[float, float]

    def interval(self, fail: float, clear: float) -> tuple[float, float]:
        """Return the limits above which, and below which, the canary is proven to be.

        Args:
            fail: Log of the evidence that the lower one takes.
            clear: Log of the evidence that the upper one takes.
        """
        low, high = self.limits
        middle = self._estimate()
        return (
            _last(lambda limit: self.evidence(limit, Way.ABOVE, 1.0) >= fail, low, middle),
            _last(lambda limit: self.evidence(limit, Way.BELOW, 1.0) >= clear, high, middle),
        )

    def _estimate(self) -> float:
        low, high = self.limits
        is_ratio = low > 0
        estimate = (
            self.canary / (self.baseline or 1e-9) if is_ratio else self.canary - self.baseline
        )
        return min(max(estimate, low), high)


def compared(pair: Pair, *, burst_s: float = 0.0) -> Comparison | None:
    """Return one metric of both sides; None when one side has nothing."""
    if pair.spec.is_share:
        return _shares(pair, burst_s)
    return _quantiles(pair, burst_s)


def further(evidence: Callable[[float], float], wanted: float) -> float | None:
    """Return how many times as many events it takes until there is so much evidence.

    Args:
        evidence: Times as many → log of the e-value.
        wanted: Log of the e-value that is enough.
    """
    if evidence(MOST_FURTHER) < wanted:
        return None
    low, high = 0.0, float(np.log(MOST_FURTHER))
    for _ in range(FURTHER_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if evidence(float(np.exp(middle))) >= wanted else (middle, high)
    return float(np.exp(high))


def totals_of(pair: Pair, *, burst_s: float = 0.0) -> tuple[list[float], Totals] | None:
    """Return a share's totals at each look, and when each period began, seconds from the first."""
    canary = [item for item in pair.canary if isinstance(item, Counts)]
    baseline = [item for item in pair.baseline if isinstance(item, Counts)]
    times, counts = blocks(*periods(canary, baseline), timedelta(seconds=burst_s))
    if not times:
        return None
    n, x, m, y = counts
    return [(at - times[0]).total_seconds() for at in times], tally(n, x, m, y)


def share_scales(spec: MetricSpec, *, beyond: bool) -> tuple[float, ...]:
    """Return how far from its tolerance a share may lie, on the far or on the near side."""
    if beyond:
        return tuple(factor * max(spec.tolerance, LEAST_SIZE) for factor in FAR)
    return (spec.tolerance or LEAST_SIZE,)


def quantile_scales(quantile: float) -> tuple[float, ...]:
    """Return how far apart shares above a threshold may lie when quantiles differ."""
    return tuple(factor * min(quantile, 1 - quantile) for factor in QUANTILE_SCALES)


def _shares(pair: Pair, burst_s: float) -> Comparison | None:
    found = totals_of(pair, burst_s=burst_s)
    if found is None:
        return None
    last = found[1].at(slice(-1, None))
    worse, better = share_scales(pair.spec, beyond=True), share_scales(pair.spec, beyond=False)

    def evidence(limit: float, way: Way, factor: float) -> float:
        beyond = (way is Way.ABOVE) == (limit >= 0)
        scales = worse if beyond else better
        return float(log_evidence(last.times(factor), limit, scales, above=way is Way.ABOVE)[0])

    n, x, m, y = (float(array[0]) for array in (last.n, last.x, last.m, last.y))
    return Comparison(
        canary=x / n,
        baseline=y / m,
        events=n,
        baseline_events=sum(i.total for i in pair.baseline if isinstance(i, Counts)),
        periods=len(found[0]),
        evidence=evidence,
        limits=(-1.0, 1.0),
    )


def _quantiles(pair: Pair, burst_s: float) -> Comparison | None:
    canary, baseline = known_values(pair.canary), known_values(pair.baseline)
    if not canary or not baseline:
        return None
    quantile = pair.spec.quantile
    values = values_of(canary, baseline, quantile, burst_s)
    scales = quantile_scales(quantile)

    def evidence(limit: float, way: Way, factor: float) -> float:
        return values.times(factor).log_evidence(limit, scales, above=way is Way.ABOVE)

    return Comparison(
        canary=values.middle(canary=True),
        baseline=values.middle(canary=False),
        events=float(len(canary)),
        baseline_events=float(len(baseline)),
        periods=values.slices,
        evidence=evidence,
        limits=(0.001, 1000.0),
    )


def _last(holds: Callable[[float], bool], start: float, end: float) -> float:
    """Return the limit farthest from *start* at which it holds; *start* if it holds nowhere."""
    geometric = start > 0 and end > 0
    if not holds(start):
        return start
    for _ in range(BISECTIONS):
        middle = float(np.sqrt(start * end)) if geometric else (start + end) / 2
        start, end = (middle, end) if holds(middle) else (start, middle)
    return start
