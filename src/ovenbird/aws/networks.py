"""Where instances of a server group go: subnets by zone, security groups by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.launching import LaunchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """Where an environment's instances live, and which listener brings their requests.

    Args:
        more_listener_arns: Further listeners of the same load balancer.
        topics: ARNs that alarms tell which name no others.
    """

    vpc_id: str
    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    listener_arn: str
    more_listener_arns: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


class Networks:
    """The network of one environment; AWS is asked only for what the settings do not say.

    Permissions: ec2:DescribeSubnets, ec2:DescribeSecurityGroups.
    """

    def __init__(self, account: Account, network: NetworkSpec) -> None:
        self._ec2 = account.ec2
        self._network = network

    def subnet_ids(self, launch: LaunchSpec) -> tuple[str, ...]:
        """Return the subnets of the zones that are wanted.

        Raises:
            InvalidRequest: A zone has no subnet of the settings.
        """
        if not launch.zones:
            return self._network.subnet_ids
        with cloud_errors("looking at the subnets of the settings"):
            pages = self._ec2.get_paginator("describe_subnets")
            found: list[Any] = [
                subnet
                for page in pages.paginate(SubnetIds=list(self._network.subnet_ids))
                for subnet in page["Subnets"]
            ]
        zones = {subnet["AvailabilityZone"] for subnet in found}
        if missing := [zone for zone in launch.zones if zone not in zones]:
            raise InvalidRequest(
                f"No subnet of the settings is in zone `{missing[0]}`",
                hint=f"There are subnets in {', '.join(f'`{z}`' for z in sorted(zones))}",
            )
        wanted = {s["SubnetId"] for s in found if s["AvailabilityZone"] in launch.zones}
        return tuple(one for one in self._network.subnet_ids if one in wanted)

    def security_group_ids(self, launch: LaunchSpec) -> tuple[str, ...]:
        """Return the ids of the settings' security groups and of those that are wanted.

        Raises:
            InvalidRequest: The network has none of a wanted name.
        """
        names = [name for name in launch.security_groups if not name.startswith("sg-")]
        ids = self._ids(names) if names else {}
        if missing := [name for name in names if name not in ids]:
            raise InvalidRequest(
                f"No security group `{missing[0]}` in network `{self._network.vpc_id}`",
                hint="Look at `launch.security_groups` in the manifest",
            )
        wanted = (ids.get(name, name) for name in launch.security_groups)
        return tuple(dict.fromkeys((*self._network.security_group_ids, *wanted)))

    def _ids(self, names: list[str]) -> dict[str, str]:
        with cloud_errors("looking for security groups"):
            pages = self._ec2.get_paginator("describe_security_groups")
            found = pages.paginate(
                Filters=[
                    {"Name": "vpc-id", "Values": [self._network.vpc_id]},
                    {"Name": "group-name", "Values": names},
                ]
            )
            return {
                group["GroupName"]: group["GroupId"]
                for page in found
                for group in page["SecurityGroups"]
            }
