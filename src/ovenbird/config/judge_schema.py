"""What a manifest may say of the judge: its method, its metrics, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ovenbird.config.documents import Strict
from ovenbird.config.words import Line, Phrase, Seconds, Share, Words, matches

CLOUDWATCH_NAMES = ("{server_group}", "{target_group}", "{load_balancer}")
PROMETHEUS_NAMES = ("{{server_group}}", "{{period}}")
BUILT_IN = ("max_error_rate_increase", "max_slow_share_increase")
MOST_METRICS = 50

MetricName = Annotated[
    str,
    matches(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "is not a metric's name: letters, digits, `_.-`"),
]
# Source: CloudWatch user guide, "CloudWatch statistics definitions".
Statistic = Annotated[
    str,
    matches(
        r"SampleCount|Average|Sum|Minimum|Maximum|IQM|(p|tm|tc|ts|wm)\d{1,2}(\.\d+)?|p100"
        r"|(TM|TC|TS|WM|PR)\([\d.%]*:[\d.%]*\)",
        "is not a statistic of CloudWatch: `Average`, `Sum`, `p99`, `TC(0.5:)`",
    ),
]
# Source: CloudWatch API reference, MetricDataQuery, Id.
QueryId = Annotated[
    str, matches(r"[a-z][A-Za-z0-9_]{0,254}", "is not an id: begin with a lower case letter")
]
Ratio = Annotated[float, Field(gt=0)]


class StatisticPart(Strict):
    """A statistic of a metric of CloudWatch."""

    namespace: Line
    metric: Line
    statistic: Statistic = "Sum"


class CloudWatchPart(Strict):
    """A metric of the environment's account, or an expression of metrics."""

    namespace: Phrase = ""
    metric: Phrase = ""
    statistic: Statistic = "Average"
    dimensions: Mapping[Line, Line] = Field(default_factory=dict)
    expression: Phrase = ""
    metrics: Mapping[QueryId, StatisticPart] = Field(default_factory=dict)
    total: StatisticPart | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> CloudWatchPart:
        if self.expression:
            self._check_expression()
        elif not (self.namespace and self.metric):
            raise ValueError("must have `namespace` and `metric`, or an `expression` of `metrics`")
        elif self.metrics:
            raise ValueError("has `metrics`, which only an `expression` has")
        _refuse_other(r"\{[^{}]*\}", CLOUDWATCH_NAMES, [self.expression, *self.dimensions.values()])
        return self

    def _check_expression(self) -> None:
        if self.metric or self.namespace:
            raise ValueError("must have `metric` or `expression`, not both")
        if not self.metrics:
            raise ValueError("has an `expression`, and no `metrics` that it is made of")
        if found := re.search(r"\b(SEARCH|METRICS|DB_PERF_INSIGHTS|INSIGHT_RULE_METRIC)\b",
                              self.expression):  # fmt: skip
            raise ValueError(f"`{found[0]}` may find several series; name each in `metrics`")
        words = set(re.findall(r"[A-Za-z_]\w*", self.expression))
        if unused := [name for name in self.metrics if name not in words]:
            raise ValueError(f"`{unused[0]}` does not stand in the `expression`")

    @property
    def tells_sides_apart(self) -> bool:
        """Whether the canary's numbers are others than the baseline's."""
        texts = [self.expression, *self.dimensions.values()]
        return any(name in text for name in CLOUDWATCH_NAMES[:2] for text in texts)


class PrometheusPart(Strict):
    """A query of the environment's Prometheus."""

    query: Annotated[Words, Field(min_length=1)]
    total: Words = ""

    @model_validator(mode="after")
    def _known_names(self) -> PrometheusPart:
        _refuse_other(r"\{\{[^{}]*\}\}", PROMETHEUS_NAMES, [self.query, self.total])
        return self

    @property
    def tells_sides_apart(self) -> bool:
        """Whether the canary's numbers are others than the baseline's."""
        return all(PROMETHEUS_NAMES[0] in text for text in (self.query, self.total) if text)


class EffectSizePart(Strict):
    """How large a difference may be, for ``compare``: [decrease, increase]."""

    measure: Literal["mean_ratio", "cles"] = "mean_ratio"
    allowed: Annotated[list[Ratio], Field(min_length=2, max_length=2)] = Field(default=[1.0, 1.0])
    critical: Annotated[list[Ratio], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> EffectSizePart:
        for name in ("allowed", "critical"):
            found = getattr(self, name)
            if found and found[0] > found[1]:
                raise ValueError(f"`{name}` must be [decrease, increase], the lower one first")
        return self


class MetricPart(Strict):
    """One metric that canary and baseline are compared by."""

    name: MetricName
    load_balancer: Literal["errors", "slow"] | None = None
    cloudwatch: CloudWatchPart | None = None
    prometheus: PrometheusPart | None = None
    share: bool | None = None
    tolerance: Annotated[float, Field(ge=0)] | None = None
    direction: Literal["increase", "decrease", "either"] = "increase"
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    group: MetricName = "all"
    critical: bool = False
    must_have: bool = False
    nan: Literal["remove", "replace"] = "remove"
    outliers: Annotated[float, Field(ge=0)] = 0.0
    outlier_rule: Literal["iqr", "sigma"] = "iqr"
    effect_size: EffectSizePart = EffectSizePart()

    @model_validator(mode="after")
    def _from_somewhere(self) -> MetricPart:
        sources = [self.load_balancer, self.cloudwatch, self.prometheus]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("must have one of `load_balancer`, `cloudwatch` and `prometheus`")
        source = self.cloudwatch or self.prometheus
        if source is not None and not source.tells_sides_apart:
            name = "{{server_group}}" if self.prometheus else "{server_group}"
            raise ValueError(f"names no `{name}`: canary and baseline would be the same")
        self._check_share(has_total=bool(source is None or source.total))
        return self

    @property
    def is_share(self) -> bool:
        """Whether it is a share of all events; what has a total is one."""
        source = self.cloudwatch or self.prometheus
        return self.share if self.share is not None else bool(source is None or source.total)

    def _check_share(self, *, has_total: bool) -> None:
        if self.share and not has_total:
            raise ValueError("is a `share` and has no `total`: of how many?")
        if self.share is False and has_total:
            what = "what a load balancer counts" if self.load_balancer else "what has a `total`"
            raise ValueError(f"must be a `share`: {what} is one")
        if self.is_share and self.tolerance is not None and self.tolerance > 1:
            raise ValueError("`tolerance` of a share must be between 0 and 1")
        if self.is_share and "quantile" in self.model_fields_set:
            raise ValueError("is a share, and a `quantile` is of values")


class GuardsPart(Strict):
    """What the instances of a canary may do in a step; more of it stops the rollout at once."""

    flaps: Annotated[int, Field(ge=0)] | None = 2
    restarts: Annotated[int, Field(ge=0)] | None = 1


class JudgePart(Strict):
    """When a canary is worse than the group it stands beside."""

    method: Literal["sequential", "compare"] = "sequential"
    false_alarm_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    burst_s: Annotated[float, Field(ge=0)] = 0.0
    metrics: Annotated[tuple[MetricPart, ...], Field(max_length=MOST_METRICS)] = ()
    groups: Mapping[MetricName, Annotated[float, Field(gt=0, le=100)]] = Field(default_factory=dict)
    pass_score: Annotated[float, Field(alias="pass", ge=0, le=100)] = 95.0
    marginal_score: Annotated[float, Field(alias="marginal", ge=0, le=100)] = 75.0
    guards: GuardsPart = GuardsPart()
    max_error_rate_increase: Share = 0.01
    slow_s: Seconds = 0.5
    max_slow_share_increase: Share = 0.05
    min_requests: Annotated[int, Field(ge=1)] = 30
    min_periods: Annotated[int, Field(ge=3)] = 3
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.98

    @model_validator(mode="after")
    def _makes_sense(self) -> JudgePart:
        if self.marginal_score > self.pass_score:
            raise ValueError("`marginal` must not be above `pass`")
        names = [metric.name for metric in self.metrics]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"has two metrics `{twice}`")
        self._check_groups()
        for key in BUILT_IN:
            if self.metrics and key in self.model_fields_set:
                raise ValueError(
                    f"`{key}` is of what is judged without `metrics`: give the metric a `tolerance`"
                )
        return self

    def _check_groups(self) -> None:
        known = {metric.group for metric in self.metrics}
        if stray := next((name for name in self.groups if name not in known), ""):
            raise ValueError(f"`groups` has `{stray}`, and no metric is in it")
        weight = sum(self.groups.values())
        if weight > 100 or (self.groups.keys() == known and self.groups and weight != 100):
            raise ValueError(f"the weights in `groups` make {weight:g}, not 100")


def _refuse_other(pattern: str, known: Sequence[str], texts: Sequence[str]) -> None:
    for text in texts:
        for found in re.findall(pattern, text):
            if found not in known:
                names = ", ".join(f"`{name}`" for name in known)
                raise ValueError(f"`{found}` stands for nothing; there are {names}")
