"""One metric of both sides, ready to be asked whether the canary is beyond a limit.

A limit is a difference of shares, or a ratio of quantiles: this module hides which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise

import numpy as np

from ovenbird.analysis.evidence import Totals, log_evidence, tally
from ovenbird.analysis.quantiles import values_of
from ovenbird.analysis.series import blocks, known_values, periods
from ovenbird.domain.judging import Counts, Direction, MetricSpec, Pair

LEAST_SIZE = 0.01  # share; a smaller tolerance says nothing of how large a fault may be
FAR = (1.0, 5.0)  # faults are about this many tolerances beyond the tolerance
QUANTILE_SCALES = (0.5, 2.0)  # the same for quantiles, in shares of the values beyond them
TINY = 1e-9
OUTWARD_STEPS = 16
BISECTIONS = 14
MOST_FURTHER = 1000.0  # times as many requests; beyond, nobody knows
FURTHER_STEPS = 14


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

    def interval(
        self, fail: float, clear: float, limits: Iterable[float] = ()
    ) -> tuple[float, float]:
        """Return the limits above which, and below which, the canary is proven to be.

        Args:
            fail: Log of the evidence that the lower one takes.
            clear: Log of the evidence that the upper one takes.
            limits: Where it is looked in any case.
        """
        estimate = self._estimate()

        def end(way: Way, wanted: float) -> float:
            farthest = self.limits[0 if way is Way.ABOVE else 1]
            tried = {self._between(estimate, farthest, 0.5**k) for k in range(OUTWARD_STEPS)}
            tried |= {by for by in limits if min(estimate, farthest) < by < max(estimate, farthest)}
            outward = sorted(tried, key=lambda by: abs(by - estimate))
            return _first(lambda by: self.evidence(by, way, 1.0) >= wanted, [estimate, *outward])

        return end(Way.ABOVE, fail), end(Way.BELOW, clear)

    def _estimate(self) -> float:
        low, high = self.limits
        ratio = self.canary / (self.baseline or TINY)
        return min(max(ratio if self._of_ratios else self.canary - self.baseline, low), high)

    @property
    def _of_ratios(self) -> bool:
        return self.limits[0] > 0

    def _between(self, start: float, end: float, share: float) -> float:
        """Return what lies so far on the way."""
        if self._of_ratios:
            return float(start ** (1 - share) * end**share)
        return start + (end - start) * share


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


def share_scales(spec: MetricSpec, way: Way) -> tuple[float, ...]:
    """Return how far beyond a limit a share may lie, when it lies on that side of it.

    On the wrong side lie faults, of any size; on the other what is as good as the baseline.
    """
    right = {Direction.INCREASE: Way.BELOW, Direction.DECREASE: Way.ABOVE}.get(spec.direction)
    if way is right:
        return (spec.tolerance or LEAST_SIZE,)
    return tuple(factor * max(spec.tolerance, LEAST_SIZE) for factor in FAR)


def quantile_scales(quantile: float) -> tuple[float, ...]:
    """Return how far apart shares above a threshold may lie when quantiles differ."""
    return tuple(factor * min(quantile, 1 - quantile) for factor in QUANTILE_SCALES)


def _shares(pair: Pair, burst_s: float) -> Comparison | None:
    found = totals_of(pair, burst_s=burst_s)
    if found is None:
        return None
    last = found[1].at(slice(-1, None))

    def evidence(limit: float, way: Way, factor: float) -> float:
        scales = share_scales(pair.spec, way)
        found = log_evidence(last.times(factor), limit, scales, above=way is Way.ABOVE)
        return float(found[0])

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
    spec = pair.spec
    canary, baseline = known_values(pair.canary, spec.nan), known_values(pair.baseline, spec.nan)
    if not canary or not baseline:
        return None
    quantile = spec.quantile
    values = values_of(canary, baseline, quantile, burst_s)
    if not values.slices:  # never at one time: nothing to compare
        return None
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


def _first(holds: Callable[[float], bool], limits: Sequence[float]) -> float:
    """Return the first limit at which it holds; the last of them if it holds at none."""
    for last, limit in pairwise(limits):
        if holds(limit):
            start, end = last, limit
            for _ in range(BISECTIONS):
                middle = (start + end) / 2
                start, end = (start, middle) if holds(middle) else (middle, end)
            return end
    return limits[-1]
