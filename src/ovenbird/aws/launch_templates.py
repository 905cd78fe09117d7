"""Launch templates: one for each server group, of the same name, with one version."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import from_aws, to_aws
from ovenbird.domain.errors import NotFound
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import CreateServerGroup

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import LaunchTemplateTypeDef

ENVIRONMENT_FILE = "/etc/ovenbird/environment"  # the packages' units read it


class LaunchTemplates:
    """Launch templates of one account.

    Permissions: ec2:DescribeLaunchTemplates, ec2:CreateLaunchTemplate,
    ec2:DeleteLaunchTemplate, ec2:CreateTags.
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

    def _create(
        self, wanted: CreateServerGroup, tags: Mapping[str, str], security_groups: Sequence[str]
    ) -> LaunchTemplateTypeDef:
        pairs = to_aws(tags)
        data: dict[str, Any] = {
            "ImageId": wanted.image_id,
            "InstanceType": wanted.instance_type,
            "SecurityGroupIds": list(security_groups),
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
            "UserData": base64.b64encode(user_data(wanted.environment).encode()).decode(),
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": pairs} for kind in ("instance", "volume")
            ],
        }
        with cloud_errors(f"creating launch template `{wanted.name}`"):
            answer = self._ec2.create_launch_template(
                LaunchTemplateName=str(wanted.name),
                LaunchTemplateData=data,  # type: ignore[arg-type]
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": pairs}],
            )
        return answer["LaunchTemplate"]


def user_data(environment: Mapping[str, str]) -> str:
    """Return the cloud-config that writes the environment file; JSON is YAML.

    Source: cloud-init documentation, "Cloud config data" and module ``write_files``;
    systemd.exec(5), EnvironmentFile.
    """
    lines = (f"{key}={_quoted(value)}\n" for key, value in sorted(environment.items()))
    file = {"path": ENVIRONMENT_FILE, "permissions": "0640", "content": "".join(lines)}
    return "#cloud-config\n" + json.dumps({"write_files": [file]}, indent=1) + "\n"


def _quoted(value: str) -> str:
    escaped = value
    for character in '\\"`$':
        escaped = escaped.replace(character, "\\" + character)
    return f'"{escaped}"'
