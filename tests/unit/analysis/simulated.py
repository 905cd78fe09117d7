"""Pairs as they come from traffic: of a share, and of values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from ovenbird.domain.judging import Counts, MetricSpec, Pair, PrometheusSource, Value

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ERRORS = MetricSpec(
    name="errors", source=PrometheusSource(query="errors"), is_share=True, tolerance=0.01
)
P90 = MetricSpec(
    name="latency", source=PrometheusSource(query="seconds"), tolerance=0.1, quantile=0.9
)


def counts(totals: Sequence[float], bad: Sequence[float]) -> tuple[Counts, ...]:
    return tuple(
        Counts(at=NOW + timedelta(minutes=i), total=float(n), bad=float(x))
        for i, (n, x) in enumerate(zip(totals, bad, strict=True))
    )


def shares(
    canary: Sequence[float],
    baseline: Sequence[float],
    *,
    spec: MetricSpec = ERRORS,
    requests: float = 100,
    others: float = 100,
) -> Pair:
    """A pair with so many bad ones in each period."""
    return Pair(
        spec=spec,
        canary=counts([requests] * len(canary), canary),
        baseline=counts([others] * len(baseline), baseline),
    )


def drawn(
    seed: int, canary: float, baseline: float, *, spec: MetricSpec = ERRORS, periods: int = 30
) -> Pair:
    """A pair in which each request fails by itself; 200 in each period."""
    random = np.random.default_rng(seed)
    sides = [random.binomial(200, share, periods).tolist() for share in (canary, baseline)]
    return shares(sides[0], sides[1], spec=spec, requests=200, others=200)


def seconds(
    seed: int, factor: float, *, spec: MetricSpec = P90, periods: int = 20, requests: int = 50
) -> Pair:
    """A pair of log-normal latencies; the canary's are longer by a factor."""
    random = np.random.default_rng(seed)

    def side(by: float) -> tuple[Value, ...]:
        return tuple(
            Value(at=NOW + timedelta(seconds=60 * i + j), value=float(by * value))
            for i in range(periods)
            for j, value in enumerate(random.lognormal(-2.5, 0.5, requests))
        )

    return Pair(spec=spec, canary=side(factor), baseline=side(1.0))
