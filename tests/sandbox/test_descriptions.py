"""What DescribeInstances remembers is what it would write anew, after each kind of change."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from moto.ec2.models import ec2_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from ovenbird.aws.clients import Account
from ovenbird.sandbox import descriptions, instances
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import REGION
from tests.sandbox.fleet import register_image, set_state

pytestmark = pytest.mark.sandbox

MANY, WITHIN_S = 1000, 0.1


def described(account: Account, instance_id: str) -> Any:
    """Return what is remembered of an instance."""
    return account.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]


def anew(account: Account, instance_id: str) -> Any:
    """Return the same, written anew."""
    descriptions._kept.clear()
    return described(account, instance_id)


def test_every_change_is_seen(endpoint: Endpoint) -> None:
    account = endpoint.development
    image_id = register_image(account)
    made = account.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]
    one, ec2 = made["InstanceId"], account.ec2
    zone = made["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    group = ec2.create_security_group(GroupName="seen", Description="-")["GroupId"]
    changes: list[Callable[[], object]] = [
        lambda: ec2.create_tags(Resources=[one], Tags=[{"Key": "a", "Value": "1"}]),
        lambda: ec2.create_tags(Resources=[one], Tags=[{"Key": "a", "Value": "2"}]),
        lambda: ec2.delete_tags(Resources=[one], Tags=[{"Key": "a"}]),
        lambda: ec2.attach_volume(InstanceId=one, VolumeId=volume, Device="/dev/sdh"),
        lambda: ec2.detach_volume(InstanceId=one, VolumeId=volume, Device="/dev/sdh"),
        lambda: ec2.modify_instance_attribute(InstanceId=one, Groups=[group]),
        lambda: ec2.modify_instance_attribute(InstanceId=one, SourceDestCheck={"Value": False}),
        lambda: ec2.modify_instance_metadata_options(InstanceId=one, HttpTokens="required"),
        lambda: set_state(account, one, "pending"),
        lambda: set_state(account, one, "running"),
        lambda: ec2.stop_instances(InstanceIds=[one]),
        lambda: ec2.start_instances(InstanceIds=[one]),
        lambda: ec2.terminate_instances(InstanceIds=[one]),
    ]
    seen = [described(account, one)]
    for change in changes:
        change()
        remembered = described(account, one)
        assert remembered == anew(account, one)
        seen.append(remembered)

    assert all(before != after for before, after in pairwise(seen))


def test_a_thousand_instances_are_described_within_a_tenth_of_a_second(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, took = endpoint.development, list[float]()
    image_id = register_image(account)
    made = [
        one["InstanceId"]
        for _ in range(MANY // 100)
        for one in account.ec2.run_instances(ImageId=image_id, MinCount=100, MaxCount=100)[
            "Instances"
        ]
    ]
    answer = DomainDispatcherApplication.__call__

    def timed(*words: Any) -> Any:
        begun = time.thread_time()  # its own processor: a busy machine does not count
        try:
            return answer(*words)
        finally:
            took.append(time.thread_time() - begun)

    account.ec2.describe_instances(MaxResults=1000)
    monkeypatch.setattr(DomainDispatcherApplication, "__call__", timed)
    found = [account.ec2.describe_instances(MaxResults=1000)["Reservations"] for _ in range(3)]
    account.ec2.terminate_instances(InstanceIds=made)
    backend = ec2_backends[account.account_id][REGION]
    instances.forget(backend, set(made))  # nobody else's tests shall carry them along

    assert sum(len(one["Instances"]) for one in found[-1]) >= MANY
    assert min(took) < WITHIN_S
