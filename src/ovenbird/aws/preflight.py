"""What AWS knows of a rollout that is planned, asked before anything is changed.

Source: EC2 API reference, DescribeSubnets, DescribeInstanceTypes, DescribeInstanceTypeOfferings,
RunInstances (DryRun); Auto Scaling and ELBv2 API references, DescribeAccountLimits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ovenbird.aws.alarms import Alarms
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.launch_templates import LaunchTemplates
from ovenbird.aws.networks import Networks, NetworkSpec
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.names import ServerGroupName, target_group_name
from ovenbird.domain.plans import CreateServerGroup
from ovenbird.domain.ports import Clock
from ovenbird.domain.preflight import (
    Facts,
    ImageFacts,
    Launching,
    Problem,
    Quota,
    Subnet,
    find_problems,
)

KEPT = timedelta(seconds=60)  # what is the same for all rollouts of an environment
MAY_LAUNCH = "DryRunOperation"
_LIMITS = {  # Source: ELBv2 API reference, DescribeAccountLimits
    "target-groups": "target groups",
    "rules-per-application-load-balancer": "rules of the load balancer",
    "target-groups-per-application-load-balancer": "target groups of the load balancer",
}
Found = TypeVar("Found")


class Preflight:
    """Looks for what would keep a rollout in one environment from working.

    Permissions: ec2:DescribeSubnets, DescribeSecurityGroups, DescribeImages,
    DescribeInstanceTypes, DescribeInstanceTypeOfferings, RunInstances (dry runs);
    elasticloadbalancing:DescribeListeners, DescribeLoadBalancers, DescribeTargetGroups,
    DescribeRules, DescribeTargetHealth, DescribeAccountLimits;
    autoscaling:DescribeAccountLimits; cloudwatch:DescribeAlarms; iam:PassRole.
    """

    def __init__(self, account: Account, network: NetworkSpec, *, clock: Clock) -> None:
        self._ec2: Any = account.ec2
        self._elbv2: Any = account.elbv2
        self._autoscaling: Any = account.autoscaling
        self._network = network
        self._networks = Networks(account, network)
        self._templates = LaunchTemplates(account)
        self._alarms = Alarms(account, listener_arn=network.listener_arn, period_s=60.0)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[object, tuple[datetime, Any]] = {}

    def check(self, planned: Launching) -> tuple[Problem, ...]:
        """Return all problems; what may not be asked is one itself.

        Args:
            planned: What is to be launched; an image that is not shared yet is not looked at.
        """
        problems: list[Problem] = []
        wanted, facts = planned.wanted, Facts()
        looks: tuple[Callable[[], dict[str, Any]], ...] = (
            lambda: {"subnets": self._subnets(wanted)},
            lambda: {"networks": self._groups(wanted) | self._balancer()},
            lambda: {"image": self._image(planned)},
            lambda: {"types": self._types(wanted)},
            lambda: {"offered": self._offered(wanted, facts)},
            lambda: {"missing_guards": self._alarms.missing(planned.guards)},
            lambda: {"unhealthy": self._unhealthy(wanted)},
            lambda: {"quotas": self._quotas()},
        )
        for look in looks:
            with _told(problems):
                facts = replace(facts, **look())
        problems += find_problems(planned, facts, vpc_id=self._network.vpc_id)
        if not problems and planned.shared:
            with _told(problems):
                problems += self._dry_run(wanted, facts)
        return tuple(problems)

    def _subnets(self, wanted: CreateServerGroup) -> tuple[Subnet, ...]:
        ids = self._networks.subnet_ids(wanted.launch)
        with cloud_errors("looking at the subnets of the settings"):
            found = self._ec2.describe_subnets(SubnetIds=list(ids))["Subnets"]
        return tuple(
            Subnet(
                subnet_id=raw["SubnetId"],
                vpc_id=raw["VpcId"],
                zone=raw["AvailabilityZone"],
                free=raw["AvailableIpAddressCount"],
            )
            for raw in found
        )

    def _groups(self, wanted: CreateServerGroup) -> dict[str, str]:
        ids = self._networks.security_group_ids(wanted.launch)
        if not ids:
            return {}
        with cloud_errors("looking at security groups"):
            found = self._kept(
                ("groups", ids),
                lambda: self._ec2.describe_security_groups(GroupIds=list(ids))["SecurityGroups"],
            )
        return {f"Security group `{raw['GroupId']}`": raw["VpcId"] for raw in found}

    def _balancer(self) -> dict[str, str]:
        balancer = self._load_balancer()
        return {f"The load balancer `{balancer['LoadBalancerName']}`": balancer["VpcId"]}

    def _load_balancer(self) -> Any:
        def ask() -> Any:
            arns = [self._network.listener_arn]
            (listener,) = self._elbv2.describe_listeners(ListenerArns=arns)["Listeners"]
            balancers = [listener["LoadBalancerArn"]]
            found = self._elbv2.describe_load_balancers(LoadBalancerArns=balancers)
            return found["LoadBalancers"][0]

        with cloud_errors("looking at the load balancer of the settings"):
            return self._kept("balancer", ask)

    def _image(self, planned: Launching) -> ImageFacts | None:
        wanted = planned.wanted
        if not planned.shared:
            return None
        with cloud_errors(f"looking at image `{wanted.image_id}`"):
            (raw,) = self._ec2.describe_images(ImageIds=[wanted.image_id])["Images"]
        root = raw.get("RootDeviceName", "")
        sizes = {
            one["DeviceName"]: one.get("Ebs", {}).get("VolumeSize", 0)
            for one in raw.get("BlockDeviceMappings", [])
        }
        return ImageFacts(architecture=raw["Architecture"], size_gib=int(sizes.get(root, 0)))

    def _types(self, wanted: CreateServerGroup) -> dict[str, tuple[str, ...]]:
        types = wanted.launch.types(wanted.instance_type)
        with cloud_errors("looking at instance types"):
            found = self._kept(
                ("types", types),
                lambda: self._ec2.describe_instance_types(InstanceTypes=list(types)),
            )
        return {
            raw["InstanceType"]: tuple(raw["ProcessorInfo"]["SupportedArchitectures"])
            for raw in found["InstanceTypes"]
        }

    def _offered(self, wanted: CreateServerGroup, facts: Facts) -> frozenset[tuple[str, str]]:
        types = wanted.launch.types(wanted.instance_type)
        zones = tuple(sorted({subnet.zone for subnet in facts.subnets}))

        def ask() -> Any:
            pages = self._ec2.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="availability-zone",
                Filters=[
                    {"Name": "instance-type", "Values": list(types)},
                    {"Name": "location", "Values": list(zones)},
                ],
            )
            return [one for page in pages for one in page["InstanceTypeOfferings"]]

        with cloud_errors("looking at what is offered in the zones"):
            found = self._kept(("offers", types, zones), ask)
        return frozenset((one["InstanceType"], one["Location"]) for one in found)

    def _unhealthy(self, wanted: CreateServerGroup) -> tuple[str, ...]:
        """Return what is said of unhealthy targets of the group before, asked the same path."""
        before = self._target_group(wanted.copies) if wanted.copies else None
        if before is None or before.get("HealthCheckPath") != wanted.health.path:
            return ()
        with cloud_errors(f"asking for the health of `{wanted.copies}`"):
            answer = self._elbv2.describe_target_health(TargetGroupArn=before["TargetGroupArn"])
        told = [one["TargetHealth"] for one in answer["TargetHealthDescriptions"]]
        return tuple(str(one.get("Description", "")) for one in told if one["State"] == "unhealthy")

    def _target_group(self, name: ServerGroupName) -> Any:
        try:
            found = self._elbv2.describe_target_groups(Names=[target_group_name(name)])
        except ClientError:
            return None  # it is gone, or may not be looked at: then nothing is known of its health
        return next(iter(found["TargetGroups"]), None)

    def _quotas(self) -> tuple[Quota, ...]:
        def ask() -> tuple[Quota, ...]:
            groups = self._autoscaling.describe_account_limits()
            pages = self._elbv2.get_paginator("describe_account_limits").paginate()
            most = {one["Name"]: int(one["Max"]) for page in pages for one in page["Limits"]}
            return (
                Quota(
                    what="Auto Scaling groups",
                    used=groups["NumberOfAutoScalingGroups"],
                    most=groups["MaxNumberOfAutoScalingGroups"],
                ),
                *(
                    Quota(what=words, used=used, most=most[name])
                    for (name, words), used in zip(_LIMITS.items(), self._counts(), strict=True)
                    if name in most
                ),
            )

        balancer = self._load_balancer()
        with cloud_errors(f"looking at quotas beside `{balancer['LoadBalancerName']}`"):
            return self._kept("quotas", ask)

    def _counts(self) -> tuple[int, int, int]:
        """Return the numbers of target groups, of our listener's rules, of its target groups."""
        pages = self._elbv2.get_paginator("describe_target_groups").paginate()
        groups = [one for page in pages for one in page["TargetGroups"]]
        rules = self._elbv2.get_paginator("describe_rules").paginate(
            ListenerArn=self._network.listener_arn
        )
        own = [rule for page in rules for rule in page["Rules"] if not rule.get("IsDefault")]
        arn = self._known["balancer"][1]["LoadBalancerArn"]
        return len(groups), len(own), sum(arn in one["LoadBalancerArns"] for one in groups)

    def _dry_run(self, wanted: CreateServerGroup, facts: Facts) -> list[Problem]:
        """Ask whether an instance as the template's might be launched: names, rights, key."""
        groups = self._networks.security_group_ids(wanted.launch)
        request = self._templates.data(wanted, wanted.tags, security_groups=groups)
        request["UserData"] = ""  # a client of boto encodes it once more; its size was looked at
        try:
            self._ec2.run_instances(
                **request, SubnetId=facts.subnets[0].subnet_id, MinCount=1, MaxCount=1, DryRun=True
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == MAY_LAUNCH:
                return []
            with cloud_errors("launching an instance of it (a dry run)"):
                raise
        return []

    def _kept(self, key: object, ask: Callable[[], Found]) -> Found:
        """Return what was asked less than a minute ago, or ask; one at a time."""
        with self._lock:
            now, known = self._clock.now(), self._known.get(key)
            if known is None or now - known[0] > KEPT:
                known = self._known[key] = (now, ask())
            found: Found = known[1]
            return found


@contextmanager
def _told(problems: list[Problem]) -> Iterator[None]:
    """Let an error be a problem among others."""
    try:
        yield
    except OvenbirdError as error:
        if error.retryable:
            raise
        problems.append(Problem(text=str(error), hint=error.hint))
