"""What a launch names that must exist: key pair, instance profile, security groups; DryRun.

EC2 refuses a key pair, a profile or a security group that is not there, wherever it is named:
in the call or in the launch template. With DryRun it checks all of it, and answers
`DryRunOperation` when the launch would succeed. moto 5.2.5 takes any key pair, drops a
template's profile and monitoring, and answers DryRunOperation without a look.

Source: EC2 API reference, RunInstances (DryRun), RequestLaunchTemplateData, "Common client
errors"; moto/ec2/models/instances.py, responses/instances.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import filter_iam_instance_profiles

_OF_A_DRY_RUN: dict[str, tuple[str, Any]] = {
    "launch_template": ("LaunchTemplate", {}),
    "subnet_id": ("SubnetId", None),
    "security_group_ids": ("SecurityGroupIds", []),
    "key_name": ("KeyName", None),
    "private_ip": ("PrivateIpAddress", None),
    "placement": ("Placement.AvailabilityZone", None),
    "nics": ("NetworkInterfaces", []),
}


def refuse(backend: EC2Backend, template: Mapping[str, Any], named: Mapping[str, Any]) -> None:
    """Refuse what is named and is not there.

    Args:
        backend: The account's.
        template: The launch template's data, or nothing.
        named: The call's words.

    Raises:
        EC2ClientError: Something is not there, in EC2's words.
    """
    if key := named.get("key_name") or template.get("KeyName"):
        backend.describe_key_pairs(key_names=[key])
    profile = template.get("IamInstanceProfile") or {}
    if profile:
        _profile(backend, profile)
    ids = named.get("security_group_ids") or template.get("SecurityGroupIds") or []
    for group_id in ids:
        if backend.get_security_group_from_id(group_id) is None:
            raise EC2ClientError(
                "InvalidGroup.NotFound", f"The security group '{group_id}' does not exist"
            )


def fulfil(instance: Instance, template: Mapping[str, Any]) -> None:
    """Give an instance what its template has and moto drops."""
    if template.get("Monitoring", {}).get("Enabled") in {True, "true"}:
        instance.monitoring_state = "enabled"
    profile = template.get("IamInstanceProfile") or {}
    backend = instance.ec2_backend
    if profile and instance.id not in backend.iam_instance_profile_associations:
        backend.associate_iam_instance_profile(
            instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )


def asked(self: InstanceResponse) -> dict[str, Any]:
    """Return a dry run's words, as the backend takes them."""
    return {name: self._get_param(key, empty) for name, (key, empty) in _OF_A_DRY_RUN.items()}


def _profile(backend: EC2Backend, named: Mapping[str, Any]) -> None:
    try:
        filter_iam_instance_profiles(
            backend.account_id,
            partition=backend.partition,
            iam_instance_profile_arn=named.get("Arn"),
            iam_instance_profile_name=named.get("Name"),
        )
    except ServiceException as error:  # of IAM, which EC2 does not answer with
        words = named.get("Arn") or named.get("Name")
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({words}) for parameter iamInstanceProfile is invalid."
            " Invalid IAM Instance Profile",
        ) from error
