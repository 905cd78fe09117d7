"""Launch templates: one for each server group, of the same name, with one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.launch_requests import Request, template_data
from ovenbird.aws.tags import from_aws, to_aws
from ovenbird.domain.errors import NotFound
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import CreateServerGroup

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import LaunchTemplateTypeDef


class LaunchTemplates:
    """Launch templates of one account.

    Permissions: ec2:DescribeLaunchTemplates, ec2:CreateLaunchTemplate,
    ec2:DeleteLaunchTemplate, ec2:CreateTags, ec2:DescribeImages (when a root volume is not the
    image's); iam:PassRole on the instance profile's role.
    """

    def __init__(self, account: Account) -> None:
        self._ec2 = account.ec2

    def ensure(
        self, wanted: CreateServerGroup, tags: Mapping[str, str], *, security_groups: Sequence[str]
    ) -> str:
        """Return the number of the server group's version of its template."""
        found = self._find(wanted.name)
        if found is None:
            found = self._create(wanted, tags, security_groups)
        return str(found["LatestVersionNumber"])

    def data(
        self, wanted: CreateServerGroup, tags: Mapping[str, str], *, security_groups: Sequence[str]
    ) -> Request:
        """Return what the server group's template has; nothing is made.

        Raises:
            InvalidRequest: The user data are too long, or a value cannot be written there.
        """
        root = self._root_device(wanted.image_id) if wanted.launch.root_volume else ""
        return template_data(wanted, tags, security_groups=security_groups, root_device=root)

    def find_tags(self, name: ServerGroupName) -> dict[str, str] | None:
        """Return the tags of a server group's template, or None when there is none."""
        found = self._find(name)
        return None if found is None else from_aws(found.get("Tags", []))  # type: ignore[arg-type]

    def delete(self, name: ServerGroupName) -> None:
        """Delete the server group's template, if it is there."""
        try:
            with cloud_errors(f"deleting launch template `{name}`"):
                self._ec2.delete_launch_template(LaunchTemplateName=str(name))
        except NotFound:
            return

    def _find(self, name: ServerGroupName) -> LaunchTemplateTypeDef | None:
        try:
            with cloud_errors(f"looking for launch template `{name}`"):
                # By name this returns one or the error, so there is no second page.
                answer = self._ec2.describe_launch_templates(LaunchTemplateNames=[str(name)])
        except NotFound:
            return None
        return next(iter(answer["LaunchTemplates"]), None)

    def _root_device(self, image_id: str) -> str:
        with cloud_errors(f"looking at image `{image_id}`"):
            (image,) = self._ec2.describe_images(ImageIds=[image_id])["Images"]
        return image["RootDeviceName"]

    def _create(
        self, wanted: CreateServerGroup, tags: Mapping[str, str], security_groups: Sequence[str]
    ) -> LaunchTemplateTypeDef:
        pairs, data = to_aws(tags), self.data(wanted, tags, security_groups=security_groups)
        with cloud_errors(f"creating launch template `{wanted.name}`"):
            answer = self._ec2.create_launch_template(
                LaunchTemplateName=str(wanted.name),
                LaunchTemplateData=data,  # type: ignore[arg-type]
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": pairs}],
            )
        return answer["LaunchTemplate"]
