from __future__ import annotations

import base64
from datetime import UTC, datetime

from ovenbird.aws.alarms import alarm_request
from ovenbird.aws.launch_requests import (
    Surroundings,
    group_request,
    policy_request,
    schedule_request,
    template_data,
    warm_pool_request,
)
from ovenbird.aws.scaling import copied_alarm, copied_schedule, renamed
from ovenbird.domain.apps import AlarmSpec, Health
from ovenbird.domain.clusters import Capacity
from ovenbird.domain.images import ImageId
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
    user_data,
)
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import CreateServerGroup

NAME = ServerGroupName.parse("hello-prod-v002")
OLD = ServerGroupName.parse("hello-prod-v001")
ARN = "arn:aws:elasticloadbalancing:eu-west-1:1:"
WHERE = Surroundings(
    name=NAME,
    target_group=f"{ARN}targetgroup/hello-2/22",
    listener=f"{ARN}listener/app/main/11/99",
)
TAGS = {"ovenbird:app": "hello"}
PAIRS = [{"Key": "ovenbird:app", "Value": "hello"}]


def wanted(launch: LaunchSpec | None = None) -> CreateServerGroup:
    return CreateServerGroup(
        name=NAME, image_id=ImageId("ami-1"), version="1", release_id="r",
        capacity=Capacity(min=1, desired=2, max=3), port=80, health=Health(startup_s=60),
        instance_type="t3.micro", draining_s=1, path_patterns=("/*",), environment={"A": "b"},
        launch=launch or LaunchSpec(),
    )  # fmt: skip


def test_a_template_by_default() -> None:
    data = template_data(wanted(), TAGS, security_groups=["sg-1"], root_device="")

    assert data == {
        "ImageId": "ami-1",
        "InstanceType": "t3.micro",
        "SecurityGroupIds": ["sg-1"],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "UserData": base64.b64encode(user_data({"A": "b"}).encode()).decode(),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": PAIRS}
            for kind in ("instance", "volume", "network-interface")
        ],
    }


def test_a_template_with_everything() -> None:
    launch = LaunchSpec(
        instances=InstanceMix(types=("m5.large", "m4.large")), key_pair="ops",
        instance_profile="arn:aws:iam::1:instance-profile/hello", detailed_monitoring=True,
        hop_limit=2, metadata_tags=True,
        root_volume=RootVolume(size_gib=9, kind="gp3", iops=3000, throughput_mib_s=125),
    )  # fmt: skip
    data = template_data(wanted(launch), TAGS, security_groups=[], root_device="/dev/xvda")

    assert data["InstanceType"] == "m5.large"
    assert data["MetadataOptions"] == {
        "HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 2,
        "InstanceMetadataTags": "enabled",
    }  # fmt: skip
    assert data["IamInstanceProfile"] == {"Arn": "arn:aws:iam::1:instance-profile/hello"}
    assert (data["KeyName"], data["Monitoring"]) == ("ops", {"Enabled": True})
    assert data["BlockDeviceMappings"] == [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "DeleteOnTermination": True, "VolumeSize": 9, "VolumeType": "gp3", "Iops": 3000,
                "Throughput": 125,
            },
        }
    ]  # fmt: skip


def group(launch: LaunchSpec | None = None) -> dict[str, object]:
    return group_request(
        wanted(launch), TAGS, subnet_ids=["s-1", "s-2"], target_group="arn", template_version="1"
    )


def test_a_group_by_default() -> None:
    assert group() == {
        "AutoScalingGroupName": "hello-prod-v002",
        "LaunchTemplate": {"LaunchTemplateName": "hello-prod-v002", "Version": "1"},
        "MinSize": 1,
        "MaxSize": 3,
        "DesiredCapacity": 2,
        "VPCZoneIdentifier": "s-1,s-2",
        "TargetGroupARNs": ["arn"],
        "HealthCheckType": "ELB",
        "HealthCheckGracePeriod": 60,
        "Tags": [{"Key": "ovenbird:app", "Value": "hello", "PropagateAtLaunch": True}],
    }


def test_a_group_with_everything() -> None:
    hook = LifecycleHook(
        name="drain", transition="terminate", timeout_s=40, default="continue",
        notify="arn:topic", role_arn="arn:role", metadata="m",
    )  # fmt: skip
    mix = InstanceMix(types=("m5.large",), on_demand_base=1, spot_percent=80, spot_max_price="0.05")
    made = group(
        LaunchSpec(
            instances=mix, health_check="ec2", grace_s=0, termination_policies=("Default",),
            capacity_rebalance=True, lifecycle_hooks=(hook,), warm_up_s=0, max_lifetime_s=86_400,
        )
    )  # fmt: skip

    assert "LaunchTemplate" not in made
    assert made["MixedInstancesPolicy"] == {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {
                "LaunchTemplateName": "hello-prod-v002", "Version": "1",
            },
            "Overrides": [{"InstanceType": "m5.large"}],
        },
        "InstancesDistribution": {
            "OnDemandAllocationStrategy": "prioritized", "OnDemandBaseCapacity": 1,
            "OnDemandPercentageAboveBaseCapacity": 20,
            "SpotAllocationStrategy": "price-capacity-optimized", "SpotMaxPrice": "0.05",
        },
    }  # fmt: skip
    assert made["LifecycleHookSpecificationList"] == [
        {
            "LifecycleHookName": "drain",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "HeartbeatTimeout": 40, "DefaultResult": "CONTINUE",
            "NotificationTargetARN": "arn:topic", "RoleARN": "arn:role",
            "NotificationMetadata": "m",
        }
    ]  # fmt: skip
    assert (made["HealthCheckType"], made["HealthCheckGracePeriod"]) == ("EC2", 0)
    assert (made["DefaultInstanceWarmup"], made["MaxInstanceLifetime"]) == (0, 86_400)
    assert (made["TerminationPolicies"], made["CapacityRebalance"]) == (["Default"], True)


def test_warm_pools_and_schedules() -> None:
    assert warm_pool_request("g", WarmPool(min=2)) == {
        "AutoScalingGroupName": "g", "MinSize": 2, "PoolState": "Stopped",
        "InstanceReusePolicy": {"ReuseOnScaleIn": False},
    }  # fmt: skip
    once = Schedule(name="s", start="2036-01-01T00:00:00Z", min=0, max=0)
    assert schedule_request("g", once) == {
        "AutoScalingGroupName": "g", "ScheduledActionName": "s",
        "StartTime": "2036-01-01T00:00:00Z", "MinSize": 0, "MaxSize": 0,
    }  # fmt: skip


def test_policies() -> None:
    requests = TargetTracking(name="r", metric="requests_per_target", target=9, scale_in=False)
    steps = StepScaling(
        name="s", alarm="busy", unit="percent", min_change=2, warm_up_s=0,
        steps=(Step(above=0, below=5, change=10), Step(above=5, change=20)),
    )  # fmt: skip

    assert policy_request(requests, WHERE)["TargetTrackingConfiguration"] == {
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "ALBRequestCountPerTarget",
            "ResourceLabel": "app/main/11/targetgroup/hello-2/22",
        },
        "TargetValue": 9,
        "DisableScaleIn": True,
    }
    assert policy_request(steps, WHERE) == {
        "AutoScalingGroupName": "hello-prod-v002", "PolicyName": "s",
        "EstimatedInstanceWarmup": 0, "PolicyType": "StepScaling",
        "AdjustmentType": "PercentChangeInCapacity", "MinAdjustmentMagnitude": 2,
        "StepAdjustments": [
            {"ScalingAdjustment": 10, "MetricIntervalLowerBound": 0,
             "MetricIntervalUpperBound": 5},
            {"ScalingAdjustment": 20, "MetricIntervalLowerBound": 5},
        ],
    }  # fmt: skip


def test_an_alarm_by_default_is_one_of_the_target_group() -> None:
    spec = AlarmSpec(name="slow", metric="TargetResponseTime", threshold=1.5, statistic="p99")

    assert alarm_request(spec, WHERE, period_s=60, topics=["arn:t"], policies=["arn:p"]) == {
        "AlarmName": "hello-prod-v002-slow",
        "AlarmDescription": "TargetResponseTime of hello-prod-v002 > 1.5",
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 1.5,
        "EvaluationPeriods": 2,
        "TreatMissingData": "notBreaching",
        "AlarmActions": ["arn:p", "arn:t"],
        "OKActions": ["arn:t"],
        "Namespace": "AWS/ApplicationELB",
        "MetricName": "TargetResponseTime",
        "Dimensions": [
            {"Name": "TargetGroup", "Value": "targetgroup/hello-2/22"},
            {"Name": "LoadBalancer", "Value": "app/main/11"},
        ],
        "Period": 60,
        "ExtendedStatistic": "p99",
    }


def test_placeholders_of_dimensions_are_filled_in() -> None:
    given = {
        "A": "{app}/{environment}", "C": "{cluster}", "G": "{server_group}",
        "L": "{load_balancer}", "T": "{target_group}", "X": "plain",
    }  # fmt: skip

    assert {one["Name"]: one["Value"] for one in WHERE.dimensions(given)} == {
        "A": "hello/prod", "C": "hello-prod", "G": "hello-prod-v002", "L": "app/main/11",
        "T": "targetgroup/hello-2/22", "X": "plain",
    }  # fmt: skip


def test_old_names_are_new_ones_wherever_they_stand() -> None:
    names = {"hello-prod-v001": "hello-prod-v002", "targetgroup/a/1": "targetgroup/b/2"}
    given = {
        "Label": "app/main/11/targetgroup/a/1",
        "Dimensions": [{"Name": "G", "Value": "hello-prod-v001"}],
        "Kept": ["hello-prod", "hello-prod-v0011", "my-hello-prod-v001", 3, None],
    }

    assert renamed(given, names) == {
        "Label": "app/main/11/targetgroup/b/2",
        "Dimensions": [{"Name": "G", "Value": "hello-prod-v002"}],
        "Kept": ["hello-prod", "hello-prod-v0011", "my-hello-prod-v001", 3, None],
    }


def test_a_copied_alarm_is_the_new_groups_own() -> None:
    raw = {
        "AlarmName": "hello-prod-v001-busy", "AlarmArn": "arn", "StateValue": "OK",
        "AlarmActions": ["arn:old"], "OKActions": [], "Threshold": 0.0,
        "Dimensions": [{"Name": "G", "Value": "hello-prod-v001"}],
    }  # fmt: skip

    made = copied_alarm(raw, OLD, WHERE, {"arn:old": "arn:new", str(OLD): str(NAME)})

    assert made == {
        "AlarmName": "hello-prod-v002-busy", "AlarmActions": ["arn:new"], "Threshold": 0.0,
        "Dimensions": [{"Name": "G", "Value": "hello-prod-v002"}],
    }  # fmt: skip


def test_schedules_are_copied_as_far_as_their_time_has_not_passed() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    past, future = datetime(2029, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    daily = {"ScheduledActionName": "d", "Recurrence": "0 7 * * *", "MinSize": 0}

    assert copied_schedule({**daily, "StartTime": past}, now=now) == daily
    ends = {**daily, "EndTime": future}
    assert copied_schedule({**ends, "ScheduledActionARN": "arn"}, now=now) == ends
    assert copied_schedule({**daily, "EndTime": past}, now=now) is None
    once = {"ScheduledActionName": "o", "MaxSize": 1}
    assert copied_schedule({**once, "StartTime": past}, now=now) is None
    assert copied_schedule({**once, "StartTime": future}, now=now) == {**once, "StartTime": future}
