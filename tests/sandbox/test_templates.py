"""Launch templates through boto3 and through our own caller; the same would hold on AWS."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.launch_templates import LaunchTemplates
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.sandbox.endpoint import Endpoint
from tests.sandbox.fleet import register_image

pytestmark = pytest.mark.sandbox


@pytest.fixture
def ec2(endpoint: Endpoint) -> Any:
    return endpoint.development.ec2


def make(ec2: Any, name: str, **data: Any) -> Any:
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "made", "Value": "first"}]}]
    return ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=tags
    )["LaunchTemplate"]


def test_all_templates_are_listed_with_their_tags(ec2: Any) -> None:
    prefix = f"many-{uuid.uuid4().hex[:8]}"
    made = {
        make(ec2, f"{prefix}-{n}", InstanceType="t3.micro")["LaunchTemplateId"] for n in range(20)
    }
    one = min(made)
    ec2.create_tags(Resources=[one], Tags=[{"Key": "made", "Value": "later"}])

    whole = ec2.describe_launch_templates()["LaunchTemplates"]
    pages = ec2.get_paginator("describe_launch_templates").paginate(
        PaginationConfig={"PageSize": 7}
    )
    paged = [template for page in pages for template in page["LaunchTemplates"]]

    assert made <= {template["LaunchTemplateId"] for template in whole}
    assert paged == whole
    tags = {t["LaunchTemplateId"]: t["Tags"] for t in whole}
    assert tags[one] == [{"Key": "made", "Value": "later"}]
    assert tags[max(made)] == [{"Key": "made", "Value": "first"}]


def test_a_version_may_start_from_another(endpoint: Endpoint, ec2: Any) -> None:
    name, image_id = f"versions-{uuid.uuid4().hex[:8]}", register_image(endpoint.development)
    make(ec2, name, ImageId=image_id, InstanceType="t3.micro")
    text = base64.b64encode(b"#!/bin/sh\n").decode()
    ec2.create_launch_template_version(
        LaunchTemplateName=name, SourceVersion="1", LaunchTemplateData={"UserData": text}
    )

    versions = ec2.describe_launch_template_versions(LaunchTemplateName=name)
    _, second = versions["LaunchTemplateVersions"]
    made = ec2.run_instances(
        MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateName": name, "Version": "2"}
    )["Instances"][0]

    assert second["LaunchTemplateData"]["ImageId"] == made["ImageId"] == image_id
    assert second["LaunchTemplateData"]["UserData"] == text
    assert (second["VersionNumber"], second["DefaultVersion"]) == (2, False)
    found = ec2.describe_instance_attribute(InstanceId=made["InstanceId"], Attribute="userData")
    assert found["UserData"]["Value"] == text


def test_a_name_that_is_not_there(endpoint: Endpoint, ec2: Any) -> None:
    nobody = f"nobody-{uuid.uuid4().hex[:8]}"
    calls: list[Callable[[], Any]] = [
        lambda: ec2.describe_launch_templates(LaunchTemplateNames=[nobody]),
        lambda: ec2.delete_launch_template(LaunchTemplateName=nobody),
        lambda: ec2.create_launch_template_version(
            LaunchTemplateName=nobody, LaunchTemplateData={"InstanceType": "t3.micro"}
        ),
    ]
    for call in calls:
        with pytest.raises(ClientError, match=r"InvalidLaunchTemplateName\.NotFoundException"):
            call()

    name = ServerGroupName(cluster=ClusterName(app=nobody.replace("-", "")), version=1)
    templates = LaunchTemplates(endpoint.development)
    templates.delete(name)
    assert templates.find_tags(name) is None


def test_a_token_of_somebody_else_is_refused(ec2: Any) -> None:
    with pytest.raises(ClientError, match="InvalidNextToken"):
        ec2.describe_launch_templates(NextToken="next")
