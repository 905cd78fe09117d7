"""Queries of GetMetricData and of alarms: metrics, and math over them.

Source: CloudWatch API reference, MetricDataQuery, MetricStat and GetMetricData. A period
below a minute is 1, 5, 10, 20 or 30 s; AWS has none below 10 s for alarms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovenbird.sandbox.metric_math import Expression, Series
from ovenbird.sandbox.metric_statistics import statistic
from ovenbird.sandbox.metric_store import Metric, MetricStore

_SHORT_PERIODS_S = {1, 5, 10, 20, 30}
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuery:
    """A statistic of a metric.

    Args:
        period: Seconds.
    """

    id: str
    label: str
    returned: bool
    metric: Metric
    stat: str
    period: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MathQuery:
    """An expression over other queries."""

    id: str
    label: str
    returned: bool
    expression: str


Query = MetricQuery | MathQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The values of one query.

    Args:
        period: Seconds.
        series: Oldest first.
    """

    query: Query
    period: int
    series: Series


def checked_period(period: int) -> int:
    """Return the period.

    Raises:
        ValueError: CloudWatch has none of that length.
    """
    if period in _SHORT_PERIODS_S or (period > 0 and period % 60 == 0):
        return period
    raise ValueError(f"Period {period} must be 1, 5, 10, 20, 30 or any multiple of 60")


def parse_queries(raws: Sequence[Mapping[str, Any]]) -> tuple[Query, ...]:
    """Read queries as they come over the wire.

    Raises:
        ValueError: One of them is wrong, in words for the caller.
    """
    queries = tuple(_query(raw, place) for place, raw in enumerate(raws, start=1))
    ids = [query.id for query in queries]
    if len(set(ids)) < len(ids):
        raise ValueError("The values for parameter Id in MetricDataQueries are not unique")
    for query in queries:
        _refuse_unknown(query, set(ids))
    _refuse_circles(queries)
    return queries


def solve(
    queries: Sequence[Query], store: MetricStore, *, start: float, end: float
) -> tuple[Result, ...]:
    """Return a result for each query, in their order.

    Args:
        queries: As :func:`parse_queries` returned them.
        store: Of the account.
        start: Unix seconds, rounded down to a whole period.
        end: Unix seconds, not included.
    """
    found: dict[str, Result] = {}
    waiting = list(queries)
    while waiting:
        query = waiting.pop(0)
        if isinstance(query, MetricQuery):
            found[query.id] = _looked_up(query, store, start=start, end=end)
        elif Expression(query.expression).names <= found.keys():
            found[query.id] = _computed(query, found, start=start, end=end)
        else:
            waiting.append(query)  # until what it needs is there: there are no circles
    return tuple(found[query.id] for query in queries)


def _looked_up(query: MetricQuery, store: MetricStore, *, start: float, end: float) -> Result:
    times = _times(start, end, query.period)
    series = store.series(query.metric, statistic(query.stat), times=times, end=end)
    return Result(query=query, period=query.period, series=series)


def _computed(query: MathQuery, found: Mapping[str, Result], *, start: float, end: float) -> Result:
    expression = Expression(query.expression)
    period = max((found[name].period for name in expression.names), default=60)
    known = {name: found[name].series for name in expression.names}
    return Result(
        query=query,
        period=period,
        series=expression.series(known, _times(start, end, period)),
    )


def _times(start: float, end: float, period: int) -> range:
    return range(int(start // period * period), int(-(-end // 1)), period)


def _query(raw: Mapping[str, Any], place: int) -> Query:
    member = f"MetricDataQueries.member.{place}"
    name = str(raw.get("Id", ""))
    if not _ID.fullmatch(name):
        raise ValueError(
            f"The value {name} for parameter {member}.Id is invalid: it must start with a"
            " lowercase letter, and hold letters, digits and underscores only"
        )
    stat, expression = raw.get("MetricStat"), raw.get("Expression")
    if bool(stat) == bool(expression):
        raise ValueError(f"Exactly one of {member}.MetricStat and {member}.Expression is required")
    returned = raw.get("ReturnData", True) is not False
    if not stat:
        label = raw.get("Label") or name
        return MathQuery(id=name, label=label, returned=returned, expression=str(expression))
    metric = stat["Metric"]
    named = Metric.of(metric["Namespace"], metric["MetricName"], metric.get("Dimensions") or [])
    statistic(stat["Stat"])  # or refuse it now
    return MetricQuery(
        id=name,
        label=raw.get("Label") or named.name,
        returned=returned,
        metric=named,
        stat=stat["Stat"],
        period=checked_period(int(stat["Period"])),
    )


def _refuse_unknown(query: Query, ids: set[str]) -> None:
    if isinstance(query, MathQuery):
        unknown = Expression(query.expression).names - ids
        if unknown:
            raise ValueError(
                f"Error in expression '{query.id}': unknown identifier {', '.join(sorted(unknown))}"
            )


def _refuse_circles(queries: Sequence[Query]) -> None:
    needs = {q.id: Expression(q.expression).names for q in queries if isinstance(q, MathQuery)}
    while needs:
        free = [name for name, others in needs.items() if not others & needs.keys()]
        if not free:
            raise ValueError(f"The expressions {', '.join(sorted(needs))} need each other")
        for name in free:
            del needs[name]
