"""Judge a canary while it serves: at any look, and as soon as it can be told.

For each metric two claims are tested at every look: "worse by more than the tolerance" and "not
worse by the tolerance". The first one that is proven ends it. Until then nobody can tell, and
the verdict says about how many requests more it takes.

False alarms: the rate of the policy is shared by all metrics, and by all steps that are judged
with measurements of their own (union bound). So a canary that is no worse than allowed in any
metric is failed with at most that probability over the whole rollout, however often one looks.
Misses: a canary passes when all its metrics do, so one that is worse in any metric is passed
with at most that probability in a step too, and nothing has to be shared.

What is assumed, and how the evidence is weighed: :mod:`ovenbird.analysis.evidence` (shares) and
:mod:`ovenbird.analysis.quantiles` (values).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ovenbird.analysis.metric_evidence import Comparison, Way, compared, further
from ovenbird.analysis.reasons import reason_of
from ovenbird.analysis.series import events
from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.judging import Direction, MetricSpec, Pair
from ovenbird.domain.verdicts import MetricVerdict, Outcome, Verdict

LEAST_PERIODS = 3  # with fewer, one burst looks like a fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How sure each word must be: chances of being wrong at any look."""

    fail: float
    clear: float


def judged(
    pairs: Sequence[Pair], policy: JudgePolicy, *, observed: float = 1.0, steps: int = 1
) -> Verdict:
    """Return whether the canary is worse, is not, or nobody can tell yet.

    Args:
        pairs: One for each metric, over the same time.
        policy: Rates and the least number of requests.
        observed: Share of the time that is over; at 1 a metric that must have data fails.
        steps: How many steps share the false-alarm rate.
    """
    rates = rates_of(policy, metrics=len(pairs), steps=steps)
    found = tuple(_metric(pair, policy, rates, observed=observed) for pair in pairs)
    outcomes = {metric.outcome for metric in found}
    outcome = Outcome.NOT_ENOUGH_DATA
    if Outcome.FAIL in outcomes:
        outcome = Outcome.FAIL
    elif outcomes == {Outcome.PASS}:
        outcome = Outcome.PASS
    reasons = tuple(f"{metric.reason} ({metric.outcome})" for metric in found)
    return Verdict(
        outcome=outcome,
        reasons=reasons or ("Nothing was measured",),
        metrics=found,
        is_final=outcome is not Outcome.NOT_ENOUGH_DATA,
    )


def rates_of(policy: JudgePolicy, *, metrics: int, steps: int = 1) -> Rates:
    """Return how sure each word must be of each metric in one step."""
    return Rates(
        fail=policy.false_alarm_rate / max(1, metrics) / max(1, steps),
        clear=policy.false_alarm_rate,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is known of one metric.

    Args:
        highest: Limit above which the canary is worse; None where more is never worse.
        lowest: Limit below which it is worse; None where less is never worse.
        fail: Log of the evidence that a ``fail`` takes.
        clear: Log of the evidence that a ``pass`` takes.
    """

    spec: MetricSpec
    comparison: Comparison
    highest: float | None
    lowest: float | None
    fail: float
    clear: float

    def worse(self, factor: float = 1.0) -> float:
        """Return the log of the evidence that it is worse, with so many times as many events."""
        ask = self.comparison.evidence
        above = [] if self.highest is None else [ask(self.highest, Way.ABOVE, factor)]
        below = [] if self.lowest is None else [ask(self.lowest, Way.BELOW, factor)]
        return max(above + below)

    def fine(self, factor: float = 1.0) -> float:
        """Return the log of the evidence that it is not worse by the tolerance."""
        ask = self.comparison.evidence
        above = [] if self.highest is None else [ask(self.highest, Way.BELOW, factor)]
        below = [] if self.lowest is None else [ask(self.lowest, Way.ABOVE, factor)]
        return min(above + below)

    def interval(self) -> tuple[float, float]:
        """Return between which limits the difference, or the ratio, is known to lie."""
        low = self.clear if self.highest is None else self.fail
        high = self.clear if self.lowest is None else self.fail
        limits = [limit for limit in (self.lowest, self.highest) if limit is not None]
        return self.comparison.interval(low, high, limits)

    def more(self) -> float | None:
        """Return how many more events of the canary it takes to tell; None if nobody knows."""
        factors = (further(self.worse, self.fail), further(self.fine, self.clear))
        known = [factor for factor in factors if factor is not None]
        if not known:
            return None
        return math.ceil((min(known) - 1) * self.comparison.events)


def _metric(pair: Pair, policy: JudgePolicy, rates: Rates, *, observed: float) -> MetricVerdict:
    comparison = compared(pair, burst_s=policy.burst_s)
    if comparison is None:
        return _without_data(pair, observed=observed)
    found = _found(pair.spec, comparison, rates)
    if needs := _missing(pair.spec, comparison, policy):
        return _verdict(found, Outcome.NOT_ENOUGH_DATA, needs=needs)
    if found.worse() >= found.fail:
        return _verdict(found, Outcome.FAIL)
    if found.fine() >= found.clear:
        return _verdict(found, Outcome.PASS)
    return _verdict(found, Outcome.NOT_ENOUGH_DATA, needs=found.more())


def _found(spec: MetricSpec, comparison: Comparison, rates: Rates) -> _Found:
    """Return what is asked of one metric; where either way is worse, both share the rate."""
    middle, size = (0.0, spec.tolerance) if spec.is_share else (1.0, spec.tolerance)
    both = spec.direction is Direction.EITHER
    lowest = max(middle - size, comparison.limits[0])
    return _Found(
        spec=spec,
        comparison=comparison,
        highest=None if spec.direction is Direction.DECREASE else middle + size,
        lowest=None if spec.direction is Direction.INCREASE else lowest,
        fail=-math.log(rates.fail / (2 if both else 1)),
        clear=-math.log(rates.clear),
    )


def _without_data(pair: Pair, *, observed: float) -> MetricVerdict:
    sides = {"canary": pair.canary, "baseline": pair.baseline}
    empty = " and ".join(f"the {name}" for name, side in sides.items() if not events(side))
    reason = f"{pair.spec.name}: nothing was measured of {empty or 'both at one time'}"
    is_missing = pair.spec.must_have and observed >= 1
    outcome = Outcome.FAIL if is_missing else Outcome.NOT_ENOUGH_DATA
    return MetricVerdict(name=pair.spec.name, outcome=outcome, reason=reason)


def _missing(spec: MetricSpec, comparison: Comparison, policy: JudgePolicy) -> float | None:
    """Return how many events are missing to the least that is looked at; None when none is.

    Of values there may be one in each period, so only periods are asked of them.
    """
    by_number = policy.min_requests - comparison.events if spec.is_share else 0.0
    periods = max(LEAST_PERIODS, policy.min_periods)
    by_period = (periods / comparison.periods - 1) * comparison.events
    return math.ceil(most) if (most := max(by_number, by_period)) > 0 else None


def _verdict(found: _Found, outcome: Outcome, *, needs: float | None = None) -> MetricVerdict:
    low, high = found.interval()
    comparison = found.comparison
    return MetricVerdict(
        name=found.spec.name,
        outcome=outcome,
        reason=reason_of(found.spec, comparison, (low, high), outcome, needs),
        numbers={
            "canary": comparison.canary,
            "baseline": comparison.baseline,
            "low": low,
            "high": high,
            "canary_events": comparison.events,
            "baseline_events": comparison.baseline_events,
            "tolerance": found.spec.tolerance,
        },
        needs=needs,
    )
