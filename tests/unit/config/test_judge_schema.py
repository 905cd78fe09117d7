"""What is written of the judge is what is read, and what cannot be is refused with a hint."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ovenbird.config.judge_policies import load_policy
from ovenbird.domain.apps import JudgePolicy, metrics_of
from ovenbird.domain.errors import InvalidRequest
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

WORDS = st.text("abcXYZ019", min_size=1, max_size=8)
IDS = st.text("abcz", min_size=1, max_size=4)
STATS = st.tuples(WORDS, WORDS, st.sampled_from(["Sum", "Average", "p99", "TC(0.5:)", "tm99.9"]))
WHERE = st.dictionaries(WORDS, WORDS, max_size=2).map(
    lambda found: {**found, "AutoScalingGroupName": "{server_group}"}
)
QUERIES = WORDS.map(lambda word: f'sum({word}{{group="{{{{server_group}}}}"}}[{{{{period}}}}])')
PARTS = st.floats(0, 1)
RATIOS = st.tuples(st.floats(0.1, 1), st.floats(1, 9))


@st.composite
def plain(draw: st.DrawFn) -> tuple[MetricSource, bool]:
    namespace, metric, statistic = draw(STATS)
    total = draw(st.none() | STATS)
    source = CloudWatchSource(
        namespace=namespace, metric=metric, statistic=statistic,
        dimensions=draw(WHERE), total=total,
    )  # fmt: skip
    return source, total is not None


@st.composite
def expressed(draw: st.DrawFn) -> tuple[MetricSource, bool]:
    metrics = draw(st.dictionaries(IDS, STATS, min_size=1, max_size=3))
    expression = " + ".join(metrics)
    return CloudWatchSource(expression=expression, metrics=metrics, dimensions=draw(WHERE)), False


@st.composite
def queried(draw: st.DrawFn) -> tuple[MetricSource, bool]:
    total = draw(st.just("") | QUERIES)
    return PrometheusSource(query=draw(QUERIES), total=total), bool(total)


BALANCED = st.sampled_from(["errors", "slow"]).map(
    lambda what: (LoadBalancerSource(what=what), True)
)


@st.composite
def specs(draw: st.DrawFn, name: str) -> MetricSpec:
    source, is_share = draw(st.one_of(BALANCED, plain(), expressed(), queried()))
    return MetricSpec(
        name=name, source=source, is_share=is_share,
        direction=draw(st.sampled_from(Direction)),
        tolerance=draw(PARTS),
        quantile=0.5 if is_share else draw(st.floats(0.01, 0.99)),
        group=draw(st.sampled_from(["all", "answers"])),
        is_critical=draw(st.booleans()), must_have=draw(st.booleans()),
        nan=draw(st.sampled_from(NanStrategy)),
        outliers=draw(st.floats(0, 9)), outlier_rule=draw(st.sampled_from(OutlierRule)),
        effect_size=draw(st.sampled_from(EffectSize)),
        allowed=draw(RATIOS), critical=draw(st.none() | RATIOS),
    )  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> JudgePolicy:
    names = draw(st.lists(WORDS, unique=True, max_size=3))
    metrics = tuple(draw(specs(name)) for name in names)
    low, high = sorted(draw(st.tuples(st.floats(0, 100), st.floats(0, 100))))
    built_in: dict[str, Any] = {} if metrics else {
        "max_error_rate_increase": draw(PARTS), "max_slow_share_increase": draw(PARTS),
    }  # fmt: skip
    guards = st.none() | st.integers(0, 9)
    return JudgePolicy(
        method=draw(st.sampled_from(Method)), metrics=metrics,
        false_alarm_rate=draw(st.floats(0.001, 0.5)), burst_s=draw(st.floats(0, 99)),
        pass_score=high, marginal_score=low,
        guards=Guards(flaps=draw(guards), restarts=draw(guards)),
        slow_s=draw(st.floats(0.1, 9)), min_requests=draw(st.integers(1, 99)),
        min_periods=draw(st.integers(3, 9)),
        confidence=draw(st.floats(0.5, 0.99)), **built_in,
    )  # fmt: skip


def written(policy: JudgePolicy) -> dict[str, Any]:
    """Write a policy as a person would."""
    found: dict[str, Any] = {
        name: getattr(policy, name)
        for name in (
            "false_alarm_rate",
            "burst_s",
            "slow_s",
            "min_requests",
            "min_periods",
            "confidence",
        )
    }
    found |= {
        "method": policy.method.value, "pass": policy.pass_score,
        "marginal": policy.marginal_score,
        "guards": {"flaps": policy.guards.flaps, "restarts": policy.guards.restarts},
    }  # fmt: skip
    if policy.metrics:
        return {**found, "metrics": [_metric(spec) for spec in policy.metrics]}
    names = ("max_error_rate_increase", "max_slow_share_increase")
    return {**found, **{name: getattr(policy, name) for name in names}}


def _metric(spec: MetricSpec) -> dict[str, Any]:
    size: dict[str, Any] = {"measure": spec.effect_size.value, "allowed": list(spec.allowed)}
    if spec.critical:
        size["critical"] = list(spec.critical)
    found = {
        "name": spec.name, "direction": spec.direction.value, "tolerance": spec.tolerance,
        "group": spec.group, "critical": spec.is_critical, "must_have": spec.must_have,
        "nan": spec.nan.value, "outliers": spec.outliers,
        "outlier_rule": spec.outlier_rule.value, "effect_size": size, **_source(spec.source),
    }  # fmt: skip
    return found if spec.is_share else {**found, "quantile": spec.quantile}


def _source(source: MetricSource) -> dict[str, Any]:
    match source:
        case LoadBalancerSource():
            return {"load_balancer": source.what}
        case PrometheusSource():
            total = {"total": source.total} if source.total else {}
            return {"prometheus": {"query": source.query, **total}}
        case CloudWatchSource():
            found: dict[str, Any] = {"dimensions": dict(source.dimensions)}
            if source.expression:
                metrics = {name: _statistic(one) for name, one in source.metrics.items()}
                return {
                    "cloudwatch": {**found, "expression": source.expression, "metrics": metrics}
                }
            found |= _statistic((source.namespace, source.metric, source.statistic))
            if source.total:
                found["total"] = _statistic(source.total)
            return {"cloudwatch": found}


def _statistic(one: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("namespace", "metric", "statistic"), one, strict=True))


def load(path: Path, data: dict[str, Any] | str) -> JudgePolicy:
    if isinstance(data, str):
        path.write_text(data)
    else:
        text = io.StringIO()
        YAML(typ="safe").dump(data, text)
        path.write_text(text.getvalue())
    return load_policy(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(policy=policies())
def test_what_is_written_is_what_is_read(policy: JudgePolicy, tmp_path: Path) -> None:
    assert load(tmp_path / "judge.yaml", written(policy)) == policy


def test_what_is_left_out_is_the_default(tmp_path: Path) -> None:
    policy = load(tmp_path / "judge.yaml", "method: sequential\n")

    assert policy == JudgePolicy()
    assert [spec.name for spec in metrics_of(policy)] == ["errors", "slow"]


def test_tolerances_that_nobody_gave_are_those_of_the_kind(tmp_path: Path) -> None:
    where = "{namespace: A, metric: m, dimensions: {G: '{server_group}'}}"
    policy = load(
        tmp_path / "judge.yaml",
        f"""\
metrics:
  - {{name: a, load_balancer: errors}}
  - {{name: b, load_balancer: slow}}
  - {{name: c, cloudwatch: {where}}}
""",
    )

    assert [(m.is_share, m.tolerance) for m in policy.metrics] == [
        (True, 0.01), (True, 0.05), (False, 0.25),
    ]  # fmt: skip


CLOUD = "cloudwatch: {namespace: A, metric: m, dimensions: {G: '{server_group}'}%s}"
PLAIN = f"metrics: [{{name: a, {CLOUD % ''}%s}}]"
WRONG = {
    "methods: compare": "did you mean `method`?",
    "method: bayes": "'sequential' or 'compare'",
    "false_alarm_rate: 0": "greater than 0",
    "{pass: 50, marginal: 60}": "`marginal` must not be above `pass`",
    "metrics: [{name: a}]": "must have one of `load_balancer`, `cloudwatch` and `prometheus`",
    "metrics: [{name: a b, load_balancer: errors}]": "is not a metric's name",
    "metrics: [{name: a, load_balancer: errors}, {name: a, load_balancer: slow}]": "two metrics",
    "metrics: [{name: a, load_balancer: errors, prometheus: {query: x}}]": "must have one of",
    "{metrics: [{name: a, load_balancer: errors}], max_error_rate_increase: 0.1}": "`tolerance`",
    PLAIN % ", share: true": "is a `share` and has no `total`",
    PLAIN % ", unit: s": "unknown key",
    "metrics: [{name: a, load_balancer: errors, share: false}]": "must be a `share`",
    "metrics: [{name: a, load_balancer: errors, tolerance: 2}]": "between 0 and 1",
    "metrics: [{name: a, load_balancer: errors, quantile: 0.9}]": "a `quantile` is of values",
    "metrics: [{name: a, cloudwatch: {metric: m}}]": "must have `namespace` and `metric`",
    "metrics: [{name: a, cloudwatch: {namespace: A, metric: m}}]": "would be the same",
    "metrics: [{name: a, prometheus: {query: sum(up)}}]": "names no `{{server_group}}`",
    "metrics: [{name: a, prometheus: {query: '{{group}}'}}]": "`{{group}}` stands for nothing",
    f"metrics: [{{name: a, {CLOUD % ', statistic: Middle'}}}]": "is not a statistic",
    f"metrics: [{{name: a, {CLOUD % ', expression: m + 1'}}}]": "not both",
    "metrics: [{name: a, cloudwatch: {expression: m}}]": "no `metrics` that it is made of",
    "metrics: [{name: a, cloudwatch: {expression: SEARCH(m), "
    "metrics: {m: {namespace: A, metric: m}}}}]": "may find several series",
    "metrics: [{name: a, cloudwatch: {expression: m, metrics: "
    "{m: {namespace: A, metric: m}, n: {namespace: A, metric: n}}}}]": "`n` does not stand in",
    "{groups: {b: 50}, metrics: [{name: a, load_balancer: errors}]}": "no metric is in it",
    "{groups: {all: 50}, metrics: [{name: a, load_balancer: errors}]}": "make 50, not 100",
    "metrics: [{name: a, load_balancer: errors, effect_size: {allowed: [2, 1]}}]": "lower one",
    "guards: {flaps: -1}": "greater than or equal to 0",
}


@pytest.mark.parametrize(("text", "words"), WRONG.items())
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load(tmp_path / "judge.yaml", text + "\n")

    assert words in str(caught.value)
    assert "judge.yaml:1" in str(caught.value)
    assert caught.value.hint
