"""What a judge is asked: which metrics, how much worse is too much, and what was measured.

A metric is a *share* (bad events among all, by period: errors of requests) or a *value* (one
number by period or one of each request: processor use, milliseconds). ``analysis`` judges
pairs; where series come from is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Method(StrEnum):
    """How pairs are judged."""

    SEQUENTIAL = "sequential"  # anytime-valid: may be looked at as often as one likes
    COMPARE = "compare"  # Kayenta's NetflixACA, at the end of the time


class Direction(StrEnum):
    """Which way is worse."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class NanStrategy(StrEnum):
    """What a missing number is."""

    REMOVE = "remove"
    REPLACE = "replace"  # 0


class OutlierRule(StrEnum):
    """Which numbers are outliers (``compare``)."""

    IQR = "iqr"  # beyond so many interquartile ranges from the quartiles, and beyond p1 and p99
    SIGMA = "sigma"  # beyond so many standard deviations from the mean


class EffectSize(StrEnum):
    """How ``compare`` says how large a difference is."""

    MEAN_RATIO = "mean_ratio"
    CLES = "cles"  # common language effect size


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerSource:
    """A share that the load balancer counts for each target group.

    Args:
        what: ``errors`` (5xx of requests) or ``slow`` (answers over the policy's ``slow_s``).
    """

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatchSource:
    """A metric, or an expression of metrics, in the environment's account.

    In dimensions and expressions ``{server_group}``, ``{target_group}`` and
    ``{load_balancer}`` stand for those of the side that is read.

    Args:
        statistic: As CloudWatch takes it, ``Average``, ``p99``, ``TC(0.5:)``.
        expression: Metric math over ``metrics``; empty for a plain metric.
        metrics: Id in the expression → (namespace, metric, statistic).
        total: For a share: (namespace, metric, statistic) of all events.
    """

    namespace: str = ""
    metric: str = ""
    statistic: str = "Average"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    expression: str = ""
    metrics: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    total: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSource:
    """A query of the environment's Prometheus.

    Args:
        query: PromQL; ``{{server_group}}`` stands for the name of the side that is read.
        total: For a share: a query of all events.
    """

    query: str
    total: str = ""


MetricSource = LoadBalancerSource | CloudWatchSource | PrometheusSource


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric that canary and baseline are compared by.

    Args:
        tolerance: How much worse is still fine. Of a share: its absolute increase, 0..1.
            Of a value: relative to the baseline, 0.25 for a quarter.
        quantile: Of a value: which one is compared, 0..1; 0.99 for the slowest of a hundred
            (``sequential``; ``compare`` looks at all values).
        group: Metrics of a group share its weight (``compare``).
        is_critical: One that fails fails the whole verdict (``compare``; always so in
            ``sequential``).
        must_have: Without data the verdict is a fail, not a shrug.
        allowed: (decrease, increase) of the effect size that still pass (``compare``).
        critical: (decrease, increase) of the effect size that fail it all (``compare``).
        outliers: Fence, in units of ``outlier_rule``; 0 keeps all (``compare``).
    """

    name: str
    source: MetricSource
    is_share: bool = False
    direction: Direction = Direction.INCREASE
    tolerance: float = 0.25
    quantile: float = 0.5
    group: str = "all"
    is_critical: bool = False
    must_have: bool = False
    nan: NanStrategy = NanStrategy.REMOVE
    outliers: float = 0.0
    outlier_rule: OutlierRule = OutlierRule.IQR
    effect_size: EffectSize = EffectSize.MEAN_RATIO
    allowed: tuple[float, float] = (1.0, 1.0)
    critical: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One period of a share."""

    at: datetime
    total: float
    bad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number of a value; NaN where it is missing."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What was measured of one metric on both sides, oldest first, over the same time.

    A share has :class:`Counts` on both sides, a value :class:`Value`.
    """

    spec: MetricSpec
    canary: tuple[Counts, ...] | tuple[Value, ...]
    baseline: tuple[Counts, ...] | tuple[Value, ...]
