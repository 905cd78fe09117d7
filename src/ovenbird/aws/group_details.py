"""What of server groups is asked only when somebody looks for changes by hand.

Source: Auto Scaling API reference, DescribeAutoScalingGroups, DescribePolicies,
DescribeScheduledActions, ResumeProcesses, UpdateAutoScalingGroup; EC2 API reference,
DescribeLaunchTemplateVersions, DescribeInstances (the tag ``aws:autoscaling:groupName``);
CloudWatch API reference, DescribeAlarms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovenbird.aws.auto_scaling import tags_of
from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.clusters import Details, InstanceId
from ovenbird.domain.errors import NotFound
from ovenbird.domain.names import ServerGroupName, alarm_name
from ovenbird.domain.plans import Mend

if TYPE_CHECKING:
    from ovenbird.aws.clients import Account

GROUP_TAG = "aws:autoscaling:groupName"  # AWS puts it on each instance of a group
LIVING = ["pending", "running", "stopping", "stopped"]
FILTER_VALUES = 200  # Source: EC2 API reference, DescribeInstances, Filters


class GroupDetails:
    """Launch templates, processes, alarms, policies and instances of server groups.

    Permissions: autoscaling:DescribeAutoScalingGroups, DescribePolicies,
    DescribeScheduledActions, ResumeProcesses, UpdateAutoScalingGroup, CreateOrUpdateTags;
    ec2:DescribeLaunchTemplateVersions, ec2:DescribeInstances; cloudwatch:DescribeAlarms.
    """

    def __init__(self, account: Account) -> None:
        self._autoscaling = account.autoscaling
        self._ec2 = account.ec2
        self._cloudwatch = account.cloudwatch

    def read(self, names: Sequence[ServerGroupName]) -> dict[ServerGroupName, Details]:
        """Return the details of those groups that have an Auto Scaling group."""
        if not names:
            return {}
        wanted = [str(name) for name in names]
        with cloud_errors("describing server groups"):
            pages = self._autoscaling.get_paginator("describe_auto_scaling_groups")
            found = pages.paginate(AutoScalingGroupNames=wanted)
            raws = {
                raw["AutoScalingGroupName"]: raw
                for page in found
                for raw in page["AutoScalingGroups"]
            }
        images = self._images(list(raws))
        return {
            name: self._details(name, raws[str(name)], images[str(name)])
            for name in names
            if str(name) in raws
        }

    def addresses(self, instances: Sequence[InstanceId]) -> dict[InstanceId, str]:
        """Return the private addresses of those instances that are there."""
        found: dict[InstanceId, str] = {}
        for start in range(0, len(instances), FILTER_VALUES):
            some = list(instances[start : start + FILTER_VALUES])
            with cloud_errors("looking for the addresses of instances"):
                # By a filter, an instance that is gone is no error.
                pages = self._ec2.get_paginator("describe_instances").paginate(
                    Filters=[{"Name": "instance-id", "Values": some}]
                )
                every = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
            found |= {InstanceId(i["InstanceId"]): i.get("PrivateIpAddress", "") for i in every}
        return found

    def mend(self, wanted: Mend) -> None:
        """Write tags, resume processes, launch from another version; each can be repeated."""
        name = str(wanted.name)
        with cloud_errors(f"mending `{name}`"):
            if wanted.tags:
                self._autoscaling.create_or_update_tags(
                    Tags=[
                        {
                            "ResourceId": name,
                            "ResourceType": "auto-scaling-group",
                            "Key": key,
                            "Value": value,
                            "PropagateAtLaunch": True,
                        }
                        for key, value in sorted(wanted.tags.items())
                    ]
                )
            if wanted.template_version:
                self._launch_from(name, wanted.template_version)
            if wanted.processes:
                self._autoscaling.resume_processes(
                    AutoScalingGroupName=name, ScalingProcesses=list(wanted.processes)
                )

    def _launch_from(self, name: str, version: str) -> None:
        """Let a group launch from a version of its template; its mixture of types stays."""
        template: Any = {"LaunchTemplateName": name, "Version": version}
        found = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        policies = [one.get("MixedInstancesPolicy") for one in found["AutoScalingGroups"]]
        what: Any = {"LaunchTemplate": template}
        for policy in filter(None, policies):
            used = {**policy["LaunchTemplate"], "LaunchTemplateSpecification": template}
            what = {"MixedInstancesPolicy": {**policy, "LaunchTemplate": used}}
        self._autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, **what)

    def _details(
        self, name: ServerGroupName, raw: Any, images: Mapping[InstanceId, str]
    ) -> Details:
        used = template_of(raw)
        versions = self._versions(str(used.get("LaunchTemplateId", "")))
        version = str(used.get("Version", ""))
        suspended = [one["ProcessName"] for one in raw.get("SuspendedProcesses", [])]
        return Details(
            template_version=version,
            first_version=str(min(versions)) if versions else "",
            template_image=versions.get(int(version), "") if version.isdigit() else "",
            suspended=tuple(sorted(suspended)),
            alarms=self._alarms(name),
            scales=self._scales(str(name)),
            images=images,
            tags=tags_of(raw),
        )

    def _versions(self, template_id: str) -> dict[int, str]:
        """Return number → image of each version of a template; none when it is gone."""
        if not template_id:
            return {}
        try:
            with cloud_errors(f"describing the versions of `{template_id}`"):
                pages = self._ec2.get_paginator("describe_launch_template_versions").paginate(
                    LaunchTemplateId=template_id
                )
                return {
                    one["VersionNumber"]: one["LaunchTemplateData"].get("ImageId", "")
                    for page in pages
                    for one in page["LaunchTemplateVersions"]
                }
        except NotFound:
            return {}

    def _alarms(self, name: ServerGroupName) -> tuple[str, ...]:
        with cloud_errors(f"looking for the alarms of `{name}`"):
            pages = self._cloudwatch.get_paginator("describe_alarms")
            found = pages.paginate(AlarmNamePrefix=alarm_name(name, ""))
            return tuple(one["AlarmName"] for page in found for one in page["MetricAlarms"])

    def _scales(self, name: str) -> bool:
        with cloud_errors(f"looking for what scales `{name}`"):
            if self._autoscaling.describe_policies(AutoScalingGroupName=name)["ScalingPolicies"]:
                return True
            planned = self._autoscaling.describe_scheduled_actions(AutoScalingGroupName=name)
            return bool(planned["ScheduledUpdateGroupActions"])

    def _images(self, names: Sequence[str]) -> dict[str, dict[InstanceId, str]]:
        """Return group → instance → image."""
        found: defaultdict[str, dict[InstanceId, str]] = defaultdict(dict)
        if not names:
            return found
        with cloud_errors("describing the instances of server groups"):
            pages = self._ec2.get_paginator("describe_instances").paginate(
                Filters=[
                    {"Name": f"tag:{GROUP_TAG}", "Values": list(names)},
                    {"Name": "instance-state-name", "Values": LIVING},
                ]
            )
            every = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        for instance in every:
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
            found[tags[GROUP_TAG]][InstanceId(instance["InstanceId"])] = instance["ImageId"]
        return found


def template_of(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the launch template that a group names, also one with several instance types."""
    mixed = raw.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    found: Mapping[str, Any] = raw.get("LaunchTemplate") or mixed.get(
        "LaunchTemplateSpecification", {}
    )
    return found
