"""What rollouts read of one account again and again, shared by all that run at once.

| asked for | call | in one call |
| --- | --- | --- |
| the groups of a cluster | DescribeAutoScalingGroups by tag | 50 clusters |
| a group | DescribeAutoScalingGroups by name | 100 names |
| target groups by name | DescribeTargetGroups | one, or all there are when many ask |
| a listener's rules | DescribeRules, DescribeTags of new ones | all of the listener |
| a target group's health | DescribeTargetHealth | one; AWS has no more in a call |
| alarms that fire | DescribeAlarms | 100 names, or all that fire when more ask |

Source: Auto Scaling API reference, DescribeAutoScalingGroups (MaxRecords); ELBv2 API
reference, DescribeTargetGroups, DescribeRules, DescribeTags, DescribeTargetHealth; CloudWatch
API reference, DescribeAlarms.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.shared_reads import SharedRead
from ovenbird.aws.tags import from_aws
from ovenbird.domain.clusters import CLUSTER_TAG
from ovenbird.domain.errors import NotFound

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef, PaginatorConfigTypeDef
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.literals import AlarmTypeType
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import (
        RuleTypeDef,
        TargetGroupTypeDef,
        TargetHealthDescriptionTypeDef,
    )

GROUPS_AT_ONCE = 100  # Source: DescribeAutoScalingGroups, MaxRecords
CLUSTERS_AT_ONCE = 50  # so that their groups fit into few pages
ALARMS_AT_ONCE = 100  # Source: DescribeAlarms, AlarmNames
ALARM_TYPES: Sequence[AlarmTypeType] = ("MetricAlarm", "CompositeAlarm")  # guards may be both
LISTED_FROM = 5  # names of target groups; so many single calls cost more than all pages
TAGS_AT_ONCE = 20  # Source: DescribeTags, ResourceArns
PAGES: PaginatorConfigTypeDef = {"PageSize": 100}
TAGS_KEPT_S = 30.0  # of a rule: we set them when we make it, and never again
JUST_NOW_S = 2.0  # what was looked at just before one's own change is not read again for it
POLLED_S = 1.0  # an answer that who looks each second takes from who looked just before
HEALTH_CALLS = 8  # under way at once


class Clients(Protocol):
    """The clients of one account that are read with."""

    @property
    def autoscaling(self) -> AutoScalingClient:
        """EC2 Auto Scaling."""

    @property
    def elbv2(self) -> ElasticLoadBalancingv2Client:
        """Elastic Load Balancing."""

    @property
    def cloudwatch(self) -> CloudWatchClient:
        """CloudWatch."""


class Reads:
    """Shared reads of one account and Region; safe between threads."""

    def __init__(self, account: Clients) -> None:
        self._account = account
        self._making_rule: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def making_rule(self, listener: str) -> threading.Lock:
        """Return what is held from the look for a free priority until it is taken."""
        return self._making_rule[listener]

    @cached_property
    def clusters(self) -> SharedRead[str, list[AutoScalingGroupTypeDef]]:
        """The groups that carry a cluster's tag, by the cluster's name; it may have none."""
        return SharedRead(self._groups_of_clusters, at_once=CLUSTERS_AT_ONCE)

    @cached_property
    def groups(self) -> SharedRead[str, AutoScalingGroupTypeDef]:
        """Auto Scaling groups by name."""
        return SharedRead(self._groups_by_name, at_once=GROUPS_AT_ONCE, repeats=True)

    @cached_property
    def target_groups(self) -> SharedRead[str, str]:
        """ARNs of target groups by name."""
        return SharedRead(self._target_groups, at_once=1000)

    @cached_property
    def rules(self) -> SharedRead[str, list[RuleTypeDef]]:
        """A listener's rules by its ARN, without the default."""
        return SharedRead(self._rules_of_listeners, at_once=1, calls=2)

    @cached_property
    def tags(self) -> SharedRead[str, dict[str, str]]:
        """Tags of rules and target groups by ARN, as far as they are there."""
        return SharedRead(self._tags, at_once=TAGS_AT_ONCE)

    @cached_property
    def health(self) -> SharedRead[str, list[TargetHealthDescriptionTypeDef]]:
        """The health of a target group's targets by its ARN; none when it is gone."""
        return SharedRead(self._health, at_once=1, calls=HEALTH_CALLS, gather_s=0, crowd_s=0)

    @cached_property
    def firing(self) -> SharedRead[str, str | None]:
        """Why an alarm fires, by its name; None when it does not."""
        return SharedRead(self._firing, at_once=5000, repeats=True)

    def _groups_of_clusters(self, names: Sequence[str]) -> dict[str, list[AutoScalingGroupTypeDef]]:
        found: dict[str, list[AutoScalingGroupTypeDef]] = {name: [] for name in names}
        begun = self.groups.now()
        pages = self._account.autoscaling.get_paginator("describe_auto_scaling_groups")
        with cloud_errors("describing server groups"):
            for page in pages.paginate(
                Filters=[{"Name": f"tag:{CLUSTER_TAG}", "Values": list(names)}],
                PaginationConfig=PAGES,
            ):
                for raw in page["AutoScalingGroups"]:
                    cluster = from_aws(raw.get("Tags", [])).get(CLUSTER_TAG, "")  # type: ignore[arg-type]
                    found.setdefault(cluster, []).append(raw)
        every = (raw for raws in found.values() for raw in raws)
        self.groups.know({raw["AutoScalingGroupName"]: raw for raw in every}, begun=begun)
        return found

    def _groups_by_name(self, names: Sequence[str]) -> dict[str, AutoScalingGroupTypeDef]:
        pages = self._account.autoscaling.get_paginator("describe_auto_scaling_groups")
        with cloud_errors(f"describing {_words(names)}"):
            found = pages.paginate(AutoScalingGroupNames=list(names), PaginationConfig=PAGES)
            return {
                raw["AutoScalingGroupName"]: raw
                for page in found
                for raw in page["AutoScalingGroups"]
            }

    def _target_groups(self, names: Sequence[str]) -> dict[str, str]:
        if len(names) >= LISTED_FROM:
            pages = self._account.elbv2.get_paginator("describe_target_groups")
            with cloud_errors("listing target groups"):
                raws = [raw for page in pages.paginate() for raw in page["TargetGroups"]]
        else:
            raws = [raw for name in names for raw in self._target_group(name)]
        return {raw["TargetGroupName"]: raw["TargetGroupArn"] for raw in raws}

    def _target_group(self, name: str) -> Sequence[TargetGroupTypeDef]:
        try:
            with cloud_errors(f"looking for target group `{name}`"):
                # By name this returns one or the error, so there is no second page.
                answer = self._account.elbv2.describe_target_groups(Names=[name])
        except NotFound:
            return ()
        return answer["TargetGroups"]

    def _rules_of_listeners(self, listeners: Sequence[str]) -> dict[str, list[RuleTypeDef]]:
        pages = self._account.elbv2.get_paginator("describe_rules")
        with cloud_errors("reading the listener's rules"):
            return {
                listener: [
                    rule
                    for page in pages.paginate(ListenerArn=listener)
                    for rule in page["Rules"]
                    if not rule.get("IsDefault")
                ]
                for listener in listeners
            }

    def _tags(self, arns: Sequence[str]) -> dict[str, dict[str, str]]:
        try:
            with cloud_errors("reading the load balancer's tags"):
                answer = self._account.elbv2.describe_tags(ResourceArns=list(arns))
        except NotFound:  # one of them is gone, and AWS answers for none
            if len(arns) == 1:
                return {}
            return {arn: tags for one in arns for arn, tags in self._tags((one,)).items()}
        return {
            item["ResourceArn"]: from_aws(item.get("Tags", []))  # type: ignore[arg-type]
            for item in answer["TagDescriptions"]
        }

    def _health(self, arns: Sequence[str]) -> dict[str, list[TargetHealthDescriptionTypeDef]]:
        return {arn: self._health_of(arn) for arn in arns}

    def _health_of(self, arn: str) -> list[TargetHealthDescriptionTypeDef]:
        try:
            with cloud_errors(f"asking for the health of `{arn}`"):
                answer = self._account.elbv2.describe_target_health(TargetGroupArn=arn)
        except NotFound:
            return []
        return answer["TargetHealthDescriptions"]

    def _firing(self, names: Sequence[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = dict.fromkeys(names)
        pages = self._account.cloudwatch.get_paginator("describe_alarms")
        # More names than fit into one call: all that fire are fewer than all that are watched.
        words = {"AlarmNames": list(names)} if len(names) <= ALARMS_AT_ONCE else {}
        with cloud_errors("looking at alarms"):
            for page in pages.paginate(
                StateValue="ALARM",
                AlarmTypes=ALARM_TYPES,
                PaginationConfig=PAGES,
                **words,  # type: ignore[arg-type]
            ):
                for alarm in (*page["MetricAlarms"], *page["CompositeAlarms"]):
                    if alarm["AlarmName"] in found:
                        found[alarm["AlarmName"]] = alarm.get("StateReason", "")
        return found


def _words(names: Sequence[str]) -> str:
    return f"`{names[0]}`" if len(names) == 1 else f"{len(names)} groups"
