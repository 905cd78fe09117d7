"""What groups have besides numbers, through boto3; the same would hold on AWS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.group_decisions import Peer, victims
from tests.sandbox.fleet import default_subnets, register_image, turn

pytestmark = pytest.mark.sandbox


class Groups:
    """Groups from one template, in development."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.autoscaling: Any = account.autoscaling
        self.template = f"template-{uuid.uuid4().hex[:8]}"
        self.names: list[str] = []
        _, self.subnets = default_subnets(account)
        account.ec2.create_launch_template(
            LaunchTemplateName=self.template,
            LaunchTemplateData={"ImageId": register_image(account), "InstanceType": "t3.micro"},
        )

    def create(self, **others: Any) -> str:
        name = f"group-{uuid.uuid4().hex[:8]}"
        wanted: dict[str, Any] = {
            "AutoScalingGroupName": name,
            "MinSize": 0, "MaxSize": 6, "DesiredCapacity": 0,
            "VPCZoneIdentifier": self.subnets[0],
            "LaunchTemplate": {"LaunchTemplateName": self.template, "Version": "1"},
        }  # fmt: skip
        request = {key: value for key, value in (wanted | others).items() if value is not None}
        self.autoscaling.create_auto_scaling_group(**request)
        self.names.append(name)
        return name

    def raw(self, name: str) -> Any:
        found = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return found["AutoScalingGroups"][0]

    def instances(self, name: str) -> list[Any]:
        ids = [one["InstanceId"] for one in self.raw(name)["Instances"]]
        found = self.account.ec2.describe_instances(InstanceIds=ids)["Reservations"]
        return [one for reservation in found for one in reservation["Instances"]]


@pytest.fixture
def groups(endpoint: Endpoint) -> Iterator[Groups]:
    made = Groups(endpoint.development)
    yield made
    for name in made.names:
        made.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    turn(times=2)


TRACKING = {
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingConfiguration": {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 50.0,
    },
}
STEPS = {
    "PolicyType": "StepScaling",
    "AdjustmentType": "ChangeInCapacity",
    "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
}


def test_two_groups_have_policies_and_schedules_of_the_same_name(groups: Groups) -> None:
    one, two = groups.create(), groups.create()
    for name in (one, two):
        groups.autoscaling.put_scaling_policy(
            AutoScalingGroupName=name, PolicyName="cpu", **TRACKING
        )
        groups.autoscaling.put_scheduled_update_group_action(
            AutoScalingGroupName=name, ScheduledActionName="m", Recurrence="0 7 * * *", MinSize=1
        )
    groups.autoscaling.delete_policy(AutoScalingGroupName=two, PolicyName="cpu")
    groups.autoscaling.delete_scheduled_action(AutoScalingGroupName=two, ScheduledActionName="m")

    def things(name: str) -> tuple[int, int]:
        policies = groups.autoscaling.describe_policies(AutoScalingGroupName=name)
        schedules = groups.autoscaling.describe_scheduled_actions(AutoScalingGroupName=name)
        return len(policies["ScalingPolicies"]), len(schedules["ScheduledUpdateGroupActions"])

    assert (things(one), things(two)) == ((1, 1), (0, 0))
    with pytest.raises(ClientError, match="not found"):
        groups.autoscaling.delete_policy(AutoScalingGroupName=two, PolicyName="cpu")


def test_a_policy_is_described_with_its_alarms_and_goes_with_its_group(groups: Groups) -> None:
    name = groups.create()
    arn = groups.autoscaling.put_scaling_policy(
        AutoScalingGroupName=name, PolicyName="out", **STEPS
    )["PolicyARN"]
    groups.account.cloudwatch.put_metric_alarm(
        AlarmName=f"{name}-busy", Namespace="AWS/EC2", MetricName="CPUUtilization",
        Statistic="Average", Period=60, EvaluationPeriods=1, Threshold=70,
        ComparisonOperator="GreaterThanThreshold", AlarmActions=[arn],
    )  # fmt: skip

    (found,) = groups.autoscaling.describe_policies(AutoScalingGroupName=name)["ScalingPolicies"]
    assert [one["AlarmName"] for one in found["Alarms"]] == [f"{name}-busy"]
    assert found["StepAdjustments"] == STEPS["StepAdjustments"]
    groups.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    turn()
    groups.names.remove(name)
    left = groups.autoscaling.describe_policies(AutoScalingGroupName=name)["ScalingPolicies"]
    assert left == []
    groups.account.cloudwatch.delete_alarms(AlarmNames=[f"{name}-busy"])


def test_hooks_of_the_creating_call_delay_the_first_instance_and_tell_their_topic(
    groups: Groups, endpoint: Endpoint
) -> None:
    sns = groups.account._session.client("sns", **groups.account._options)
    sqs = groups.account._session.client("sqs", **groups.account._options)
    topic = sns.create_topic(Name="hooks")["TopicArn"]
    queue = sqs.create_queue(QueueName="hooks")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    name = groups.create(
        DesiredCapacity=1,
        LifecycleHookSpecificationList=[
            {
                "LifecycleHookName": "warm",
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
                "HeartbeatTimeout": 60,
                "DefaultResult": "CONTINUE",
                "NotificationTargetARN": topic,
                "RoleARN": "arn:aws:iam::111111111111:role/hooks",
                "NotificationMetadata": "hello",
            }
        ],
    )
    turn(times=3)
    (waiting,) = groups.raw(name)["Instances"]
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    turn(61, times=2)

    told = json.loads(json.loads(message["Body"])["Message"])
    assert waiting["LifecycleState"] == "Pending:Wait"
    assert groups.raw(name)["Instances"][0]["LifecycleState"] == "InService"
    assert (told["LifecycleHookName"], told["NotificationMetadata"]) == ("warm", "hello")
    assert told["EC2InstanceId"] == waiting["InstanceId"]


def test_settings_are_kept_described_and_changed(groups: Groups) -> None:
    name = groups.create(
        TerminationPolicies=["OldestInstance", "Default"], CapacityRebalance=True,
        DefaultInstanceWarmup=30, MaxInstanceLifetime=86_400,
    )  # fmt: skip
    groups.autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0)
    before = groups.raw(name)
    groups.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=name, TerminationPolicies=["NewestInstance"], CapacityRebalance=False
    )

    assert before["TerminationPolicies"] == ["OldestInstance", "Default"]
    assert (before["CapacityRebalance"], before["DefaultInstanceWarmup"]) == (True, 30)
    assert before["MaxInstanceLifetime"] == 86_400
    after = groups.raw(name)
    assert after["TerminationPolicies"] == ["NewestInstance"]
    assert (after["CapacityRebalance"], after["DefaultInstanceWarmup"]) == (False, 30)


def test_what_nobody_keeps_is_refused(groups: Groups) -> None:
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        groups.create(InstanceMaintenancePolicy={"MinHealthyPercentage": 90})
    with pytest.raises(ClientError, match="Termination policy Random is not valid"):
        groups.create(TerminationPolicies=["Random"])
    hook = {"LifecycleHookName": "w", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    with pytest.raises(ClientError, match="between 30 and 7200"):
        groups.create(LifecycleHookSpecificationList=[{**hook, "HeartbeatTimeout": 5}])

    assert groups.names == []


def test_mixed_instances_have_the_first_type_and_their_spot_share(groups: Groups) -> None:
    template = {"LaunchTemplateName": groups.template, "Version": "1"}
    policy: dict[str, Any] = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": template,
            "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m4.large"}],
        },
        "InstancesDistribution": {
            "OnDemandBaseCapacity": 1,
            "OnDemandPercentageAboveBaseCapacity": 50,
        },
    }
    name = groups.create(
        LaunchTemplate=None, MixedInstancesPolicy=policy, DesiredCapacity=5, MaxSize=5
    )
    turn(times=3)
    groups.autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MaxSize=6)

    found = groups.instances(name)
    assert {one["InstanceType"] for one in found} == {"m5.large"}
    assert sum(one.get("InstanceLifecycle") == "spot" for one in found) == 2
    raw = groups.raw(name)
    assert "LaunchTemplate" not in raw
    kept = raw["MixedInstancesPolicy"]
    assert kept["LaunchTemplate"]["Overrides"] == policy["LaunchTemplate"]["Overrides"]
    assert kept["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 50
    with pytest.raises(ClientError, match="warm pool"):
        groups.autoscaling.put_warm_pool(AutoScalingGroupName=name, MinSize=1)


def test_termination_policies_choose_who_goes() -> None:
    peers = [Peer(instance_id=f"i-{n}", zone="a", born=n, version=9 - n) for n in range(3)]

    assert victims(peers, 1, policies=["OldestInstance"]) == ("i-0",)
    assert victims(peers, 1, policies=["NewestInstance"]) == ("i-2",)
    assert victims(peers, 1, policies=["OldestLaunchTemplate"]) == ("i-2",)
    assert victims(peers, 2, policies=["AllocationStrategy", "Default"]) == ("i-2", "i-1")


def test_a_dry_run_looks_at_everything(endpoint: Endpoint) -> None:
    ec2: Any = endpoint.development.ec2
    image_id, name = register_image(endpoint.development), f"dry-{uuid.uuid4().hex[:8]}"
    _, subnets = default_subnets(endpoint.development)
    ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.micro", "KeyName": "nobody"},
    )
    good = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro",
            "SubnetId": subnets[0], "DryRun": True}  # fmt: skip

    def code(**changes: Any) -> str:
        with pytest.raises(ClientError) as caught:
            ec2.run_instances(**(good | changes))
        return str(caught.value.response["Error"]["Code"])

    assert code() == "DryRunOperation"
    assert code(ImageId="ami-12345678") == "InvalidAMIID.NotFound"
    assert code(SubnetId="subnet-12345678") == "InvalidSubnetID.NotFound"
    assert code(SecurityGroupIds=["sg-12345678"]) == "InvalidGroup.NotFound"
    assert code(KeyName="nobody") == "InvalidKeyPair.NotFound"
    assert code(LaunchTemplate={"LaunchTemplateName": name}) == "InvalidKeyPair.NotFound"
    assert code(IamInstanceProfile={"Name": "nobody"}) == "NoSuchEntity"


def test_a_template_gives_profile_and_monitoring(groups: Groups) -> None:
    ec2: Any = groups.account.ec2
    iam = groups.account._session.client("iam", **groups.account._options)
    profile = f"profile-{uuid.uuid4().hex[:8]}"
    iam.create_instance_profile(InstanceProfileName=profile)
    ec2.create_launch_template_version(
        LaunchTemplateName=groups.template, SourceVersion="1",
        LaunchTemplateData={
            "IamInstanceProfile": {"Name": profile}, "Monitoring": {"Enabled": True},
        },
    )  # fmt: skip
    template = {"LaunchTemplateName": groups.template, "Version": "2"}
    name = groups.create(LaunchTemplate=template, DesiredCapacity=1)
    turn()

    (found,) = groups.instances(name)
    assert found["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{profile}")
    assert found["Monitoring"]["State"] == "enabled"


def test_limits_are_told(endpoint: Endpoint) -> None:
    found = endpoint.development.autoscaling.describe_account_limits()

    assert found["MaxNumberOfAutoScalingGroups"] == 500
    assert found["NumberOfAutoScalingGroups"] < 500
