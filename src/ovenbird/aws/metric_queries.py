"""Queries of GetMetricData for what a judge wants to know, as few as it takes.

A series that several metrics need (the requests of a target group) is asked for once in a
call; what an expression is made of stands in the same call.

Source: CloudWatch API reference, GetMetricData (500 queries a call), MetricDataQuery (ids).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ovenbird.aws.alarms import NAMESPACE
from ovenbird.domain.judging import CloudWatchSource, LoadBalancerSource

AT_ONCE = 500
_ID_OR_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"|\b[a-z][A-Za-z0-9_]*\b")
_FOUND = {"errors": ("HTTPCode_Target_5XX_Count", "Sum"), "slow": ("TargetResponseTime", "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A statistic of one metric.

    Args:
        dimensions: ``(name, value)``, sorted by name.
    """

    namespace: str
    metric: str
    statistic: str
    dimensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Math:
    """An expression over statistics.

    Args:
        inputs: ``(id in the expression, what it stands for)``.
    """

    expression: str
    inputs: tuple[tuple[str, Stat], ...]


Asked = Stat | Math


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What placeholders stand for on one side.

    Args:
        target_group: As dimensions name it, ``targetgroup/NAME/HASH``.
        load_balancer: As dimensions name it, ``app/NAME/HASH``.
    """

    server_group: str
    target_group: str = ""
    load_balancer: str = ""

    def filled(self, text: str) -> str:
        """Return a text with this side's names in it."""
        names = ("server_group", "target_group", "load_balancer")
        for name in names:
            text = text.replace(f"{{{name}}}", getattr(self, name))
        return text


def asked(
    source: LoadBalancerSource | CloudWatchSource, side: Side, slow_s: float
) -> tuple[Asked, Stat | None]:
    """Return what is asked for a metric of one side, and for a share all events, too.

    Args:
        source: Where the metric comes from.
        side: Whose.
        slow_s: Seconds from which an answer is slow.
    """
    if isinstance(source, LoadBalancerSource):
        return _of_balancer(source, side, slow_s)
    where = tuple(sorted((name, side.filled(value)) for name, value in source.dimensions.items()))
    total = _stat(source.total, where, side) if source.total else None
    if not source.expression:
        plain = (source.namespace, source.metric, source.statistic)
        return _stat(plain, where, side), total
    inputs = tuple((name, _stat(one, where, side)) for name, one in source.metrics.items())
    return Math(expression=side.filled(source.expression), inputs=inputs), total


def _of_balancer(source: LoadBalancerSource, side: Side, slow_s: float) -> tuple[Stat, Stat]:
    where = (("LoadBalancer", side.load_balancer), ("TargetGroup", side.target_group))
    metric, statistic = _FOUND[source.what]
    # Source: CloudWatch user guide, "Statistics definitions": TC(x:) counts values above x.
    statistic = statistic or f"TC({slow_s:g}:)"
    return (
        _stat((NAMESPACE, metric, statistic), where, side),
        _stat((NAMESPACE, "RequestCount", "Sum"), where, side),
    )


def _stat(one: tuple[str, str, str], where: tuple[tuple[str, str], ...], side: Side) -> Stat:
    namespace, metric, statistic = one
    name = side.filled(metric)
    return Stat(namespace=namespace, metric=name, statistic=statistic, dimensions=where)


@dataclass(kw_only=True)
class Call:
    """One call of GetMetricData.

    Args:
        period_s: Of all statistics.
        ids: What is asked → its id.
    """

    period_s: int
    ids: dict[Asked, str] = field(default_factory=dict)

    def takes(self, wanted: Asked) -> bool:
        """Add what is wanted, unless there is no room for it and all that it is made of."""
        new = [one for one in (*_inputs(wanted), wanted) if one not in self.ids]
        if self.ids and len(self.ids) + len(new) > AT_ONCE:
            return False
        for one in new:
            self.ids.setdefault(one, f"q{len(self.ids)}")
        return True

    @property
    def queries(self) -> list[Any]:
        """The queries as AWS takes them."""
        return [self._query(one, name) for one, name in self.ids.items()]

    def _query(self, one: Asked, name: str) -> dict[str, Any]:
        if isinstance(one, Math):
            names = {old: self.ids[stat] for old, stat in one.inputs}
            return {"Id": name, "Expression": renamed(one.expression, names)}
        where = [{"Name": key, "Value": value} for key, value in one.dimensions]
        metric = {"Namespace": one.namespace, "MetricName": one.metric, "Dimensions": where}
        stat = {"Metric": metric, "Period": self.period_s, "Stat": one.statistic}
        return {"Id": name, "MetricStat": stat}


def calls(wanted: Iterable[Asked], period_s: int) -> tuple[Call, ...]:
    """Return the calls that ask for all that is wanted, each at most as long as AWS allows."""
    found = [Call(period_s=period_s)]
    for one in wanted:
        if not found[-1].takes(one):
            found.append(Call(period_s=period_s))
            found[-1].takes(one)
    return tuple(call for call in found if call.ids)


def renamed(expression: str, names: Mapping[str, str]) -> str:
    """Return an expression with other ids in it; what stands in quotes is left as it is."""
    return _ID_OR_TEXT.sub(lambda found: names.get(found[0], found[0]), expression)


def _inputs(one: Asked) -> tuple[Stat, ...]:
    return tuple(stat for _, stat in one.inputs) if isinstance(one, Math) else ()
