"""Auto Scaling through boto3, with its loop turned by hand; the same would hold on AWS."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.sandbox import groups, instances
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.targets import HEALTH
from tests.sandbox.fleet import (
    default_subnets,
    finish,
    model,
    register_image,
    registered,
    set_health,
    set_state,
    turn,
)

pytestmark = pytest.mark.sandbox


class Fleet:
    """One group, its template and its target group, in development."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.name = f"fleet-{uuid.uuid4().hex[:10]}"
        self.image_id = register_image(account)
        vpc_id, self.subnets = default_subnets(account)
        self.autoscaling: Any = account.autoscaling
        self.ec2 = account.ec2
        self.ec2.create_launch_template(
            LaunchTemplateName=self.name,
            LaunchTemplateData={"ImageId": self.image_id, "InstanceType": "t3.micro"},
        )
        self.target_group = account.elbv2.create_target_group(
            Name=self.name, Protocol="HTTP", Port=80, VpcId=vpc_id
        )["TargetGroups"][0]["TargetGroupArn"]

    def create(self, desired: int = 2, **others: Any) -> None:
        wanted: dict[str, Any] = {
            "AutoScalingGroupName": self.name,
            "LaunchTemplate": {"LaunchTemplateName": self.name, "Version": "1"},
            "MinSize": 0, "MaxSize": 4, "DesiredCapacity": desired,
            "VPCZoneIdentifier": ",".join(self.subnets),
            "TargetGroupARNs": [self.target_group],
            "HealthCheckType": "ELB", "HealthCheckGracePeriod": 0,
        }  # fmt: skip
        self.autoscaling.create_auto_scaling_group(**(wanted | others))

    def use_target_group(self) -> None:
        """Let a listener forward to the target group; before that it has nothing to drain."""
        elbv2 = self.account.elbv2
        balancer = elbv2.create_load_balancer(Name=self.name, Subnets=self.subnets)
        elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.target_group}],
        )

    def update(self, **changes: Any) -> None:
        self.autoscaling.update_auto_scaling_group(AutoScalingGroupName=self.name, **changes)

    def delete(self, *, force: bool) -> None:
        self.autoscaling.delete_auto_scaling_group(
            AutoScalingGroupName=self.name, ForceDelete=force
        )

    @property
    def raw(self) -> Any:
        answer = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        return next(iter(answer["AutoScalingGroups"]), None)

    @property
    def lives(self) -> list[str]:
        return [str(one["LifecycleState"]) for one in self.raw["Instances"]]

    @property
    def ids(self) -> list[str]:
        return [one["InstanceId"] for one in self.raw["Instances"]]

    @property
    def activities(self) -> list[Any]:
        answer = self.autoscaling.describe_scaling_activities(AutoScalingGroupName=self.name)
        return list(answer["Activities"])

    def state(self, instance_id: str) -> str:
        answer = self.ec2.describe_instances(InstanceIds=[instance_id])
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    def tags(self, instance_id: str) -> dict[str, str]:
        found = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        return {tag["Key"]: tag["Value"] for tag in found[0]["Instances"][0]["Tags"]}


@pytest.fixture
def fleet(endpoint: Endpoint) -> Iterator[Fleet]:
    made = Fleet(endpoint.development)
    yield made
    if made.raw:
        made.delete(force=True)
        turn(times=2)


def test_a_group_launches_what_is_desired(fleet: Fleet) -> None:
    fleet.create(2)
    before = fleet.lives
    turn()
    first = fleet.lives
    turn()

    assert (before, first, fleet.lives) == ([], ["Pending"] * 2, ["InService"] * 2)
    assert registered(fleet.account, fleet.target_group) == set(fleet.ids)
    zones = {one["AvailabilityZone"] for one in fleet.raw["Instances"]}
    assert len(zones) == 2


def test_an_instance_is_pending_until_its_machine_runs(fleet: Fleet) -> None:
    fleet.create(1)
    turn()
    set_state(fleet.account, fleet.ids[0], "pending")
    turn(times=3)
    waiting = fleet.lives
    set_state(fleet.account, fleet.ids[0], "running")
    turn()

    assert (waiting, fleet.lives) == (["Pending"], ["InService"])


def test_the_pinned_version_is_launched_and_reported(fleet: Fleet) -> None:
    other = register_image(fleet.account)
    fleet.ec2.create_launch_template_version(
        LaunchTemplateName=fleet.name,
        LaunchTemplateData={"ImageId": other, "InstanceType": "t3.small"},
    )
    fleet.create(1, LaunchTemplate={"LaunchTemplateName": fleet.name, "Version": "2"})
    turn()

    (instance,) = fleet.raw["Instances"]
    found = fleet.ec2.describe_instances(InstanceIds=fleet.ids)["Reservations"][0]["Instances"][0]
    assert instance["LaunchTemplate"]["Version"] == fleet.raw["LaunchTemplate"]["Version"] == "2"
    assert (found["ImageId"], found["InstanceType"]) == (other, "t3.small")
    assert instance["LaunchTemplate"]["LaunchTemplateName"] == fleet.name
    assert fleet.tags(fleet.ids[0])["aws:ec2launchtemplate:version"] == "2"


def test_tags_go_on_instances_where_they_are_to(fleet: Fleet) -> None:
    fleet.create(
        1,
        Tags=[
            {"Key": "app", "Value": "hello", "PropagateAtLaunch": True},
            {"Key": "own", "Value": "1", "PropagateAtLaunch": False},
        ],
    )
    turn()

    tags = fleet.tags(fleet.ids[0])
    assert (tags["app"], tags["aws:autoscaling:groupName"]) == ("hello", fleet.name)
    assert "own" not in tags


@pytest.mark.parametrize("state", ["terminated", "stopped", "shutting-down"])
def test_a_dead_machine_is_replaced(fleet: Fleet, state: str) -> None:
    fleet.create(2)
    turn(times=2)
    dead, other = fleet.ids
    set_state(fleet.account, dead, state)
    turn()
    set_state(fleet.account, dead, "terminated")
    turn(times=2)

    assert fleet.lives == ["InService"] * 2
    assert dead not in fleet.ids
    assert other in fleet.ids
    assert dead not in registered(fleet.account, fleet.target_group)
    causes = [activity["Cause"] for activity in fleet.activities]
    assert any("indicating it has been terminated or stopped" in cause for cause in causes)
    assert any("an unhealthy instance needing to be replaced" in cause for cause in causes)


def test_an_instance_that_is_terminated_through_ec2_is_replaced(fleet: Fleet) -> None:
    fleet.create(1)
    turn(times=2)
    (dead,) = fleet.ids
    fleet.ec2.terminate_instances(InstanceIds=[dead])
    turn(times=3)

    assert fleet.lives == ["InService"]
    assert fleet.ids != [dead]


def test_an_unhealthy_target_is_replaced_after_the_grace_period(fleet: Fleet) -> None:
    fleet.create(1, HealthCheckGracePeriod=60)
    turn(times=2)
    (sick,) = fleet.ids
    set_health(fleet.target_group, sick, "unhealthy")
    turn(50)
    in_grace = fleet.lives
    turn(61)

    assert in_grace == ["InService"]
    assert sick not in [i for i, life in zip(fleet.ids, fleet.lives, strict=True) if "In" in life]
    turn(62)
    assert fleet.lives == ["InService"]
    assert any("ELB system health check" in activity["Cause"] for activity in fleet.activities)


def test_a_grace_period_of_zero_stays_zero(fleet: Fleet) -> None:
    fleet.create(1)
    assert fleet.raw["HealthCheckGracePeriod"] == 0
    turn(times=2)
    (sick,) = fleet.ids
    set_health(fleet.target_group, sick, "unhealthy")
    turn(times=2)

    assert sick not in fleet.ids


@pytest.mark.parametrize("state", ["unused", "initial", "healthy", "draining"])
def test_other_states_of_a_target_are_no_reason(fleet: Fleet, state: str) -> None:
    fleet.create(1)
    turn(times=2)
    before = fleet.ids
    set_health(fleet.target_group, before[0], state)
    turn(100, times=2)
    HEALTH.forget(fleet.target_group, before[0], 80)

    assert (fleet.ids, fleet.lives) == (before, ["InService"])


def test_an_ec2_checked_group_does_not_ask_the_balancer(fleet: Fleet) -> None:
    fleet.create(1, HealthCheckType="EC2")
    turn(times=2)
    set_health(fleet.target_group, fleet.ids[0], "unhealthy")
    turn(times=2)

    assert fleet.lives == ["InService"]


def test_an_instance_is_called_unhealthy_by_hand(fleet: Fleet) -> None:
    fleet.create(1, HealthCheckGracePeriod=300)
    turn(times=2)
    (sick,) = fleet.ids
    health = fleet.autoscaling.set_instance_health
    health(InstanceId=sick, HealthStatus="Unhealthy")
    turn(times=2)
    in_grace = fleet.ids
    health(InstanceId=sick, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    turn(times=2)

    assert in_grace == [sick]
    assert sick not in fleet.ids
    with pytest.raises(ClientError, match="ValidationError"):
        health(InstanceId="i-0123", HealthStatus="Unhealthy")


def test_scale_in_drains_before_it_terminates(fleet: Fleet) -> None:
    fleet.create(2)
    turn(times=2)
    first, _ = fleet.ids
    fleet.use_target_group()
    fleet.autoscaling.set_desired_capacity(AutoScalingGroupName=fleet.name, DesiredCapacity=1)
    turn(times=3)
    draining = (fleet.lives, fleet.state(first), registered(fleet.account, fleet.target_group))
    status = fleet.activities[0]["StatusCode"]
    HEALTH.forget(fleet.target_group, first, 80)
    turn()

    assert draining == (["Terminating", "InService"], "running", {fleet.ids[-1]})
    assert status == "WaitingForELBConnectionDraining"
    assert fleet.state(first) == "terminated"
    assert fleet.lives == ["InService"]
    activity = fleet.activities[0]
    assert activity["StatusCode"] == "Successful"
    assert "shrinking the capacity from 2 to 1" in activity["Cause"]
    assert "a user request explicitly set group desired capacity" in activity["Cause"]


def test_scale_in_keeps_zones_even_and_spares_the_protected(fleet: Fleet) -> None:
    fleet.create(4)
    turn(times=2)
    zones = {one["InstanceId"]: one["AvailabilityZone"] for one in fleet.raw["Instances"]}
    spared = fleet.ids[0]
    fleet.autoscaling.set_instance_protection(
        AutoScalingGroupName=fleet.name, InstanceIds=[spared], ProtectedFromScaleIn=True
    )
    fleet.update(DesiredCapacity=2)
    turn(times=2)

    assert len(fleet.ids) == 2
    assert spared in fleet.ids
    assert set(Counter(zones[i] for i in fleet.ids).values()) == {1}

    fleet.update(DesiredCapacity=0)
    turn(times=2)
    assert fleet.ids == [spared]


@pytest.mark.parametrize(
    ("process", "left"),
    [("Launch", 0), ("Terminate", 1), ("ReplaceUnhealthy", 1), ("HealthCheck", 1)],
)
def test_suspended_processes_do_not_happen(fleet: Fleet, process: str, left: int) -> None:
    fleet.create(1)
    turn(times=2)
    (old,) = fleet.ids
    fleet.autoscaling.suspend_processes(AutoScalingGroupName=fleet.name, ScalingProcesses=[process])
    set_health(fleet.target_group, old, "unhealthy")
    turn(times=3)
    suspended = fleet.ids
    fleet.autoscaling.resume_processes(AutoScalingGroupName=fleet.name)
    turn(times=3)

    assert suspended == [old][:left]
    assert fleet.lives == ["InService"]
    assert fleet.ids != [old]


def test_instances_stay_out_of_the_balancer_when_that_is_suspended(fleet: Fleet) -> None:
    fleet.create(0)
    fleet.autoscaling.suspend_processes(
        AutoScalingGroupName=fleet.name, ScalingProcesses=["AddToLoadBalancer"]
    )
    fleet.update(DesiredCapacity=1)
    turn(times=2)

    assert fleet.lives == ["InService"]
    assert registered(fleet.account, fleet.target_group) == set()


def test_launch_hooks_hold_an_instance_until_they_are_answered(fleet: Fleet) -> None:
    fleet.create(0)
    hook = {"AutoScalingGroupName": fleet.name, "LifecycleHookName": "warm"}
    fleet.autoscaling.put_lifecycle_hook(
        **hook, LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING", HeartbeatTimeout=60
    )
    fleet.update(DesiredCapacity=1)
    turn(times=3)
    held = (fleet.lives, registered(fleet.account, fleet.target_group))
    (instance_id,) = fleet.ids
    turn(30)
    fleet.autoscaling.record_lifecycle_action_heartbeat(**hook, InstanceId=instance_id)
    fleet.autoscaling.complete_lifecycle_action(
        **hook, InstanceId=instance_id, LifecycleActionResult="CONTINUE"
    )
    turn()

    assert held == (["Pending:Wait"], set())
    assert fleet.lives == ["InService"]
    with pytest.raises(ClientError, match="No active Lifecycle Action"):
        fleet.autoscaling.complete_lifecycle_action(
            **hook, InstanceId=instance_id, LifecycleActionResult="CONTINUE"
        )


def test_a_launch_hook_that_nobody_answers_abandons_the_instance(fleet: Fleet) -> None:
    fleet.create(0)
    fleet.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=fleet.name, LifecycleHookName="warm",
        LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING", HeartbeatTimeout=60,
    )  # fmt: skip
    fleet.update(DesiredCapacity=1)
    turn(times=2)
    (first,) = fleet.ids
    turn(61)

    assert fleet.state(first) == "terminated"
    assert fleet.lives == ["Pending"]


def test_a_termination_hook_holds_the_machine(fleet: Fleet) -> None:
    fleet.create(1)
    turn(times=2)
    (instance_id,) = fleet.ids
    hook = {"AutoScalingGroupName": fleet.name, "LifecycleHookName": "goodbye"}
    fleet.autoscaling.put_lifecycle_hook(
        **hook, LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING"
    )
    fleet.update(DesiredCapacity=0)
    turn(times=2)
    held = (fleet.lives, fleet.state(instance_id), fleet.activities[0]["StatusCode"])
    fleet.autoscaling.complete_lifecycle_action(
        **hook, InstanceId=instance_id, LifecycleActionResult="ABANDON"
    )
    turn()

    assert held == (["Terminating:Wait"], "running", "MidLifecycleAction")
    assert (fleet.lives, fleet.state(instance_id)) == ([], "terminated")


def test_a_failed_launch_is_told_and_tried_again_less_and_less_often(fleet: Fleet) -> None:
    fleet.create(0)
    fleet.ec2.deregister_image(ImageId=fleet.image_id)
    fleet.update(DesiredCapacity=1)
    for later in (0, 0.5, 1.1, 2, 3.2, 100, 101):
        turn(later)

    failed = fleet.activities
    assert [activity["StatusCode"] for activity in failed] == ["Failed"] * 4
    assert fleet.image_id in failed[0]["StatusMessage"]
    assert failed[0]["StatusMessage"].endswith("Launching EC2 instance failed.")
    assert "increasing the capacity from 0 to 1" in failed[0]["Cause"]

    other = register_image(fleet.account)
    fleet.ec2.create_launch_template_version(
        LaunchTemplateName=fleet.name, LaunchTemplateData={"ImageId": other}
    )
    fleet.update(LaunchTemplate={"LaunchTemplateName": fleet.name, "Version": "$Latest"})
    turn(times=2)
    assert fleet.lives == ["InService"]
    assert fleet.raw["Instances"][0]["LaunchTemplate"]["Version"] == "2"


def test_activities_say_who_asked(fleet: Fleet) -> None:
    fleet.create(1)
    turn()
    running = fleet.activities
    turn()

    assert [one["StatusCode"] for one in running] == ["InProgress"]
    (activity,) = fleet.activities
    assert (activity["StatusCode"], activity["Progress"]) == ("Successful", 100)
    assert activity["Description"] == f"Launching a new EC2 instance: {fleet.ids[0]}"
    assert "a user request created an AutoScalingGroup" in activity["Cause"]
    assert "changing the desired capacity from 0 to 1" in activity["Cause"]
    assert activity["EndTime"] >= activity["StartTime"]


@pytest.mark.parametrize(
    "sizes",
    [
        {"MinSize": 3, "MaxSize": 2},
        {"DesiredCapacity": 5},
        {"MinSize": 2, "DesiredCapacity": 1},
    ],
)
def test_sizes_that_do_not_go_together_are_refused(fleet: Fleet, sizes: dict[str, int]) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        fleet.create(**({"desired": 1, **sizes}))
    assert not fleet.raw
    fleet.create(1)
    with pytest.raises(ClientError, match="ValidationError"):
        fleet.update(**{"MinSize": 0, "MaxSize": 4, **sizes})
    assert (fleet.raw["MinSize"], fleet.raw["MaxSize"]) == (0, 4)


def test_the_desired_capacity_moves_into_new_bounds(fleet: Fleet) -> None:
    fleet.create(1)
    fleet.update(MinSize=2)
    raised = fleet.raw["DesiredCapacity"]
    fleet.update(MinSize=0, MaxSize=1)

    assert (raised, fleet.raw["DesiredCapacity"]) == (2, 1)


@pytest.mark.parametrize(("wanted", "words"), [(5, "above max value 4"), (0, "below min value 1")])
def test_a_desired_capacity_outside_the_bounds_is_refused(
    fleet: Fleet, wanted: int, words: str
) -> None:
    fleet.create(1, MinSize=1)

    with pytest.raises(ClientError, match=f"ValidationError.*{words}"):
        fleet.autoscaling.set_desired_capacity(
            AutoScalingGroupName=fleet.name, DesiredCapacity=wanted
        )


def test_a_group_with_instances_is_deleted_by_force_only(fleet: Fleet) -> None:
    fleet.create(2)
    turn(times=2)
    ids = fleet.ids
    with pytest.raises(ClientError, match="ResourceInUse"):
        fleet.delete(force=False)
    fleet.delete(force=True)
    going = (fleet.raw["Status"], fleet.lives)
    with pytest.raises(ClientError, match="AlreadyExists"):
        fleet.create(1)
    with pytest.raises(ClientError, match="pending delete"):
        fleet.update(DesiredCapacity=1)
    turn()

    assert going == ("Delete in progress", ["Terminating"] * 2)
    assert fleet.raw is None
    assert {fleet.state(instance_id) for instance_id in ids} == {"terminated"}


def test_an_empty_group_is_gone_at_once(fleet: Fleet) -> None:
    fleet.create(0)
    fleet.delete(force=False)

    assert fleet.raw is None


def test_a_group_that_is_deleted_stays_until_its_machines_are_gone(fleet: Fleet) -> None:
    fleet.create(1)
    turn(times=2)
    (instance_id,) = fleet.ids
    fleet.delete(force=True)
    turn()
    model_gone = fleet.raw is None
    assert model_gone
    assert fleet.state(instance_id) == "terminated"


def test_what_is_not_there_is_the_callers_mistake(fleet: Fleet) -> None:
    nobody = {"AutoScalingGroupName": "nobody"}
    asg = fleet.autoscaling
    calls: list[Any] = [
        lambda: asg.update_auto_scaling_group(**nobody, MinSize=1),
        lambda: asg.delete_auto_scaling_group(**nobody),
        lambda: asg.set_desired_capacity(**nobody, DesiredCapacity=1),
        lambda: asg.suspend_processes(**nobody),
        lambda: asg.describe_scaling_activities(**nobody),
        lambda: asg.attach_load_balancer_target_groups(**nobody, TargetGroupARNs=["arn:x"]),
        lambda: asg.create_or_update_tags(
            Tags=[{"ResourceId": "nobody", "ResourceType": "auto-scaling-group", "Key": "a"}]
        ),
        lambda: asg.terminate_instance_in_auto_scaling_group(
            InstanceId="i-0123", ShouldDecrementDesiredCapacity=False
        ),
        lambda: fleet.create(1, LaunchTemplate={"LaunchTemplateName": "nobody", "Version": "1"}),
        lambda: fleet.create(1, LaunchTemplate={"LaunchTemplateName": fleet.name, "Version": "9"}),
        lambda: fleet.create(1, LaunchTemplate={}, LaunchConfigurationName="nobody"),
        lambda: asg.execute_policy(**nobody, PolicyName="nobody"),
        lambda: asg.put_lifecycle_hook(
            **nobody,
            LifecycleHookName="x",
            LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING",
        ),
        lambda: fleet.create(1, TargetGroupARNs=[f"{fleet.target_group}0"]),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="ValidationError") as caught:
            call()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    answer = asg.describe_auto_scaling_groups(AutoScalingGroupNames=["nobody"])
    assert answer["AutoScalingGroups"] == []


def test_a_template_whose_image_is_gone_is_refused(fleet: Fleet) -> None:
    fleet.ec2.deregister_image(ImageId=fleet.image_id)

    with pytest.raises(ClientError, match=r"ValidationError.*fully-formed.*does not exist"):
        fleet.create(1)


@pytest.mark.parametrize(("decrement", "left"), [(True, 1), (False, 2)])
def test_one_instance_is_terminated_by_hand(fleet: Fleet, *, decrement: bool, left: int) -> None:
    fleet.create(2, MinSize=1)
    turn(times=2)
    first = fleet.ids[0]
    terminate = fleet.autoscaling.terminate_instance_in_auto_scaling_group
    activity = terminate(InstanceId=first, ShouldDecrementDesiredCapacity=decrement)["Activity"]
    turn(times=2)

    assert "in response to a user request" in activity["Cause"]
    assert (fleet.lives, fleet.raw["DesiredCapacity"]) == (["InService"] * left, left)
    assert first not in fleet.ids
    if decrement:
        with pytest.raises(ClientError, match="desiredSize equals minSize"):
            terminate(InstanceId=fleet.ids[0], ShouldDecrementDesiredCapacity=True)


def test_target_groups_come_and_go(fleet: Fleet) -> None:
    fleet.create(1, TargetGroupARNs=[])
    turn(times=2)
    before = registered(fleet.account, fleet.target_group)
    both = {"AutoScalingGroupName": fleet.name, "TargetGroupARNs": [fleet.target_group]}
    fleet.autoscaling.attach_load_balancer_target_groups(**both)
    attached = registered(fleet.account, fleet.target_group)
    fleet.autoscaling.detach_load_balancer_target_groups(**both)

    assert (before, attached) == (set(), set(fleet.ids))
    assert registered(fleet.account, fleet.target_group) == set()
    assert fleet.raw["TargetGroupARNs"] == []


def test_standby_is_out_of_the_balancer_and_not_counted(fleet: Fleet) -> None:
    fleet.create(1)
    turn(times=2)
    (first,) = fleet.ids
    asked = {"AutoScalingGroupName": fleet.name, "InstanceIds": [first]}
    fleet.autoscaling.enter_standby(**asked, ShouldDecrementDesiredCapacity=True)
    turn(times=2)
    standby = (fleet.lives, registered(fleet.account, fleet.target_group))
    fleet.autoscaling.exit_standby(**asked)
    turn()

    assert standby == (["Standby"], set())
    assert (fleet.ids, fleet.lives) == ([first], ["InService"])
    assert registered(fleet.account, fleet.target_group) == {first}


def test_tags_are_changed_and_found(fleet: Fleet) -> None:
    mark = uuid.uuid4().hex
    fleet.create(0, Tags=[{"Key": "mark", "Value": "old"}])
    tag: Any = {"ResourceId": fleet.name, "ResourceType": "auto-scaling-group", "Key": "mark"}
    fleet.autoscaling.create_or_update_tags(
        Tags=[{**tag, "Value": mark, "PropagateAtLaunch": False}]
    )
    pages = fleet.autoscaling.get_paginator("describe_auto_scaling_groups")

    def found() -> list[str]:
        filters: Any = [{"Name": "tag:mark", "Values": [mark]}]
        return [
            group["AutoScalingGroupName"]
            for page in pages.paginate(Filters=filters, PaginationConfig={"PageSize": 1})
            for group in page["AutoScalingGroups"]
        ]

    tagged = found()
    fleet.autoscaling.delete_tags(Tags=[tag])

    assert (tagged, found()) == ([fleet.name], [])


def test_groups_are_listed_in_pages(endpoint: Endpoint) -> None:
    fleets = [Fleet(endpoint.development) for _ in range(3)]
    for one in fleets:
        one.create(0)
    pages = endpoint.development.autoscaling.get_paginator("describe_auto_scaling_groups")
    found = [
        [group["AutoScalingGroupName"] for group in page["AutoScalingGroups"]]
        for page in pages.paginate(PaginationConfig={"PageSize": 2})
    ]
    for one in fleets:
        one.delete(force=True)

    assert all(len(page) <= 2 for page in found)
    assert {one.name for one in fleets} <= {name for page in found for name in page}


def test_a_group_knows_when_it_was_made(fleet: Fleet) -> None:
    fleet.create(0)

    assert abs(fleet.raw["CreatedTime"].timestamp() - time.time()) < 10
    assert fleet.raw["CreatedTime"].astimezone(UTC) <= datetime.fromtimestamp(
        time.time() + 1, tz=UTC
    )


class SlowRoom:
    """A machine room whose machines come and go when the test says so."""

    def wake(self) -> None: ...

    def reboot(self, instance_id: str) -> None: ...

    def console(self, instance_id: str) -> bytes:
        return b""


def test_a_group_waits_for_its_machines_to_come_and_to_go(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances.REALITY, "room", SlowRoom())
    fleet.create(1)
    turn(times=3)
    (instance_id,) = fleet.ids
    seen = [(fleet.lives, fleet.state(instance_id))]
    finish(fleet.account, instance_id, "running")
    turn()
    seen.append((fleet.lives, fleet.state(instance_id)))
    fleet.delete(force=True)
    turn(times=3)
    seen.append((fleet.lives, fleet.state(instance_id)))
    finish(fleet.account, instance_id, "terminated")
    turn()

    assert seen == [
        (["Pending"], "pending"),
        (["InService"], "running"),
        (["Terminating:Proceed"], "shutting-down"),
    ]
    assert fleet.raw is None


def test_a_protected_instance_is_terminated_by_its_group(fleet: Fleet) -> None:
    fleet.create(1)
    turn(times=2)
    (instance_id,) = fleet.ids
    fleet.ec2.modify_instance_attribute(
        InstanceId=instance_id, DisableApiTermination={"Value": True}
    )
    fleet.update(DesiredCapacity=0)
    turn(times=2)

    assert fleet.state(instance_id) == "terminated"


def test_the_loop_follows_by_itself(fleet: Fleet) -> None:
    with groups.running():
        fleet.create(2)
        deadline = time.monotonic() + 15
        while fleet.lives != ["InService"] * 2 and time.monotonic() < deadline:
            pass
        launched = fleet.lives
        fleet.delete(force=True)
        while fleet.raw and time.monotonic() < deadline:
            pass

    assert launched == ["InService"] * 2
    assert fleet.raw is None


def test_an_instance_that_is_attached_counts(fleet: Fleet) -> None:
    fleet.create(0)
    made = fleet.ec2.run_instances(
        ImageId=fleet.image_id, MinCount=1, MaxCount=1, SubnetId=fleet.subnets[0]
    )["Instances"][0]["InstanceId"]
    set_state(fleet.account, made, "running")
    fleet.autoscaling.attach_instances(AutoScalingGroupName=fleet.name, InstanceIds=[made])
    turn(times=2)

    assert (fleet.ids, fleet.lives) == ([made], ["InService"])
    assert registered(fleet.account, fleet.target_group) == {made}
    assert model(fleet.account, fleet.name).desired_capacity == 1
