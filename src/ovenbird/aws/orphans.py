"""Parts of server groups that may be left over: target groups, launch templates, alarms.

They are found by tags of ours, and each says what uses it, so that ``domain/janitor.py`` can
decide. Auto Scaling groups are not among them: a cluster's plan takes care of these.

Source: ELBv2 API reference, DescribeTargetGroups (``LoadBalancerArns``: load balancers whose
rules route to it), DescribeTags; EC2 API reference, DescribeLaunchTemplates; CloudWatch API
reference, DescribeAlarms, ListTagsForResource.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.group_details import template_of
from ovenbird.aws.tags import from_aws
from ovenbird.domain.clusters import ENVIRONMENT_TAG, SERVER_GROUP_TAG
from ovenbird.domain.errors import NotFound
from ovenbird.domain.janitor import Kind, Leftover

if TYPE_CHECKING:
    from ovenbird.aws.clients import Account

_TAGS_AT_ONCE = 20  # Source: DescribeTags, ResourceArns
_ALARM = re.compile(r"(?P<group>.+-v\d{3,})-.+")


class Orphans:
    """Parts of server groups in one environment.

    Permissions: elasticloadbalancing:DescribeTargetGroups, DescribeTags, DeleteTargetGroup;
    ec2:DescribeLaunchTemplates, ec2:DeleteLaunchTemplate; autoscaling:DescribeAutoScalingGroups;
    cloudwatch:DescribeAlarms, ListTagsForResource, DeleteAlarms.

    Args:
        account: Where to look.
        environment: Only what is tagged as part of it is found.
    """

    def __init__(self, account: Account, *, environment: str) -> None:
        self._account, self._environment = account, environment

    def list_left(self) -> tuple[Leftover, ...]:
        """Return all parts of server groups, each with what uses it.

        Raises:
            CloudError: AWS refused a call: then nobody knows what is used.
        """
        with cloud_errors(f"looking for what is left in `{self._environment}`"):
            groups = self._groups()
            return (
                *self._alarms(groups),
                *self._templates(groups),
                *self._target_groups(groups),
            )

    def look_again(self, leftover: Leftover) -> Leftover | None:
        """Return the same thing as it is now, or None when it is gone."""
        with cloud_errors(f"looking at {leftover.kind} `{leftover.name}`"):
            groups = self._groups()
            match leftover.kind:
                case Kind.ALARM:
                    found = self._alarms(groups)
                case Kind.LAUNCH_TEMPLATE:
                    found = self._templates(groups)
                case _:
                    found = self._target_groups(groups)
            return next((one for one in found if one.ident == leftover.ident), None)

    def remove(self, leftover: Leftover) -> None:
        """Delete it; what is gone is no error, what is used again AWS refuses to delete.

        Raises:
            Conflict: A rule sends to it by now.
        """
        ident, account = leftover.ident, self._account
        try:
            with cloud_errors(f"removing {leftover.kind} `{leftover.name}`"):
                match leftover.kind:
                    case Kind.ALARM:
                        account.cloudwatch.delete_alarms(AlarmNames=[leftover.name])
                    case Kind.LAUNCH_TEMPLATE:
                        account.ec2.delete_launch_template(LaunchTemplateId=ident)
                    case _:
                        account.elbv2.delete_target_group(TargetGroupArn=ident)
        except NotFound:
            return

    def _groups(self) -> list[Any]:
        pages = self._account.autoscaling.get_paginator("describe_auto_scaling_groups")
        return [group for page in pages.paginate() for group in page["AutoScalingGroups"]]

    def _target_groups(self, groups: Iterable[Any]) -> Iterator[Leftover]:
        attached = {
            arn: group["AutoScalingGroupName"]
            for group in groups
            for arn in group.get("TargetGroupARNs", [])
        }
        pages = self._account.elbv2.get_paginator("describe_target_groups").paginate()
        found = {one["TargetGroupArn"]: one for page in pages for one in page["TargetGroups"]}
        for arn, tags in self._balancer_tags(list(found)).items():
            if tags.get(ENVIRONMENT_TAG) != self._environment or SERVER_GROUP_TAG not in tags:
                continue
            used = "a load balancer sends requests to it" if found[arn]["LoadBalancerArns"] else ""
            if arn in attached:
                used = f"Auto Scaling group `{attached[arn]}` registers its instances in it"
            yield Leftover(
                kind=Kind.TARGET_GROUP,
                ident=arn,
                name=found[arn]["TargetGroupName"],
                environment=self._environment,
                tags=tags,
                used_by=used,
            )

    def _balancer_tags(self, arns: list[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for start in range(0, len(arns), _TAGS_AT_ONCE):
            answer = self._account.elbv2.describe_tags(
                ResourceArns=arns[start : start + _TAGS_AT_ONCE]
            )
            for item in answer["TagDescriptions"]:
                tags: Any = item.get("Tags", [])
                found[item["ResourceArn"]] = from_aws(tags)
        return found

    def _templates(self, groups: Iterable[Any]) -> Iterator[Leftover]:
        users: dict[str, str] = {}
        for group in groups:
            used = template_of(group)
            for key in ("LaunchTemplateId", "LaunchTemplateName"):
                users[str(used.get(key, ""))] = group["AutoScalingGroupName"]
        pages = self._account.ec2.get_paginator("describe_launch_templates").paginate(
            Filters=[{"Name": f"tag:{ENVIRONMENT_TAG}", "Values": [self._environment]}]
        )
        for one in (one for page in pages for one in page["LaunchTemplates"]):
            tags: Any = one.get("Tags", [])
            ident, name = one["LaunchTemplateId"], one["LaunchTemplateName"]
            user = users.get(ident) or users.get(name)
            yield Leftover(
                kind=Kind.LAUNCH_TEMPLATE,
                ident=ident,
                name=name,
                environment=self._environment,
                tags=from_aws(tags),
                made_at=one["CreateTime"],
                used_by=f"Auto Scaling group `{user}` launches from it" if user else "",
            )

    def _alarms(self, groups: Iterable[Any]) -> Iterator[Leftover]:
        """Yield alarms named after a group that is not there; the others are in use."""
        names = {group["AutoScalingGroupName"] for group in groups}
        pages = self._account.cloudwatch.get_paginator("describe_alarms").paginate()
        for one in (one for page in pages for one in page["MetricAlarms"]):
            match = _ALARM.fullmatch(one["AlarmName"])
            if match is None or any(one["AlarmName"].startswith(f"{name}-") for name in names):
                continue
            tags = self._alarm_tags(one)
            if tags.get(ENVIRONMENT_TAG) == self._environment:
                yield Leftover(
                    kind=Kind.ALARM,
                    ident=one["AlarmArn"],
                    name=one["AlarmName"],
                    environment=self._environment,
                    tags=tags,
                    made_at=one.get("AlarmConfigurationUpdatedTimestamp"),
                )

    def _alarm_tags(self, alarm: Mapping[str, Any]) -> dict[str, str]:
        answer = self._account.cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])
        tags: Any = answer["Tags"]
        return from_aws(tags)
