"""Server groups with all that a manifest may say of them, read back from AWS; and copied."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ovenbird.domain.apps import AlarmSpec
from ovenbird.domain.clusters import Capacity
from ovenbird.domain.errors import CloudError, InvalidRequest
from ovenbird.domain.launching import (
    InstanceMix,
    LaunchSpec,
    LifecycleHook,
    RootVolume,
    Schedule,
    Step,
    StepScaling,
    TargetTracking,
    WarmPool,
)
from ovenbird.domain.names import ServerGroupName
from ovenbird.sandbox.endpoint import Endpoint
from tests.sandbox.fleet import turn
from tests.sandbox.test_server_groups import Deployment, Place

pytestmark = pytest.mark.sandbox

TOPIC = "arn:aws:sns:eu-west-1:222222222222:pages"
BUSY = AlarmSpec(
    name="busy", metric="CPUUtilization", namespace="AWS/EC2", statistic="Average",
    threshold=70, comparison=">=", periods=2, of_periods=3, period_s=60, missing="missing",
    guard=False, notify=(TOPIC,),
)  # fmt: skip
QUEUE = AlarmSpec(
    name="queue", metric="Backlog", namespace="Hello", statistic="p90", threshold=5,
    dimensions={"Cluster": "{cluster}", "Group": "{server_group}"},
)  # fmt: skip
SCALING = (
    TargetTracking(name="cpu", metric="cpu", target=50, warm_up_s=60),
    TargetTracking(name="requests", metric="requests_per_target", target=1000, scale_in=False),
    TargetTracking(
        name="backlog", metric="Backlog", namespace="Hello", target=10,
        dimensions={"Group": "{server_group}"},
    ),
    StepScaling(
        name="burst", alarm="busy", unit="percent", min_change=1,
        steps=(Step(above=0, below=20, change=10), Step(above=20, change=50)),
    ),
)  # fmt: skip
SCHEDULES = (
    Schedule(name="morning", recurrence="0 7 * * 1-5", time_zone="Europe/Berlin", min=1, desired=2),
    Schedule(name="sale", start="2036-11-27T00:00:00+01:00", max=6),
)


def everything(zone: str) -> LaunchSpec:
    return LaunchSpec(
        instances=InstanceMix(types=("m5.large", "m4.large"), on_demand_base=1),
        zones=(zone,),
        security_groups=("default",),
        detailed_monitoring=True,
        hop_limit=2,
        metadata_tags=True,
        root_volume=RootVolume(size_gib=5, kind="gp3", iops=3000, throughput_mib_s=250),
        health_check="ec2",
        grace_s=7,
        termination_policies=("OldestInstance",),
        capacity_rebalance=True,
        warm_pool=WarmPool(min=1, max_prepared=4, state="running", reuse=True),
        lifecycle_hooks=(LifecycleHook(name="warm", transition="launch", timeout_s=60),),
        suspended_processes=("AZRebalance",),
        warm_up_s=30,
        max_lifetime_s=86_400,
        scaling=SCALING,
        schedules=SCHEDULES,
    )


class Seen:
    """A server group as AWS describes it."""

    def __init__(self, here: Deployment, name: ServerGroupName) -> None:
        account, self.name = here.place.account, str(name)
        self.autoscaling: Any = account.autoscaling
        self.cloudwatch: Any = account.cloudwatch
        self.ec2: Any = account.ec2

    @property
    def group(self) -> Any:
        found = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        return found["AutoScalingGroups"][0]

    @property
    def template(self) -> Any:
        found = self.ec2.describe_launch_template_versions(LaunchTemplateName=self.name)
        (version,) = found["LaunchTemplateVersions"]
        return version["LaunchTemplateData"]

    @property
    def policies(self) -> dict[str, Any]:
        found = self.autoscaling.describe_policies(AutoScalingGroupName=self.name)
        return {one["PolicyName"]: one for one in found["ScalingPolicies"]}

    @property
    def schedules(self) -> dict[str, Any]:
        found = self.autoscaling.describe_scheduled_actions(AutoScalingGroupName=self.name)
        return {one["ScheduledActionName"]: one for one in found["ScheduledUpdateGroupActions"]}

    @property
    def alarms(self) -> dict[str, Any]:
        found = self.cloudwatch.describe_alarms(AlarmNamePrefix=f"{self.name}-")
        return {
            one["AlarmName"].removeprefix(f"{self.name}-"): one for one in found["MetricAlarms"]
        }


@pytest.fixture(scope="module")
def place(endpoint: Endpoint) -> Place:
    return Place(endpoint.production)


@pytest.fixture
def here(place: Place) -> Iterator[Deployment]:
    deployment = Deployment(place)
    yield deployment
    for name in deployment.made:
        deployment.groups.destroy(name)


def zone_of(place: Place) -> tuple[str, str]:
    """Return a zone of the settings, and its subnet."""
    subnet_id = place.groups._network.subnet_ids[1]
    (subnet,) = place.account.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    return subnet["AvailabilityZone"], subnet_id


def test_a_group_with_everything_is_read_back(here: Deployment) -> None:
    zone, subnet_id = zone_of(here.place)
    name = here.create(launch=everything(zone), alarms=(BUSY, QUEUE))
    seen = Seen(here, name)
    group, data = seen.group, seen.template

    assert group["VPCZoneIdentifier"] == subnet_id
    assert (group["HealthCheckType"], group["HealthCheckGracePeriod"]) == ("EC2", 7)
    assert (group["TerminationPolicies"], group["CapacityRebalance"]) == (["OldestInstance"], True)
    assert (group["DefaultInstanceWarmup"], group["MaxInstanceLifetime"]) == (30, 86_400)
    assert [one["ProcessName"] for one in group["SuspendedProcesses"]] == ["AZRebalance"]
    mixed = group["MixedInstancesPolicy"]
    assert [one["InstanceType"] for one in mixed["LaunchTemplate"]["Overrides"]] == [
        "m5.large", "m4.large",
    ]  # fmt: skip
    assert mixed["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == "1"
    pool = seen.autoscaling.describe_warm_pool(AutoScalingGroupName=str(name))
    assert pool["WarmPoolConfiguration"] == {
        "MaxGroupPreparedCapacity": 4, "MinSize": 1, "PoolState": "Running",
        "InstanceReusePolicy": {"ReuseOnScaleIn": True},
    }  # fmt: skip
    (hook,) = seen.autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=str(name))[
        "LifecycleHooks"
    ]
    assert (hook["LifecycleHookName"], hook["DefaultResult"]) == ("warm", "ABANDON")
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert int(data["MetadataOptions"]["HttpPutResponseHopLimit"]) == 2
    assert data["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    (device,) = data["BlockDeviceMappings"]
    assert (device["DeviceName"], device["Ebs"]["VolumeType"]) == ("/dev/xvda", "gp3")
    assert len(data["SecurityGroupIds"]) == 2
    kinds = {one["ResourceType"] for one in data["TagSpecifications"]}
    assert kinds >= {"instance", "volume", "network-interface"}


def test_instances_have_what_the_template_says_and_wait_for_their_hook(here: Deployment) -> None:
    zone, subnet_id = zone_of(here.place)
    name = here.create(launch=everything(zone), alarms=(BUSY,))
    turn(times=3)
    seen = Seen(here, name)
    first = seen.group["Instances"][0]
    found = seen.ec2.describe_instances(InstanceIds=[first["InstanceId"]])
    (instance,) = found["Reservations"][0]["Instances"]
    volume = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (disk,) = seen.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]

    assert first["LifecycleState"] == "Pending:Wait"
    assert (instance["InstanceType"], instance["SubnetId"]) == ("m5.large", subnet_id)
    assert instance["Monitoring"]["State"] == "enabled"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    assert len(instance["SecurityGroups"]) == 2
    assert (disk["Size"], disk["VolumeType"]) == (5, "gp3")


def test_policies_alarms_and_schedules_are_read_back(here: Deployment) -> None:
    zone, _ = zone_of(here.place)
    name = here.create(launch=everything(zone), alarms=(BUSY, QUEUE))
    seen = Seen(here, name)
    policies, alarms, schedules = seen.policies, seen.alarms, seen.schedules

    assert sorted(policies) == ["backlog", "burst", "cpu", "requests"]
    tracked = policies["requests"]["TargetTrackingConfiguration"]
    label = tracked["PredefinedMetricSpecification"]["ResourceLabel"]
    assert label.startswith("app/place-")
    assert label.endswith(here.see()[1].target_group.rsplit(":", 1)[1])
    assert tracked["DisableScaleIn"] is True
    own = policies["backlog"]["TargetTrackingConfiguration"]["CustomizedMetricSpecification"]
    assert own["Dimensions"] == [{"Name": "Group", "Value": str(name)}]
    assert policies["burst"]["AdjustmentType"] == "PercentChangeInCapacity"
    assert len(policies["burst"]["StepAdjustments"]) == 2
    busy = alarms["busy"]
    assert busy["AlarmActions"] == [policies["burst"]["PolicyARN"], TOPIC]
    assert busy["OKActions"] == [TOPIC]
    assert busy["Dimensions"] == [{"Name": "AutoScalingGroupName", "Value": str(name)}]
    assert (busy["EvaluationPeriods"], busy["DatapointsToAlarm"]) == (3, 2)
    assert busy["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert (busy["TreatMissingData"], busy["Period"]) == ("missing", 60)
    assert {one["Name"]: one["Value"] for one in alarms["queue"]["Dimensions"]} == {
        "Cluster": str(here.cluster), "Group": str(name),
    }  # fmt: skip
    assert alarms["queue"]["ExtendedStatistic"] == "p90"
    assert (schedules["morning"]["Recurrence"], schedules["morning"]["MinSize"]) == (
        "0 7 * * 1-5", 1,
    )  # fmt: skip
    assert schedules["sale"]["MaxSize"] == 6


def test_a_second_run_changes_nothing(here: Deployment) -> None:
    zone, _ = zone_of(here.place)
    name = here.create(launch=everything(zone), alarms=(BUSY, QUEUE))
    seen = Seen(here, name)
    before = (seen.policies, seen.schedules, sorted(seen.alarms), seen.template)
    here.create(launch=everything(zone), alarms=(BUSY, QUEUE))

    assert (seen.policies, seen.schedules, sorted(seen.alarms), seen.template) == before


@pytest.mark.parametrize("call", ["put_warm_pool", "put_scaling_policy", "put_metric_alarm"])
def test_what_a_failure_left_half_made_is_completed(
    here: Deployment, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    zone, _ = zone_of(here.place)
    owner: Any = here.groups._alarms if call == "put_metric_alarm" else here.groups._scaling
    client = "_cloudwatch" if call == "put_metric_alarm" else "_autoscaling"
    whole = getattr(owner, client)

    class Failing:
        def __getattr__(self, name: str) -> Any:
            if name == call:
                raise CloudError("AWS refused it")
            return getattr(whole, name)

    with monkeypatch.context() as patch:
        patch.setattr(owner, client, Failing())
        with pytest.raises(CloudError, match="refused it"):
            here.create(launch=everything(zone), alarms=(BUSY, QUEUE))
    name = here.create(launch=everything(zone), alarms=(BUSY, QUEUE))

    seen = Seen(here, name)
    assert len(seen.policies) == 4
    assert sorted(seen.alarms) == ["busy", "queue"]
    assert sorted(seen.schedules) == ["morning", "sale"]


def test_policies_and_schedules_are_copied_from_the_group_before(here: Deployment) -> None:
    first = here.create(
        launch=LaunchSpec(scaling=SCALING, schedules=SCHEDULES), alarms=(BUSY, QUEUE)
    )
    by_hand = Seen(here, first)
    arn = by_hand.autoscaling.put_scaling_policy(
        AutoScalingGroupName=str(first), PolicyName="in", PolicyType="SimpleScaling",
        AdjustmentType="ChangeInCapacity", ScalingAdjustment=-1, Cooldown=9,
    )["PolicyARN"]  # fmt: skip
    by_hand.cloudwatch.put_metric_alarm(
        AlarmName="idle", Namespace="AWS/EC2", MetricName="CPUUtilization", Statistic="Average",
        Period=60, EvaluationPeriods=5, Threshold=5, ComparisonOperator="LessThanThreshold",
        Dimensions=[{"Name": "AutoScalingGroupName", "Value": str(first)}], AlarmActions=[arn],
    )  # fmt: skip
    second = here.create(2, alarms=(BUSY,), copies=first)
    third = here.create(3, alarms=(BUSY,), copies=first, launch=LaunchSpec(scaling=()))
    seen, none = Seen(here, second), Seen(here, third)
    policies, alarms = seen.policies, seen.alarms

    assert sorted(policies) == ["backlog", "burst", "cpu", "in", "requests"]
    assert policies["in"]["ScalingAdjustment"] == -1
    tracked = policies["requests"]["TargetTrackingConfiguration"]
    label = tracked["PredefinedMetricSpecification"]["ResourceLabel"]
    assert label.endswith(here.see()[2].target_group.rsplit(":", 1)[1])
    own = policies["backlog"]["TargetTrackingConfiguration"]["CustomizedMetricSpecification"]
    assert own["Dimensions"] == [{"Name": "Group", "Value": str(second)}]
    assert sorted(alarms) == ["busy", "idle"]
    assert alarms["busy"]["AlarmActions"] == [policies["burst"]["PolicyARN"], TOPIC]
    assert alarms["idle"]["AlarmActions"] == [policies["in"]["PolicyARN"]]
    assert alarms["idle"]["Dimensions"] == [{"Name": "AutoScalingGroupName", "Value": str(second)}]
    assert sorted(seen.schedules) == ["morning", "sale"]
    assert (none.policies, sorted(none.schedules)) == ({}, ["morning", "sale"])
    here.groups.destroy(second)
    assert (seen.alarms, sorted(by_hand.policies)) == ({}, sorted(policies))
    by_hand.cloudwatch.delete_alarms(AlarmNames=["idle"])


def test_a_pin_lets_schedules_rest_and_an_unpin_lets_them_go_on(here: Deployment) -> None:
    name = here.create(launch=LaunchSpec(schedules=SCHEDULES))
    seen = Seen(here, name)
    for _ in range(2):
        here.groups.pin(name)
    pinned = {one["ProcessName"] for one in seen.group["SuspendedProcesses"]}
    for _ in range(2):
        here.groups.unpin(name)

    assert pinned == {"ScheduledActions"}
    assert seen.group["SuspendedProcesses"] == []
    assert (here.see()[1].capacity.min, here.see()[1].pinned_min) == (1, None)


def test_schedules_that_rested_before_a_pin_rest_after_it(here: Deployment) -> None:
    name = here.create(launch=LaunchSpec(suspended_processes=("ScheduledActions",)))
    here.groups.pin(name)
    here.groups.unpin(name)

    (found,) = Seen(here, name).group["SuspendedProcesses"]
    assert found["ProcessName"] == "ScheduledActions"


def test_a_group_that_a_person_keeps_from_terminating_is_destroyed(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)
    seen = Seen(here, name)
    seen.autoscaling.suspend_processes(
        AutoScalingGroupName=str(name), ScalingProcesses=["Terminate"]
    )
    here.groups.destroy(name)

    assert here.see() == {}


def test_a_zone_or_security_group_that_is_not_there_is_refused(here: Deployment) -> None:
    with pytest.raises(InvalidRequest, match="No subnet of the settings is in zone `mars-1a`"):
        here.create(launch=LaunchSpec(zones=("mars-1a",)))
    with pytest.raises(InvalidRequest, match="No security group `nobody`"):
        here.create(launch=LaunchSpec(security_groups=("nobody",)))


def test_topics_of_the_settings_are_told_unless_an_alarm_names_others(here: Deployment) -> None:
    here.groups._alarms._topics = ("arn:aws:sns:eu-west-1:222222222222:all",)
    name = here.create(alarms=(BUSY, QUEUE))
    here.groups._alarms._topics = ()
    alarms = Seen(here, name).alarms

    assert alarms["busy"]["AlarmActions"] == [TOPIC]
    assert alarms["queue"]["AlarmActions"] == ["arn:aws:sns:eu-west-1:222222222222:all"]


def test_an_alarm_of_others_is_heard_and_missed(here: Deployment, endpoint: Endpoint) -> None:
    cloudwatch = endpoint.production.cloudwatch
    cloudwatch.put_metric_alarm(
        AlarmName="checkout", Namespace="Shop", MetricName="Errors", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName="checkout", StateValue="ALARM", StateReason="by hand")
    alarms = here.groups._alarms

    assert alarms.firing(["checkout", "nobody"]) == {"checkout": "by hand"}
    assert alarms.missing(["checkout", "nobody"]) == ("nobody",)
    cloudwatch.delete_alarms(AlarmNames=["checkout"])


def test_user_data_that_are_too_long_are_refused(here: Deployment) -> None:
    with pytest.raises(InvalidRequest, match="EC2 takes 16384"):
        here.create(environment={"A": "x" * 17_000})
    data = Seen(here, here.create(environment={"A": "b"})).template["UserData"]
    assert b'A=\\"b\\"' in base64.b64decode(data)


def test_a_schedule_whose_time_has_passed_is_not_copied(here: Deployment) -> None:
    soon = (datetime.now(tz=UTC) + timedelta(seconds=30)).isoformat()  # noqa: TID251
    first = here.create(launch=LaunchSpec(schedules=(Schedule(name="once", start=soon, max=4),)))
    clock = here.groups._scaling._clock
    later = type("Later", (), {"now": lambda _: clock.now() + timedelta(minutes=1)})()
    here.groups._scaling._clock = later
    second = here.create(2, copies=first, capacity=Capacity(min=0, desired=0, max=1))
    here.groups._scaling._clock = clock

    assert Seen(here, second).schedules == {}
