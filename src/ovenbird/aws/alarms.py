"""Alarms on one server group's target group, that stop a rollout when they fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import to_aws
from ovenbird.domain.apps import AlarmSpec
from ovenbird.domain.names import ServerGroupName, alarm_name

NAMESPACE = "AWS/ApplicationELB"
ERROR_RATE = "error_rate_percent"
_PLAIN = {"SampleCount", "Average", "Sum", "Minimum", "Maximum"}
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


class Alarms:
    """CloudWatch alarms of one account.

    Permissions: cloudwatch:PutMetricAlarm, cloudwatch:DescribeAlarms,
    cloudwatch:DeleteAlarms, cloudwatch:TagResource.
    """

    def __init__(self, account: Account, *, listener_arn: str, period_s: float) -> None:
        self._cloudwatch, self._reads = account.cloudwatch, account.reads
        self._listener = listener_arn
        self._period = max(1, round(period_s))

    def ensure(
        self,
        name: ServerGroupName,
        specs: Sequence[AlarmSpec],
        *,
        target_group: str,
        tags: Mapping[str, str],
    ) -> None:
        """Make a server group's alarms; an alarm of the same name is written again."""
        where = dimensions(target_group=target_group, listener=self._listener)
        for spec in specs:
            what = self._error_rate(where) if spec.metric == ERROR_RATE else self._one(spec, where)
            full_name = alarm_name(name, spec.name)
            with cloud_errors(f"creating alarm `{full_name}`"):
                self._cloudwatch.put_metric_alarm(
                    AlarmName=full_name,
                    AlarmDescription=f"{spec.metric} of {name} above {spec.threshold:g}",
                    ComparisonOperator="GreaterThanThreshold",
                    Threshold=spec.threshold,
                    EvaluationPeriods=spec.periods,
                    TreatMissingData="notBreaching",  # no requests are no errors
                    Tags=to_aws(tags),
                    **what,
                )

    def firing(self, alarms: Sequence[str]) -> dict[str, str]:
        """Return which of these alarms fire, and why in CloudWatch's words."""
        found = self._reads.firing.find_all(tuple(alarms))
        return {name: why for name, why in found.items() if why is not None}

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

    def _one(self, spec: AlarmSpec, where: list[Any]) -> dict[str, Any]:
        kind = "Statistic" if spec.statistic in _PLAIN else "ExtendedStatistic"
        return {
            "Namespace": NAMESPACE,
            "MetricName": spec.metric,
            "Dimensions": where,
            "Period": self._period,
            kind: spec.statistic,
        }

    def _error_rate(self, where: list[Any]) -> dict[str, Any]:
        # A missing 5XX series while there are requests means 0.
        rate = "100 * FILL(errors, 0) / requests"
        return {
            "Metrics": [
                self._sum("errors", "HTTPCode_Target_5XX_Count", where),
                self._sum("requests", "RequestCount", where),
                {"Id": "rate", "Expression": rate, "Label": ERROR_RATE, "ReturnData": True},
            ]
        }

    def _sum(self, query: str, metric: str, where: list[Any]) -> dict[str, Any]:
        return {
            "Id": query,
            "ReturnData": False,
            "MetricStat": {
                "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": where},
                "Period": self._period,
                "Stat": "Sum",
            },
        }
