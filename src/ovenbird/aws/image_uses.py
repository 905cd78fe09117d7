"""What uses images in one account: instances, launch templates, parameters.

Source: EC2 API reference, DescribeInstances, DescribeLaunchTemplateVersions; Auto Scaling API
reference, DescribeLaunchConfigurations; Systems Manager user guide, "Working with parameters"
(data type ``aws:ec2:image``); EC2 user guide, "Use a Systems Manager parameter instead of an
AMI ID".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.image_retention import ImageUse
from ovenbird.domain.images import ImageId

if TYPE_CHECKING:
    from ovenbird.aws.clients import Account

LIVING = ["pending", "running", "stopping", "stopped", "shutting-down"]
ALIAS = "resolve:ssm:"  # before a parameter's name or ARN, version and label, for an image's id
NAMES_AT_ONCE = 10  # Source: SSM API reference, GetParameters


class AccountUses:
    """The :class:`ovenbird.domain.image_ports.ImageUses` of one account.

    Permissions: ec2:DescribeInstances, ec2:DescribeLaunchTemplates,
    ec2:DescribeLaunchTemplateVersions, autoscaling:DescribeLaunchConfigurations,
    ssm:DescribeParameters, ssm:GetParameters.

    Args:
        account: Where to look.
        environment: What the account is called in reasons.
    """

    def __init__(self, account: Account, *, environment: str) -> None:
        self._account, self._environment = account, environment

    def list_uses(self) -> tuple[ImageUse, ...]:
        """Return everything that needs an image, also images of others.

        Raises:
            CloudError: AWS refused a call: then nobody knows what is used.
        """
        with cloud_errors(f"looking for what uses images in `{self._environment}`"):
            return (
                *self._instances(),
                *self._templates(),
                *self._configurations(),
                *self._parameters(),
            )

    def _use(self, image_id: str, what: str) -> ImageUse:
        return ImageUse(image_id=ImageId(image_id), reason=f"{what} in {self._environment}")

    def _instances(self) -> Iterator[ImageUse]:
        pages = self._account.ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "instance-state-name", "Values": LIVING}]
        )
        for page in pages:
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    what = f"it runs as instance {instance['InstanceId']}"
                    yield self._use(instance["ImageId"], what)

    def _templates(self) -> Iterator[ImageUse]:
        """Yield what launch templates name, by an id or by a parameter, whatever its type."""
        ec2 = self._account.ec2
        aliases: dict[str, str] = {}
        pages = ec2.get_paginator("describe_launch_templates").paginate()
        for template in [one for page in pages for one in page["LaunchTemplates"]]:
            versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template["LaunchTemplateId"]
            )
            for version in [one for page in versions for one in page["LaunchTemplateVersions"]]:
                image_id = version["LaunchTemplateData"].get("ImageId", "")
                name = template["LaunchTemplateName"]
                if image_id.startswith(ALIAS):
                    aliases[image_id.removeprefix(ALIAS)] = name
                elif image_id:
                    yield self._use(image_id, f"launch template {name} names it")
        for alias, name in aliases.items():
            for _, value in self._values([alias]):
                yield self._use(value, f"launch template {name} names it by {alias}")

    def _configurations(self) -> Iterator[ImageUse]:
        paginator = self._account.autoscaling.get_paginator("describe_launch_configurations")
        for page in paginator.paginate():
            for found in page["LaunchConfigurations"]:
                name = found["LaunchConfigurationName"]
                yield self._use(found["ImageId"], f"launch configuration {name} names it")

    def _parameters(self) -> Iterator[ImageUse]:
        """Yield parameters of the data type for images; others may hold secrets: not read."""
        ssm = self._account.ssm
        names = [
            found["Name"]
            for page in ssm.get_paginator("describe_parameters").paginate()
            for found in page["Parameters"]
            if found.get("DataType") == "aws:ec2:image"
        ]
        for name, value in self._values(names):
            yield self._use(value, f"parameter {name} names it")

    def _values(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield name and value of those parameters that exist."""
        for start in range(0, len(names), NAMES_AT_ONCE):
            some = list(names[start : start + NAMES_AT_ONCE])
            for found in self._account.ssm.get_parameters(Names=some)["Parameters"]:
                yield found["Name"], found["Value"]
