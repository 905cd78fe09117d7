"""What was found of one metric, in plain words with the numbers."""

from __future__ import annotations

from ovenbird.analysis.metric_evidence import Comparison
from ovenbird.domain.judging import Direction, MetricSpec
from ovenbird.domain.verdicts import Outcome


def reason_of(
    spec: MetricSpec,
    comparison: Comparison,
    interval: tuple[float, float],
    outcome: Outcome,
    needs: float | None,
) -> str:
    """Return one sentence: both sides, what is known of the difference, what is allowed.

    Args:
        spec: Of the metric.
        comparison: Both sides.
        interval: Lowest and highest difference of shares, or ratio of quantiles.
        outcome: What follows.
        needs: How many more of the canary's events it takes to tell.
    """
    sides = _shares(spec, comparison) if spec.is_share else _quantiles(spec, comparison)
    known = _points(interval) if spec.is_share else _ratios(interval)
    end = _unknown(spec, needs) if outcome is Outcome.NOT_ENOUGH_DATA else ""
    return f"{sides}; {known}, {_allowed(spec)} is allowed{end}"


def _shares(spec: MetricSpec, found: Comparison) -> str:
    return (
        f"{spec.name}: {found.canary:.2%} of {found.events:,.0f} requests of the canary,"
        f" {found.baseline:.2%} of {found.baseline_events:,.0f} of the baseline"
    )


def _quantiles(spec: MetricSpec, found: Comparison) -> str:
    return (
        f"{spec.name}: {quantile_words(spec.quantile)} of {found.events:,.0f} numbers of the"
        f" canary is {found.canary:.4g}, of {found.baseline_events:,.0f} of the baseline"
        f" {found.baseline:.4g}"
    )


def quantile_words(quantile: float) -> str:
    """Return ``the median`` or ``p99``."""
    return "the median" if quantile == 0.5 else f"p{quantile * 100:.6g}"


def _points(interval: tuple[float, float]) -> str:
    low, high = (f"{end * 100:+.2f}" for end in interval)
    return f"the difference is between {low} and {high} points"


def _ratios(interval: tuple[float, float]) -> str:
    low, high = (f"{end - 1:+.1%}" if end < 10 else f"{end:.3g} times" for end in interval)
    return f"the difference is between {low} and {high}"


def _allowed(spec: MetricSpec) -> str:
    size = f"{spec.tolerance * 100:g} points" if spec.is_share else f"{spec.tolerance * 100:g} %"
    way = {
        Direction.INCREASE: "more",
        Direction.DECREASE: "less",
        Direction.EITHER: "more or less",
    }[spec.direction]
    return f"{size} {way}"


def _unknown(spec: MetricSpec, needs: float | None) -> str:
    what = "requests" if spec.is_share else "numbers"
    if needs is None:
        return ". Cannot tell yet: the two are too close to the limit to say how long it takes"
    return f". Cannot tell yet: about {needs:,.0f} more {what} of the canary are needed"
