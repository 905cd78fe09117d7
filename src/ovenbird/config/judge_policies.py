"""From what people write of the judge to what the judge is asked."""

from __future__ import annotations

from pathlib import Path

from ovenbird.config.documents import read
from ovenbird.config.judge_schema import (
    CloudWatchPart,
    EffectSizePart,
    JudgePart,
    MetricPart,
    StatisticPart,
)
from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.guards import Guards
from ovenbird.domain.judging import (
    CloudWatchSource,
    Direction,
    EffectSize,
    LoadBalancerSource,
    Method,
    MetricSource,
    MetricSpec,
    NanStrategy,
    OutlierRule,
    PrometheusSource,
)

# A tolerance that nobody gave: points of a share, a part of a value.
SHARE_TOLERANCE, SLOW_TOLERANCE, VALUE_TOLERANCE = 0.01, 0.05, 0.25


def load_policy(path: Path) -> JudgePolicy:
    """Read a file that holds what stands below ``judge`` in a manifest.

    Raises:
        NotFound: It does not exist.
        InvalidRequest: Something in it is wrong; each place is named with its line.
    """
    missing = "Write the keys that stand below `judge` in a manifest, as `method: compare`"
    return judge_policy(read(path, JudgePart, later={}, missing=missing))


def judge_policy(raw: JudgePart) -> JudgePolicy:
    """Return the policy that was written."""
    return JudgePolicy(
        method=Method(raw.method),
        false_alarm_rate=raw.false_alarm_rate,
        burst_s=raw.burst_s,
        min_periods=raw.min_periods,
        metrics=tuple(_metric(metric) for metric in raw.metrics),
        group_weights=dict(raw.groups),
        pass_score=raw.pass_score,
        marginal_score=raw.marginal_score,
        guards=Guards(flaps=raw.guards.flaps, restarts=raw.guards.restarts),
        max_error_rate_increase=raw.max_error_rate_increase,
        slow_s=raw.slow_s,
        max_slow_share_increase=raw.max_slow_share_increase,
        min_requests=raw.min_requests,
        confidence=raw.confidence,
    )


def _metric(raw: MetricPart) -> MetricSpec:
    size: EffectSizePart = raw.effect_size
    return MetricSpec(
        name=raw.name,
        source=_source(raw),
        is_share=raw.is_share,
        direction=Direction(raw.direction),
        tolerance=_tolerance(raw) if raw.tolerance is None else raw.tolerance,
        quantile=raw.quantile,
        group=raw.group,
        is_critical=raw.critical,
        must_have=raw.must_have,
        nan=NanStrategy(raw.nan),
        outliers=raw.outliers,
        outlier_rule=OutlierRule(raw.outlier_rule),
        effect_size=EffectSize(size.measure),
        allowed=(size.allowed[0], size.allowed[1]),
        critical=(size.critical[0], size.critical[1]) if size.critical else None,
    )


def _tolerance(raw: MetricPart) -> float:
    if not raw.is_share:
        return VALUE_TOLERANCE
    return SLOW_TOLERANCE if raw.load_balancer == "slow" else SHARE_TOLERANCE


def _source(raw: MetricPart) -> MetricSource:
    if raw.cloudwatch is not None:
        return _cloudwatch(raw.cloudwatch)
    if raw.prometheus is not None:
        return PrometheusSource(query=raw.prometheus.query, total=raw.prometheus.total)
    return LoadBalancerSource(what=raw.load_balancer or "")


def _cloudwatch(raw: CloudWatchPart) -> CloudWatchSource:
    return CloudWatchSource(
        namespace=raw.namespace,
        metric=raw.metric,
        statistic=raw.statistic,
        dimensions=dict(raw.dimensions),
        expression=raw.expression,
        metrics={name: _statistic(one) for name, one in raw.metrics.items()},
        total=_statistic(raw.total) if raw.total else None,
    )


def _statistic(raw: StatisticPart) -> tuple[str, str, str]:
    return (raw.namespace, raw.metric, raw.statistic)
