"""CloudWatch metrics, as CloudWatch stores and answers them.

CloudWatch keeps distributions (Values and Counts), aligns periods to the clock, matches
namespace and dimensions exactly, knows percentiles and trimmed statistics, and computes
metric math. moto 5.2.5 makes one object for each count, starts periods at the request's
start, compares no namespaces when there are dimensions, fails on percentiles and returns
nothing for an expression.

Source: moto/cloudwatch/models.py, responses.py; CloudWatch API reference, PutMetricData,
GetMetricData, GetMetricStatistics, ListMetrics.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import (
    InvalidParameterCombination,
    InvalidParameterValue,
    ValidationError,
)
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from ovenbird.sandbox.metric_queries import Result, checked_period, parse_queries, solve
from ovenbird.sandbox.metric_statistics import statistic
from ovenbird.sandbox.metric_store import Metric, MetricStore
from ovenbird.sandbox.pages import offset, page_of

MAX_DATAPOINTS = 100_800  # Source: GetMetricData, MaxDatapoints
_LISTED_AT_ONCE = 500  # Source: ListMetrics


class MetricsBackend(CloudWatchBackend):
    """CloudWatch of one account with our store instead of moto's list."""

    __module__ = "moto.cloudwatch.models"  # moto derives the service from it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.store = MetricStore(now=time.time)
        self.notices: deque[tuple[str, str, str]] = deque()  # topic, subject, message

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        """Stand in for PutMetricData."""
        for place, datum in enumerate(metric_data, start=1):
            self._validate_parameters_put_metric_data(datum, place)
        for datum in metric_data:
            self.store.put(
                Metric.of(namespace, datum["MetricName"], datum.get("Dimensions") or []),
                _seconds(datum.get("Timestamp")),
                _values(datum),
                unit=datum.get("Unit") or "",
            )


def install() -> None:
    """Put our versions in moto's place."""
    cloudwatch_backends.backend = MetricsBackend
    CloudWatchResponse.get_metric_data = get_metric_data
    CloudWatchResponse.get_metric_statistics = get_metric_statistics
    CloudWatchResponse.list_metrics = list_metrics


def store_of(backend: CloudWatchBackend) -> MetricStore:
    """Return the store behind a backend that was made after :func:`install`."""
    if not isinstance(backend, MetricsBackend):
        raise TypeError(backend)
    return backend.store


def get_metric_data(self: CloudWatchResponse) -> ActionResult:
    """Stand in for GetMetricData; the token counts the data points before its page."""
    params = self._get_params()
    start, end = _seconds(params["StartTime"]), _seconds(params["EndTime"])
    if start >= end:
        raise ValidationError("The parameter StartTime must be less than the parameter EndTime.")
    try:
        queries = parse_queries(params.get("MetricDataQueries", []))
    except ValueError as error:
        raise ValidationError(str(error)) from error
    results = solve(queries, store_of(self.cloudwatch_backend), start=start, end=end)
    descending = params.get("ScanBy") != "TimestampAscending"
    series = [
        (result, sorted(result.series.items(), reverse=descending))
        for result in results
        if result.query.returned
    ]
    first = offset(params.get("NextToken"))
    size = int(params.get("MaxDatapoints") or MAX_DATAPOINTS)
    more = first + size < sum(len(points) for _, points in series)
    return ActionResult(
        {
            "MetricDataResults": _page(series, first, first + size),
            "NextToken": str(first + size) if more else None,
            "Messages": [],
        }
    )


def get_metric_statistics(self: CloudWatchResponse) -> ActionResult:
    """Stand in for GetMetricStatistics; the order of its data points is theirs in time."""
    params = self._get_params()
    plain, extended = params.get("Statistics") or [], params.get("ExtendedStatistics") or []
    if not plain and not extended:
        raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
    start, end = _seconds(params["StartTime"]), _seconds(params["EndTime"])
    if start >= end:
        raise InvalidParameterValue(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    store = store_of(self.cloudwatch_backend)
    metric = Metric.of(params["Namespace"], params["MetricName"], params.get("Dimensions") or [])
    try:
        period = checked_period(int(params["Period"]))
        times = range(int(start // period * period), int(-(-end // 1)), period)
        found = {
            name: store.series(metric, statistic(name), times=times, end=end)
            for name in (*plain, *extended)
        }
    except ValueError as error:
        raise InvalidParameterValue(str(error)) from error
    unit = store.unit(metric)
    points = [
        _datapoint(begin, found, plain=plain, extended=extended) | {"Unit": unit}
        for begin in sorted({begin for series in found.values() for begin in series})
    ]
    return ActionResult({"Label": metric.name, "Datapoints": points})


def list_metrics(self: CloudWatchResponse) -> ActionResult:
    """Stand in for ListMetrics: a filter names dimensions, with or without their value."""
    params = self._get_params()
    filters = [(one["Name"], one.get("Value")) for one in params.get("Dimensions") or []]
    found = [
        metric
        for metric in store_of(self.cloudwatch_backend).list_metrics()
        if params.get("Namespace") in {None, metric.namespace}
        and params.get("MetricName") in {None, metric.name}
        and all(_has(metric, name, value) for name, value in filters)
    ]
    metrics, token = page_of(found, params.get("NextToken"), size=_LISTED_AT_ONCE)
    return ActionResult({"Metrics": [_described(one) for one in metrics], "NextToken": token})


def _seconds(value: datetime | float | None) -> float:
    """Return Unix seconds; moto gives aware and naive times, both UTC."""
    if value is None:
        return time.time()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value)


def _values(datum: Mapping[str, Any]) -> dict[float, float]:
    if datum.get("Values"):
        counts = datum.get("Counts") or [1.0] * len(datum["Values"])
        found: dict[float, float] = {}
        for value, number in zip(datum["Values"], counts, strict=True):
            found[float(value)] = found.get(float(value), 0.0) + float(number)
        return found
    if datum.get("StatisticValues"):
        return _spread({key: float(value) for key, value in datum["StatisticValues"].items()})
    return {float(datum.get("Value") or 0.0): 1.0}


def _spread(of: Mapping[str, float]) -> dict[float, float]:
    """Return values that have these statistics: least, greatest, and all others alike."""
    number, least, greatest = of["SampleCount"], of["Minimum"], of["Maximum"]
    if number < 2 or least == greatest:
        return {of["Sum"] / number: number} if number else {}
    found = {least: 1.0, greatest: 1.0}
    if number == 2:
        return found
    others = (of["Sum"] - least - greatest) / (number - 2)
    found[others] = found.get(others, 0.0) + number - 2
    return found


def _page(
    series: Iterable[tuple[Result, Sequence[tuple[int, float]]]], first: int, end: int
) -> list[dict[str, Any]]:
    """Return the data points from *first* to *end*, counted over all series."""
    page, before = [], 0
    for result, points in series:
        some = points[max(0, first - before) : max(0, end - before)]
        before += len(points)
        page.append(
            {
                "Id": result.query.id,
                "Label": result.query.label,
                "Timestamps": [_time(begin) for begin, _ in some],
                "Values": [value for _, value in some],
                "StatusCode": "Complete" if before <= end else "PartialData",
            }
        )
    return page


def _datapoint(
    begin: int,
    found: Mapping[str, Mapping[int, float]],
    *,
    plain: Sequence[str],
    extended: Sequence[str],
) -> dict[str, Any]:
    values = {name: found[name][begin] for name in plain}
    others = {name: found[name][begin] for name in extended}
    return {"Timestamp": _time(begin), **values} | (
        {"ExtendedStatistics": others} if others else {}
    )


def _has(metric: Metric, name: str, value: str | None) -> bool:
    return any(own == name and value in {None, held} for own, held in metric.dimensions)


def _described(metric: Metric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}


def _time(begin: int) -> datetime:
    return datetime.fromtimestamp(begin, tz=UTC)
