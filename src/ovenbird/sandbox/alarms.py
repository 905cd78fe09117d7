"""CloudWatch alarms that are evaluated, and tell topics what they found.

CloudWatch evaluates an alarm again and again over complete periods; a new one has
INSUFFICIENT_DATA, one that is written again keeps its state, and a change of state is
published to the topics of the new state. moto 5.2.5 evaluates nothing, calls a new alarm
OK, and looks at one of DescribeAlarms' filters only.

Source: moto/cloudwatch/models.py, responses.py; CloudWatch API reference, PutMetricAlarm,
DescribeAlarms, SetAlarmState; user guide, "Using Amazon CloudWatch alarms".
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from ovenbird.sandbox.alarm_actions import announce, publish
from ovenbird.sandbox.alarm_states import (
    COMPARISONS,
    LOOK_BACK,
    Judged,
    Missing,
    Point,
    Rule,
    State,
    judge,
)
from ovenbird.sandbox.loops import CONTROL, Loop, for_each
from ovenbird.sandbox.metric_queries import (
    MathQuery,
    MetricQuery,
    Query,
    checked_period,
    parse_queries,
    solve,
)
from ovenbird.sandbox.metric_statistics import statistic
from ovenbird.sandbox.metric_store import Metric
from ovenbird.sandbox.metrics import MetricsBackend
from ovenbird.sandbox.pages import page_of

log = logging.getLogger(__name__)

EVERY_S = 1.0
SETTLE_S = 2.0  # so late may balancers publish what they counted in a second
_DESCRIBED_AT_ONCE = 50  # Source: DescribeAlarms, MaxRecords
_FIRST_REASON = "Unchecked: Initial alarm creation"


def install() -> None:
    """Put our versions in moto's place."""
    CloudWatchBackend.put_metric_alarm = _checked(CloudWatchBackend.put_metric_alarm)
    MetricsBackend.set_alarm_state = _telling(MetricsBackend.set_alarm_state)
    CloudWatchResponse.describe_alarms = describe_alarms


@contextmanager
def running() -> Iterator[None]:
    """Evaluate all alarms every second for as long as the block runs."""
    loop = Loop("alarms", every_s=EVERY_S, tick=lambda: tick(time.time()))
    loop.start()
    try:
        yield
    finally:
        loop.stop()


def tick(now: float) -> None:
    """Evaluate all alarms of all accounts once, then publish what changed.

    Args:
        now: Unix seconds.
    """
    with CONTROL:
        found = [backend for _, _, backend in list(cloudwatch_backends.iter_backends())]
    for_each([one for one in found if isinstance(one, MetricsBackend)], lambda b: _turn(b, now))


def _turn(backend: MetricsBackend, now: float) -> None:
    try:
        with CONTROL:
            alarms = list(backend.alarms.values())
            for_each(alarms, lambda alarm: _evaluate(backend, alarm, now))
    finally:
        while backend.notices:
            publish(*backend.notices.popleft())  # without the lock


def describe_alarms(self: CloudWatchResponse) -> ActionResult:
    """Stand in for DescribeAlarms: all filters together, by name, in pages."""
    params = self._get_params()
    kinds = params.get("AlarmTypes") or ["MetricAlarm"]
    found = [
        alarm
        for _, alarm in sorted(self.cloudwatch_backend.alarms.items())
        if _wanted(alarm, params) and _kind(alarm) in kinds
    ]
    size = int(params.get("MaxRecords") or _DESCRIBED_AT_ONCE)
    alarms, token = page_of(found, params.get("NextToken"), size=size)
    return ActionResult(
        {
            "MetricAlarms": [alarm for alarm in alarms if alarm.rule is None],
            "CompositeAlarms": [alarm for alarm in alarms if alarm.rule is not None],
            "NextToken": token,
        }
    )


def _wanted(alarm: Alarm, params: dict[str, Any]) -> bool:
    names = params.get("AlarmNames") or []
    action = params.get("ActionPrefix") or ""
    return (
        (not names or alarm.name in names)
        and alarm.name.startswith(params.get("AlarmNamePrefix") or "")
        and params.get("StateValue") in {None, alarm.state_value}
        and (not action or any(arn.startswith(action) for arn in alarm.alarm_actions))
    )


def _kind(alarm: Alarm) -> str:
    return "MetricAlarm" if alarm.rule is None else "CompositeAlarm"


def _checked(original: Any) -> Any:
    """Refuse alarms that could not be evaluated, and begin and keep states as AWS does."""

    def put_metric_alarm(self: CloudWatchBackend, **named: Any) -> Alarm:
        before = self.alarms.get(named["name"])
        # moto lets percentiles through and nothing else, so it is set afterwards.
        alarm: Alarm = original(self, **{**named, "extended_statistic": None})
        alarm.extended_statistic = named.get("extended_statistic")
        vars(alarm)["metrics"] = alarm.metric_data_queries  # under the API's name
        if alarm.rule is None:
            try:
                _watched(alarm)
                _rule(alarm)
            except (TypeError, ValueError) as error:
                _put_back(self, alarm, before)
                raise ValidationError(str(error)) from error
        _begin(alarm, before)
        return alarm

    return put_metric_alarm


def _put_back(self: CloudWatchBackend, alarm: Alarm, before: Alarm | None) -> None:
    del self.alarms[alarm.name]
    if before is not None:
        self.alarms[alarm.name] = before


def _begin(alarm: Alarm, before: Alarm | None) -> None:
    alarm.state_value, alarm.state_reason = State.INSUFFICIENT_DATA.value, _FIRST_REASON
    if before is not None:
        alarm.history = before.history
        alarm.state_value, alarm.state_reason = before.state_value, before.state_reason
        alarm.state_reason_data = before.state_reason_data
        alarm.state_updated_timestamp = before.state_updated_timestamp


def _telling(original: Any) -> Any:
    """Let SetAlarmState do what a change of state does."""

    def set_alarm_state(
        self: MetricsBackend, alarm_name: str, reason: str, reason_data: str, state_value: str
    ) -> None:
        old = self.alarms[alarm_name].state_value if alarm_name in self.alarms else ""
        original(self, alarm_name, reason, reason_data, state_value)
        if old != state_value:
            announce(self, self.alarms[alarm_name], old)

    return set_alarm_state


def _evaluate(backend: MetricsBackend, alarm: Alarm, now: float) -> None:
    if alarm.rule is not None:  # a composite one, which is not built
        return
    queries, watched = _watched(alarm)
    rule = _rule(alarm)
    period = _period(queries, watched)
    end = int((now - SETTLE_S) // period) * period  # complete periods only
    times = range(end - (rule.periods + LOOK_BACK) * period, end, period)
    results = solve(queries, backend.store, start=times.start, end=end)
    series = next(result.series for result in results if result.query == watched)
    window = [Point(begin=t, value=series[t]) if t in series else None for t in times]
    old = State(alarm.state_value)
    found = judge(rule, window, present=old)
    if found.state is not old:
        alarm.update_state(found.reason, _data(found, rule, period=period), found.state.value)
        announce(backend, alarm, old.value)
        log.info("alarm %s: %s: %s", alarm.name, found.state, found.reason)


def _data(found: Judged, rule: Rule, *, period: int) -> str:
    """Return the reason for machines."""
    return json.dumps(
        {
            "version": "1.0",
            "period": period,
            "threshold": rule.threshold,
            "recentDatapoints": [point.value for point in found.points],
        }
    )


def _watched(alarm: Alarm) -> tuple[tuple[Query, ...], Query]:
    """Return an alarm's queries, and the one that is compared with its threshold.

    Raises:
        ValueError: They cannot be evaluated, in words for the caller.
    """
    if not alarm.metric_data_queries:
        query = _plain(alarm)
        return (query,), query
    queries = parse_queries([_raw(query) for query in alarm.metric_data_queries])
    returned = [query for query in queries if query.returned]
    if len(returned) != 1:
        raise ValueError("Exactly one element of the metrics list should return data.")
    _period(queries, returned[0])
    return queries, returned[0]


def _plain(alarm: Alarm) -> MetricQuery:
    stat = alarm.extended_statistic or alarm.statistic
    if not stat or not alarm.period:
        raise ValueError("A metric alarm needs a Period and a Statistic or ExtendedStatistic")
    statistic(stat)
    dimensions = [{"Name": one.name, "Value": one.value} for one in alarm.dimensions]
    return MetricQuery(
        id="watched",
        label=alarm.metric_name,
        returned=True,
        metric=Metric.of(alarm.namespace, alarm.metric_name, dimensions),
        stat=stat,
        period=checked_period(int(alarm.period)),
    )


def _raw(query: Any) -> dict[str, Any]:
    raw = {"Id": query.id, "Label": query.label, "ReturnData": query.return_data}
    if query.expression:
        return raw | {"Expression": query.expression}
    stat = query.metric_stat
    metric = {
        "Namespace": stat.metric.namespace,
        "MetricName": stat.metric.metric_name,
        "Dimensions": [{"Name": one.name, "Value": one.value} for one in stat.metric.dimensions],
    }
    return raw | {"MetricStat": {"Metric": metric, "Period": stat.period, "Stat": stat.stat}}


def _period(queries: tuple[Query, ...], watched: Query) -> int:
    if isinstance(watched, MetricQuery):
        return watched.period
    periods = {query.period for query in queries if not isinstance(query, MathQuery)}
    if len(periods) != 1:
        raise ValueError("All metrics of an alarm must have the same Period")
    return periods.pop()


def _rule(alarm: Alarm) -> Rule:
    if alarm.comparison_operator not in COMPARISONS or alarm.threshold is None:
        raise ValueError(f"ComparisonOperator {alarm.comparison_operator} is not supported")
    periods = int(alarm.evaluation_periods)
    needed = int(alarm.datapoints_to_alarm or periods)
    if not 1 <= needed <= periods:
        raise ValueError("DatapointsToAlarm must be from 1 to EvaluationPeriods")
    return Rule(
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        periods=periods,
        needed=needed,
        missing=Missing(alarm.treat_missing_data or "missing"),
    )
