"""What the load balancer counted for server groups, in one call for all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ovenbird.aws.alarms import NAMESPACE, Alarms, dimensions
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.errors import NotFound
from ovenbird.domain.names import ServerGroupName, target_group_name
from ovenbird.domain.verdicts import Sample


class Metrics:
    """The :class:`ovenbird.domain.ports.Metrics` that asks CloudWatch.

    Answers that the load balancer gave by itself (``HTTPCode_ELB_5XX_Count``) belong to
    no target group and are not counted.

    Permissions: cloudwatch:GetMetricData, cloudwatch:DescribeAlarms,
    elasticloadbalancing:DescribeTargetGroups.
    """

    def __init__(self, account: Account, *, listener_arn: str, period_s: float) -> None:
        self._cloudwatch = account.cloudwatch
        self._elbv2 = account.elbv2
        self._listener = listener_arn
        self._period = max(1, round(period_s))
        self._alarms = Alarms(account, listener_arn=listener_arn, period_s=period_s)

    def samples(
        self, names: Sequence[ServerGroupName], *, since: datetime, until: datetime, slow_s: float
    ) -> tuple[Sample, ...]:
        """Return one sample for each name, in their order, over the same whole periods.

        Only periods that lie inside the stretch are counted: the one in which the weights
        changed is neither before nor after. The sample says which stretch that is.

        Args:
            names: Server groups behind the same load balancer.
            since: Begin of the stretch.
            until: Its end, not included.
            slow_s: Seconds from which an answer is slow.

        Raises:
            NotFound: A server group has no target group.
        """
        start = math.ceil(since.timestamp() / self._period) * self._period
        end = math.floor(until.timestamp() / self._period) * self._period
        totals = self._totals(names, start, end, slow_s) if end > start else {}
        return tuple(
            Sample(
                name=name,
                since=datetime.fromtimestamp(start, tz=UTC),
                until=datetime.fromtimestamp(max(start, end), tz=UTC),
                requests=totals.get(f"requests{place}", 0.0),
                errors=totals.get(f"errors{place}", 0.0),  # a missing series means 0
                slow=totals.get(f"slow{place}", 0.0),
            )
            for place, name in enumerate(names)
        )

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]:
        """Return which of these alarms fire, and why."""
        return self._alarms.firing(alarms)

    def _totals(
        self, names: Sequence[ServerGroupName], start: float, end: float, slow_s: float
    ) -> dict[str, float]:
        # Source: CloudWatch user guide, "Statistics definitions": TC(x:) counts values above x.
        wanted = (
            ("requests", "RequestCount", "Sum"),
            ("errors", "HTTPCode_Target_5XX_Count", "Sum"),
            ("slow", "TargetResponseTime", f"TC({slow_s:g}:)"),
        )
        groups = self._target_groups(names)
        queries = [
            self._query(f"{key}{place}", metric, stat, groups[name])
            for place, name in enumerate(names)
            for key, metric, stat in wanted
        ]
        totals: dict[str, float] = {}
        with cloud_errors("reading the load balancer's metrics"):
            pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries,
                StartTime=datetime.fromtimestamp(start, tz=UTC),
                EndTime=datetime.fromtimestamp(end, tz=UTC),
            )
            for page in pages:
                for series in page["MetricDataResults"]:
                    key = series["Id"]
                    totals[key] = totals.get(key, 0.0) + math.fsum(series.get("Values", ()))
        return totals

    def _query(self, key: str, metric: str, stat: str, target_group: str) -> Any:
        where = dimensions(target_group=target_group, listener=self._listener)
        return {
            "Id": key,
            "MetricStat": {
                "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": where},
                "Period": self._period,
                "Stat": stat,
            },
        }

    def _target_groups(self, names: Sequence[ServerGroupName]) -> dict[ServerGroupName, str]:
        wanted = {target_group_name(name): name for name in names}
        with cloud_errors("looking for the target groups to be judged"):
            pages = self._elbv2.get_paginator("describe_target_groups").paginate(Names=list(wanted))
            found = {
                wanted[group["TargetGroupName"]]: group["TargetGroupArn"]
                for page in pages
                for group in page["TargetGroups"]
            }
        for name in names:
            if name not in found:
                raise NotFound(f"`{name}` has no target group", hint="Was it decommissioned?")
        return found
