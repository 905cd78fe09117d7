"""What tests of groups need: an image, a network, and a hand on machines and time."""

from __future__ import annotations

import time
import uuid
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import InstanceState

from ovenbird.aws.clients import Account
from ovenbird.sandbox import group_loop, instances
from ovenbird.sandbox.group_model import Group
from ovenbird.sandbox.places import REGION
from ovenbird.sandbox.targets import HEALTH, TargetHealth

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopped": 80}


def register_image(account: Account) -> str:
    """Make an image without content that the account may launch."""
    snapshot_id = account.ebs.start_snapshot(VolumeSize=2)["SnapshotId"]
    account.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    return account.ec2.register_image(
        Name=f"fleet-{uuid.uuid4()}",
        Architecture="x86_64",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]


def default_subnets(account: Account) -> tuple[str, list[str]]:
    """Return the default VPC and two of its subnets, of different zones."""
    is_default: Any = [{"Name": "is-default", "Values": ["true"]}]
    vpc_id = account.ec2.describe_vpcs(Filters=is_default)["Vpcs"][0]["VpcId"]
    found = account.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])
    return vpc_id, sorted(subnet["SubnetId"] for subnet in found["Subnets"])[:2]


def turn(later: float = 0.0, *, times: int = 1) -> None:
    """Let the group loop look, as if it were *later* seconds later."""
    for _ in range(times):
        group_loop.tick(time.time() + later)


def model(account: Account, name: str) -> Group:
    """Return moto's group."""
    group = autoscaling_backends[account.account_id][REGION].autoscaling_groups[name]
    assert isinstance(group, Group)
    return group


def set_state(account: Account, instance_id: str, state: str) -> None:
    """Put a machine into a state behind the back of all loops."""
    instance = ec2_backends[account.account_id][REGION].get_instance(instance_id)
    instance._state = InstanceState(state, CODES[state])


def finish(account: Account, instance_id: str, state: str) -> None:
    """Let a machine reach a state, as the machine room tells it."""
    instances.finish(ec2_backends[account.account_id][REGION].get_instance(instance_id), state)


def set_health(target_group: str, instance_id: str, state: str, *, port: int = 80) -> None:
    """Write what the balancer found."""
    HEALTH.write(target_group, instance_id, port, TargetHealth(state=state))


def registered(account: Account, target_group: str) -> set[str]:
    """Return the ids of a target group's targets that take requests."""
    answer = account.elbv2.describe_target_health(TargetGroupArn=target_group)
    return {
        one["Target"]["Id"]
        for one in answer["TargetHealthDescriptions"]
        if one["TargetHealth"]["State"] != "draining"
    }
