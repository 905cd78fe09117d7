"""Alarms that are made with a server group and removed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.launch_requests import Surroundings
from ovenbird.aws.reads import ALARM_TYPES, POLLED_S
from ovenbird.aws.tags import to_aws
from ovenbird.domain.apps import AlarmSpec
from ovenbird.domain.names import ServerGroupName, alarm_name

NAMESPACE = "AWS/ApplicationELB"
ERROR_RATE = "error_rate_percent"
_PLAIN = {"SampleCount", "Average", "Sum", "Minimum", "Maximum"}
_OF_GROUPS = {"AWS/AutoScaling", "AWS/EC2", "CWAgent"}  # whose metrics are kept by group
_OPERATORS = {
    ">": "GreaterThanThreshold",
    ">=": "GreaterThanOrEqualToThreshold",
    "<": "LessThanThreshold",
    "<=": "LessThanOrEqualToThreshold",
}
_MISSING = {
    "good": "notBreaching",
    "bad": "breaching",
    "ignore": "ignore",
    "missing": "missing",
}
_AT_ONCE = 100  # Source: CloudWatch API reference, DeleteAlarms and DescribeAlarms


def dimensions(*, target_group: str, listener: str) -> list[Any]:
    """Return the dimensions of a target group's metrics behind one load balancer.

    Source: Elastic Load Balancing, "CloudWatch metrics for your Application Load Balancer".

    Args:
        target_group: ARN.
        listener: ARN of a listener of the load balancer.
    """
    balancer = "/".join(listener.split(":listener/")[1].split("/")[:3])
    return [
        {"Name": "TargetGroup", "Value": target_group.rsplit(":", 1)[1]},
        {"Name": "LoadBalancer", "Value": balancer},
    ]


def alarm_request(
    spec: AlarmSpec,
    where: Surroundings,
    *,
    period_s: int,
    topics: Sequence[str] = (),
    policies: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what PutMetricAlarm is asked, but for the tags.

    Args:
        spec: The alarm.
        where: What its placeholders stand for.
        period_s: When it has none of its own.
        topics: ARNs, told when it fires and when it is over, when it names none.
        policies: ARNs, set off when it fires.
    """
    name = where.name
    told = list(topics if spec.notify is None else spec.notify)
    request = {
        "AlarmName": alarm_name(name, spec.name),
        "AlarmDescription": f"{spec.metric} of {name} {spec.comparison} {spec.threshold:g}",
        "ComparisonOperator": _OPERATORS[spec.comparison],
        "Threshold": spec.threshold,
        "EvaluationPeriods": spec.of_periods or spec.periods,
        "TreatMissingData": _MISSING[spec.missing],
        "AlarmActions": [*policies, *told],
        "OKActions": told,
        **_watched(spec, where, spec.period_s or period_s),
    }
    if spec.of_periods:
        request["DatapointsToAlarm"] = spec.periods
    return request


class Alarms:
    """CloudWatch alarms of one account.

    Permissions: cloudwatch:PutMetricAlarm, cloudwatch:DescribeAlarms,
    cloudwatch:DeleteAlarms, cloudwatch:TagResource.

    Args:
        account: Whose.
        listener_arn: Of the load balancer whose metrics are watched.
        period_s: Period of those metrics.
        topics: ARNs that alarms tell which name no others.
    """

    def __init__(
        self, account: Account, *, listener_arn: str, period_s: float, topics: Sequence[str] = ()
    ) -> None:
        self._cloudwatch, self._reads = account.cloudwatch, account.reads
        self._listener = listener_arn
        self._period = max(1, round(period_s))
        self._topics = tuple(topics)

    def ensure(
        self,
        where: Surroundings,
        specs: Sequence[AlarmSpec],
        *,
        policies: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Make a server group's alarms with its tags; one of the same name is written again.

        Args:
            where: The server group and what it is surrounded by.
            specs: The alarms.
            policies: Name of an alarm, as in the manifest → ARNs of what it sets off.
        """
        for spec in specs:
            request = alarm_request(
                spec,
                where,
                period_s=self._period,
                topics=self._topics,
                policies=(policies or {}).get(spec.name, ()),
            )
            self.put(request, tags=where.tags)

    def put(self, request: Mapping[str, Any], *, tags: Mapping[str, str]) -> None:
        """Make one alarm, or write it again."""
        with cloud_errors(f"creating alarm `{request['AlarmName']}`"):
            self._cloudwatch.put_metric_alarm(**request, Tags=to_aws(tags))

    def describe(self, names: Sequence[str]) -> list[Any]:
        """Return these alarms as CloudWatch describes them; those that are gone are left out."""
        found: list[Any] = []
        pages = self._cloudwatch.get_paginator("describe_alarms")
        for start in range(0, len(names), _AT_ONCE):
            some = list(names[start : start + _AT_ONCE])
            with cloud_errors("looking at alarms"):
                for page in pages.paginate(AlarmNames=some):
                    found += page["MetricAlarms"]
        return found

    def firing(self, alarms: Sequence[str]) -> dict[str, str]:
        """Return which of these alarms fire, and why in CloudWatch's words."""
        found = self._reads.firing.find_all(tuple(alarms), max_age_s=POLLED_S)
        return {name: why for name, why in found.items() if why is not None}

    def missing(self, alarms: Sequence[str]) -> tuple[str, ...]:
        """Return which of these alarms, of any kind, are not there."""
        known: set[str] = set()
        pages = self._cloudwatch.get_paginator("describe_alarms")
        for start in range(0, len(alarms), _AT_ONCE):
            some = list(alarms[start : start + _AT_ONCE])
            with cloud_errors("looking at alarms"):
                for page in pages.paginate(AlarmNames=some, AlarmTypes=ALARM_TYPES):
                    found = [*page["MetricAlarms"], *page["CompositeAlarms"]]
                    known |= {alarm["AlarmName"] for alarm in found}
        return tuple(name for name in alarms if name not in known)

    def delete(self, name: ServerGroupName) -> None:
        """Delete a server group's alarms, as many as there are."""
        pages = self._cloudwatch.get_paginator("describe_alarms")
        with cloud_errors(f"deleting the alarms of `{name}`"):
            names = [
                alarm["AlarmName"]
                for page in pages.paginate(AlarmNamePrefix=alarm_name(name, ""))
                for alarm in page["MetricAlarms"]
            ]
            for start in range(0, len(names), _AT_ONCE):
                self._cloudwatch.delete_alarms(AlarmNames=names[start : start + _AT_ONCE])


def _watched(spec: AlarmSpec, where: Surroundings, period_s: int) -> dict[str, Any]:
    balanced = dimensions(target_group=where.target_group, listener=where.listener)
    if spec.metric == ERROR_RATE and not spec.namespace:
        return _error_rate(balanced, period_s)
    own = balanced if spec.namespace in {"", NAMESPACE} else []
    if spec.namespace in _OF_GROUPS:
        own = [{"Name": "AutoScalingGroupName", "Value": str(where.name)}]
    kind = "Statistic" if spec.statistic in _PLAIN else "ExtendedStatistic"
    return {
        "Namespace": spec.namespace or NAMESPACE,
        "MetricName": spec.metric,
        "Dimensions": where.dimensions(spec.dimensions) or own,
        "Period": period_s,
        kind: spec.statistic,
    }


def _error_rate(where: list[Any], period_s: int) -> dict[str, Any]:
    # A missing 5XX series while there are requests means 0.
    rate = "100 * FILL(errors, 0) / requests"
    return {
        "Metrics": [
            _sum("errors", "HTTPCode_Target_5XX_Count", where, period_s),
            _sum("requests", "RequestCount", where, period_s),
            {"Id": "rate", "Expression": rate, "Label": ERROR_RATE, "ReturnData": True},
        ]
    }


def _sum(query: str, metric: str, where: list[Any], period_s: int) -> dict[str, Any]:
    return {
        "Id": query,
        "ReturnData": False,
        "MetricStat": {
            "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": where},
            "Period": period_s,
            "Stat": "Sum",
        },
    }
