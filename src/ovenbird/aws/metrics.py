"""What CloudWatch knows of a canary and of the group beside it: both sides in one call."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ovenbird.aws.alarms import Alarms, dimensions
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.metric_queries import Asked, Call, Math, Side, Stat, asked, calls
from ovenbird.aws.shared_reads import KEPT_S
from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound
from ovenbird.domain.judging import (
    CloudWatchSource,
    MetricSource,
    MetricSpec,
    Pair,
    PrometheusSource,
)
from ovenbird.domain.measuring import Measured, Series, Sides, pair
from ovenbird.domain.names import ServerGroupName, target_group_name

_NOTHING: Series = {}
_FILLED = re.compile(r"FILL\(\s*(\w+)")
MISSPELT = 0.85  # how like a metric's name another one is before it counts as meant


class Metrics:
    """The :class:`ovenbird.domain.metric_ports.Metrics` that asks CloudWatch.

    Answers that the load balancer gave by itself (``HTTPCode_ELB_5XX_Count``) belong to
    no target group and are not counted.

    Permissions: cloudwatch:GetMetricData, cloudwatch:ListMetrics, cloudwatch:DescribeAlarms,
    elasticloadbalancing:DescribeTargetGroups.
    """

    def __init__(self, account: Account, *, listener_arn: str, period_s: float) -> None:
        self._cloudwatch = account.cloudwatch
        self._reads = account.reads
        self._listener = listener_arn
        self._period = max(1, round(period_s))
        self._alarms = Alarms(account, listener_arn=listener_arn, period_s=period_s)

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]:
        """Return what both sides did, by whole periods, for each metric in their order.

        All metrics of both sides are read in one call for each 500 series.

        Raises:
            NotFound: A server group has no target group.
            InvalidRequest: CloudWatch does not understand a metric.
            CloudError: AWS refused a call, or may not show a metric.
        """
        periods = sides.periods(self._period)
        both = self._both(specs, (sides.canary, sides.baseline))
        questions = {
            (spec.name, side.server_group): asked(_source(spec), side, sides.slow_s)
            for spec in specs
            for side in both
        }
        wanted = (one for pair_ in questions.values() for one in pair_ if one is not None)
        found = self._read(wanted, periods) if periods else {}
        measured = {
            key: Measured(
                found=found.get(one, _NOTHING),
                total=found.get(total, _NOTHING) if total else _NOTHING,
            )
            for key, (one, total) in questions.items()
        }
        canary, baseline = (side.server_group for side in both)
        return tuple(
            pair(spec, (measured[spec.name, canary], measured[spec.name, baseline]), periods)
            for spec in specs
        )

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None
    ) -> tuple[str, ...]:
        """Return a sentence for each metric that CloudWatch does not have.

        What the load balancer counts is always there, once there are requests. Bad events of
        a share, and what an expression fills, may never have happened: of these only what
        looks misspelt is told.

        Args:
            specs: Those of CloudWatch are looked at.
            group: A server group that serves, whose metrics must be there; None to look for
                the metrics of any.

        Raises:
            CloudError: AWS refused a call.
        """
        plain = [spec for spec in specs if isinstance(spec.source, CloudWatchSource)]
        (side,) = self._both(plain, (group,)) if group else (None,)
        return tuple(sentence for spec in plain for sentence in self._missing_of(spec, side))

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]:
        """Return which of these alarms fire, and why."""
        return self._alarms.firing(alarms)

    def _read(self, wanted: Iterable[Asked], periods: range) -> dict[Asked, Series]:
        found: dict[Asked, Series] = {}
        for call in calls(wanted, self._period):
            series = self._answer(call, periods)
            found |= {one: series.get(name, {}) for one, name in call.ids.items()}
        return found

    def _answer(self, call: Call, periods: range) -> dict[str, dict[int, float]]:
        series: dict[str, dict[int, float]] = {}
        with cloud_errors("reading metrics"):
            pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=call.queries,
                StartTime=datetime.fromtimestamp(periods.start, tz=UTC),
                EndTime=datetime.fromtimestamp(periods.stop, tz=UTC),
            )
            for page in pages:
                for one in page["MetricDataResults"]:
                    _refuse_hidden(one)
                    at = (int(time.timestamp()) for time in one.get("Timestamps", ()))
                    numbers = zip(at, one.get("Values", ()), strict=True)
                    series.setdefault(one["Id"], {}).update(numbers)
        return series

    def _both(
        self, specs: Sequence[MetricSpec], names: Sequence[ServerGroupName]
    ) -> tuple[Side, ...]:
        """Return each group's names in dimensions; target groups only if some metric asks."""
        of_balancer = [spec.name for spec in specs if _is_of_balancer(spec.source)]
        if not of_balancer:
            return tuple(Side(server_group=str(name)) for name in names)
        if not self._listener:
            raise InvalidRequest(
                f"Metric `{of_balancer[0]}` is of a load balancer, and the environment has none",
                hint="Give `judge.metrics` that the instances or Prometheus have",
            )
        return tuple(self._side(name, arn) for name, arn in self._target_groups(names).items())

    def _side(self, name: ServerGroupName, arn: str) -> Side:
        where = dimensions(target_group=arn, listener=self._listener)
        target_group, balancer = (one["Value"] for one in where)
        return Side(server_group=str(name), target_group=target_group, load_balancer=balancer)

    def _target_groups(self, names: Sequence[ServerGroupName]) -> dict[ServerGroupName, str]:
        wanted = {target_group_name(name): name for name in names}
        arns = self._reads.target_groups.find_all(tuple(wanted), max_age_s=KEPT_S)
        found = {wanted[name]: arn for name, arn in arns.items()}
        for name in names:
            if name not in found:
                raise NotFound(f"`{name}` has no target group", hint="Was it decommissioned?")
        return {name: found[name] for name in names}

    def _missing_of(self, spec: MetricSpec, side: Side | None) -> Iterator[str]:
        one, total = asked(_source(spec), side or Side(server_group=""), 0.0)
        needed, others = _parts(one, total)
        for stat in (*needed, *others):
            if self._exists(stat, exactly=side is not None):
                continue
            known = {metric for metric, _ in self._listed(Namespace=stat.namespace)}
            if stat in needed or _near(stat.metric, known, cutoff=MISSPELT):
                yield _absence(spec.name, stat, known, of_side=side is not None)

    def _exists(self, stat: Stat, *, exactly: bool) -> bool:
        found = self._listed(Namespace=stat.namespace, MetricName=stat.metric)
        return any(not exactly or where == set(stat.dimensions) for _, where in found)

    def _listed(self, **asked_for: str) -> Iterator[tuple[str, set[tuple[str, str]]]]:
        pages: Any = self._cloudwatch.get_paginator("list_metrics")
        with cloud_errors("looking for metrics"):
            for page in pages.paginate(**asked_for):
                for one in page["Metrics"]:
                    where = {(d["Name"], d["Value"]) for d in one.get("Dimensions", ())}
                    yield one["MetricName"], where


def _parts(one: Asked, total: Stat | None) -> tuple[list[Stat], list[Stat]]:
    """Return which statistics must be there, and which only come when something happens.

    The latter are a share's bad events, and what an expression fills where it is missing.
    """
    if total is not None:
        return [total], [stat for _, stat in one.inputs] if isinstance(one, Math) else [one]
    if isinstance(one, Stat):
        return [one], []
    filled = set(_FILLED.findall(one.expression))
    needed = [stat for name, stat in one.inputs if name not in filled]
    return needed, [stat for name, stat in one.inputs if name in filled]


def _absence(name: str, stat: Stat, known: Collection[str], *, of_side: bool) -> str:
    where = ", ".join(f"{key}={value}" for key, value in stat.dimensions)
    of = f" with {where or 'no dimensions'}" if of_side else ""
    text = f"Metric `{name}`: CloudWatch has no `{stat.metric}` in `{stat.namespace}`{of}"
    if stat.metric in known:
        return f"{text}; it has other dimensions: look at `dimensions`"
    near = _near(stat.metric, known, cutoff=0.6)
    return f"{text}; did you mean `{near}`?" if near else text


def _near(metric: str, known: Collection[str], *, cutoff: float) -> str:
    found = difflib.get_close_matches(metric, set(known) - {metric}, n=1, cutoff=cutoff)
    return found[0] if found else ""


def _source(spec: MetricSpec) -> Any:
    if isinstance(spec.source, PrometheusSource):
        raise TypeError(f"`{spec.name}` is not in CloudWatch")
    return spec.source


def _is_of_balancer(source: MetricSource) -> bool:
    if not isinstance(source, CloudWatchSource):
        return True
    texts = (source.expression, source.metric, *source.dimensions.values())
    return any("{target_group}" in text or "{load_balancer}" in text for text in texts)


def _refuse_hidden(series: Mapping[str, Any]) -> None:
    """Raise if CloudWatch could not, or may not, answer a query.

    Raises:
        CloudError: So it is. Source: CloudWatch API reference, MetricDataResult.
    """
    if series.get("StatusCode") in {"Forbidden", "InternalError"}:
        said = "; ".join(str(one.get("Value", "")) for one in series.get("Messages", ()))
        raise CloudError(
            f"CloudWatch does not show `{series.get('Label', series['Id'])}`:"
            f" {series['StatusCode']}{f', {said}' if said else ''}",
            hint="The environment's role needs cloudwatch:GetMetricData for it",
        )
