"""Launch templates, as EC2 lists, versions and deletes them.

EC2 lists all of them, in pages when asked for, with the tags that they have now; a new
version may start from an old one; a name that is not there is
`InvalidLaunchTemplateName.NotFoundException`. moto 5.2.5 returns the first fifteen and no
token, with the tags of the creation; it ignores SourceVersion, cannot launch from a later
version's user data, and answers the deletion of an unknown name with `MissingParameter`.

Source: moto/ec2/responses/launch_templates.py, models/launch_templates.py; EC2 API
reference, DescribeLaunchTemplates, CreateLaunchTemplateVersion, DeleteLaunchTemplate.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.models.launch_templates import (
    LaunchTemplate,
    LaunchTemplateBackend,
    LaunchTemplateVersion,
)
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import parse_user_data

from ovenbird.sandbox.pages import page_of

_MOST = 200  # Source: DescribeLaunchTemplates, MaxResults


def install() -> None:
    """Put our versions in moto's place."""
    LaunchTemplates.describe_launch_templates = describe_launch_templates
    LaunchTemplates.create_launch_template_version = create_launch_template_version
    LaunchTemplates.describe_launch_template_versions = describe_launch_template_versions
    LaunchTemplateBackend.delete_launch_template = _by_name(
        LaunchTemplateBackend.delete_launch_template
    )


def describe_launch_templates(self: LaunchTemplates) -> ActionResult:
    """Stand in for DescribeLaunchTemplates."""
    self.error_on_dryrun()
    found = self.ec2_backend.describe_launch_templates(
        template_names=self._get_param("LaunchTemplateNames", []),
        template_ids=self._get_param("LaunchTemplateIds", []),
        filters=self._filters_from_querystring(),
    )
    size = self._get_int_param("MaxResults") or _MOST
    templates, token = page_of(found, self._get_param("NextToken"), size=size)
    described = [_template(self, template) for template in templates]
    return ActionResult({"LaunchTemplates": described, "NextToken": token})


def create_launch_template_version(self: LaunchTemplates) -> ActionResult:
    """Stand in for CreateLaunchTemplateVersion."""
    self.error_on_dryrun()
    template = _named(self)
    data = dict(self._get_param("LaunchTemplateData", {}))
    if "UserData" in data:
        data["UserData"] = parse_user_data(data["UserData"])
    if source := self._get_param("SourceVersion"):
        data = template.get_version(source).data | data
    version = template.create_version(data, self._get_param("VersionDescription"))
    return ActionResult({"LaunchTemplateVersion": _version(self, template, version)})


def describe_launch_template_versions(self: LaunchTemplates) -> ActionResult:
    """Stand in for DescribeLaunchTemplateVersions."""
    self.error_on_dryrun()
    found = self.ec2_backend.describe_launch_template_versions(
        template_name=self._get_param("LaunchTemplateName"),
        template_id=self._get_param("LaunchTemplateId"),
        versions=self._get_param("Versions", []),
        min_version=self._get_int_param("MinVersion"),
        max_version=self._get_int_param("MaxVersion"),
        max_results=_MOST * _MOST,  # pages are made here
    )
    size = self._get_int_param("MaxResults") or _MOST
    versions, token = page_of(found, self._get_param("NextToken"), size=size)
    described = [_version(self, template, version) for template, version in versions]
    return ActionResult({"LaunchTemplateVersions": described, "NextToken": token})


def _named(self: LaunchTemplates) -> LaunchTemplate:
    if template_id := self._get_param("LaunchTemplateId"):
        return self.ec2_backend.get_launch_template(template_id)
    return self.ec2_backend.get_launch_template_by_name(self._get_param("LaunchTemplateName"))


def _template(self: LaunchTemplates, template: LaunchTemplate) -> dict[str, Any]:
    return {
        "CreateTime": template.create_time,
        "CreatedBy": f"arn:{self.partition}:iam::{self.current_account}:root",
        "DefaultVersionNumber": template.default_version_number,
        "LatestVersionNumber": template.latest_version_number,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Tags": template.get_tags(),
    }


def _version(
    self: LaunchTemplates, template: LaunchTemplate, version: LaunchTemplateVersion
) -> dict[str, Any]:
    return {
        "CreateTime": version.create_time,
        "CreatedBy": f"arn:{self.partition}:iam::{self.current_account}:root",
        "DefaultVersion": template.is_default(version),
        "LaunchTemplateData": version.data,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionDescription": version.description,
        "VersionNumber": version.number,
    }


def _by_name(original: Any) -> Any:
    """Let an unknown name be what EC2 calls it."""

    def delete_launch_template(self: EC2Backend, name: str, tid: str | None) -> LaunchTemplate:
        if name:
            self.get_launch_template_by_name(name)
        deleted: LaunchTemplate = original(self, name, tid)
        return deleted

    return delete_launch_template
