"""How many calls AWS takes: one token bucket for each API, as far as AWS publishes it.

A bucket holds ``burst`` tokens; each call takes one, and ``per_s`` come back each second. All
buckets are those of one account in one Region. A call may take from several: ELBv2 has one
for each category and one for all of its API.

Source:
    EC2: EC2 developer guide, "Request throttling for the Amazon EC2 API", one bucket for each
    action; reads that are neither filtered nor paginated have a smaller one, which no adapter
    here uses.
    ELBv2: Elastic Load Balancing user guide, "Request throttling for the Elastic Load Balancing
    API", one bucket for each category, and one of 40 / 10 for the whole account.
    CloudWatch: AWS general reference, "Amazon CloudWatch endpoints and quotas" ("Rate of ...
    requests"); a bucket is taken to hold one second's worth.
    Auto Scaling: API reference, "API request rate": one bucket for all actions, whose size is
    not published. The numbers here are an assumption of ours, those of ELBv2's reads twice
    over: when AWS has fewer, its refusals slow us down.
    Read on 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

SHARE = 0.9  # of a quota is ours: calls bunch together on their way, and others call, too
_READS = ("Describe", "Get", "List", "Search")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One bucket.

    Args:
        name: As ``elbv2.mutating``; letters, digits, dots and dashes.
        burst: Tokens that it holds.
        per_s: Tokens that come back each second.
    """

    name: str
    burst: float
    per_s: float

    def times(self, factor: float) -> Quota:
        """Return the bucket that holds so many times as much."""
        return Quota(name=self.name, burst=max(1.0, self.burst * factor), per_s=self.per_s * factor)


# EC2: those of our calls that are "uncategorized", with a bucket of their own.
_EC2: Mapping[str, tuple[float, float]] = {
    "CopyImage": (100, 1),
    "CreateLaunchTemplateVersion": (100, 5),
    "CreateSnapshot": (100, 5),
    "CreateTags": (100, 10),
    "CreateVolume": (100, 5),
    "DeleteSnapshot": (100, 5),
    "DeleteTags": (100, 10),
    "DeleteVolume": (100, 5),
    "DeregisterImage": (100, 5),
    "ModifyImageAttribute": (100, 5),
    "ModifySnapshotAttribute": (100, 5),
}
_ELBV2: Mapping[str, tuple[float, float]] = {
    "reads": (40, 10),
    "mutating": (20, 3),
    "registration": (20, 4),
    "resource-intensive": (10, 0.2),
}
_ELBV2_KINDS = {
    "RegisterTargets": "registration",
    "DeregisterTargets": "registration",
    "CreateLoadBalancer": "resource-intensive",
    "SetSubnets": "resource-intensive",
}
_ELBV2_ALL = Quota(name="elbv2.all", burst=40, per_s=10)
_CLOUDWATCH: Mapping[str, float] = {
    "DeleteAlarms": 3,
    "DescribeAlarmHistory": 20,
    "DescribeAlarms": 9,
    "GetMetricData": 500,
    "GetMetricStatistics": 400,
    "ListMetrics": 25,
    "PutMetricAlarm": 3,
    "PutCompositeAlarm": 3,
    "PutMetricData": 500,
    "SetAlarmState": 3,
    "TagResource": 20,
}
AUTO_SCALING = Quota(name="autoscaling", burst=80, per_s=20)


@cache
def quotas_of(service: str, operation: str) -> tuple[Quota, ...]:
    """Return the buckets from which a call takes; none where AWS publishes none.

    Args:
        service: As boto calls it: ``ec2``, ``elbv2``, ``autoscaling``, ``cloudwatch``.
        operation: As ``DescribeRules``.
    """
    match service:
        case "ec2":
            usual = (100.0, 20.0) if operation.startswith(_READS) else (50.0, 5.0)
            burst, per_s = _EC2.get(operation, usual)
            return (Quota(name=f"ec2.{operation}", burst=burst, per_s=per_s),)
        case "elbv2":
            usual_kind = "reads" if operation.startswith(_READS) else "mutating"
            kind = _ELBV2_KINDS.get(operation, usual_kind)
            burst, per_s = _ELBV2[kind]
            return (Quota(name=f"elbv2.{kind}", burst=burst, per_s=per_s), _ELBV2_ALL)
        case "cloudwatch" if operation in _CLOUDWATCH:
            rate = _CLOUDWATCH[operation]
            return (Quota(name=f"cloudwatch.{operation}", burst=rate, per_s=rate),)
        case "autoscaling":
            return (AUTO_SCALING,)
        case _:
            return ()
