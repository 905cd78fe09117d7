"""What AWS is asked for to make a server group: requests as values, no calls.

Source: EC2 API reference, RequestLaunchTemplateData; Auto Scaling API reference,
CreateAutoScalingGroup, PutWarmPool, PutScalingPolicy, PutScheduledUpdateGroupAction.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from ovenbird.aws.tags import to_aws
from ovenbird.domain.clusters import ENVIRONMENT_TAG
from ovenbird.domain.images import APP_TAG
from ovenbird.domain.launching import (
    LaunchSpec,
    LifecycleHook,
    RootVolume,
    ScalingPolicy,
    Schedule,
    Step,
    StepScaling,
    TargetTracking,
    WarmPool,
    user_data,
)
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import CreateServerGroup

Request = dict[str, Any]
TRANSITIONS = {
    "launch": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "terminate": "autoscaling:EC2_INSTANCE_TERMINATING",
}
_PREDEFINED = {
    "cpu": "ASGAverageCPUUtilization",
    "network_in": "ASGAverageNetworkIn",
    "network_out": "ASGAverageNetworkOut",
    "requests_per_target": "ALBRequestCountPerTarget",
}
_UNITS = {
    "instances": "ChangeInCapacity",
    "percent": "PercentChangeInCapacity",
    "exact": "ExactCapacity",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What placeholders stand for.

    Args:
        name: The server group.
        target_group: ARN.
        listener: ARN of a listener of its load balancer.
        tags: The server group's.
    """

    name: ServerGroupName
    target_group: str
    listener: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def target_group_word(self) -> str:
        """The target group in metrics, as ``targetgroup/NAME/ID``."""
        return self.target_group.rsplit(":", 1)[1]

    @property
    def load_balancer_word(self) -> str:
        """The load balancer in metrics, as ``app/NAME/ID``."""
        return "/".join(self.listener.split(":listener/")[1].split("/")[:3])

    def dimensions(self, given: Mapping[str, str]) -> list[Any]:
        """Return a metric's dimensions with every placeholder filled in."""
        words = {
            "app": self.tags.get(APP_TAG, self.name.cluster.app),
            "cluster": str(self.name.cluster),
            "environment": self.tags.get(ENVIRONMENT_TAG, self.name.cluster.stack),
            "load_balancer": self.load_balancer_word,
            "server_group": str(self.name),
            "target_group": self.target_group_word,
        }
        return [
            {"Name": name, "Value": _filled(value, words)} for name, value in sorted(given.items())
        ]


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text


def template_data(
    wanted: CreateServerGroup,
    tags: Mapping[str, str],
    *,
    security_groups: Sequence[str],
    root_device: str,
) -> Request:
    """Return a launch template's data.

    Args:
        wanted: The server group.
        tags: Go on instances and what is made with them.
        security_groups: Ids.
        root_device: The image's; needed when the root volume is not the image's.

    Raises:
        InvalidRequest: The user data are too long, or a value cannot be written there.
    """
    launch = wanted.launch
    data: Request = {
        "ImageId": wanted.image_id,
        "InstanceType": launch.types(wanted.instance_type)[0],
        "SecurityGroupIds": list(security_groups),
        "MetadataOptions": _metadata(launch),
        "UserData": base64.b64encode(user_data(wanted.environment).encode()).decode(),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": to_aws(tags)}
            for kind in ("instance", "volume", "network-interface")
        ],
    }
    if launch.instance_profile:
        key = "Arn" if launch.instance_profile.startswith("arn:") else "Name"
        data["IamInstanceProfile"] = {key: launch.instance_profile}
    if launch.key_pair:
        data["KeyName"] = launch.key_pair
    if launch.detailed_monitoring:
        data["Monitoring"] = {"Enabled": True}
    if launch.root_volume:
        data["BlockDeviceMappings"] = [
            {"DeviceName": root_device, "Ebs": _volume(launch.root_volume)}
        ]
    return data


def _metadata(launch: LaunchSpec) -> Request:
    options: Request = {"HttpTokens": "required", "HttpEndpoint": "enabled"}
    if launch.hop_limit:
        options["HttpPutResponseHopLimit"] = launch.hop_limit
    if launch.metadata_tags:
        options["InstanceMetadataTags"] = "enabled"
    return options


def _volume(volume: RootVolume) -> Request:
    return {"DeleteOnTermination": True} | _given(
        VolumeSize=volume.size_gib,
        VolumeType=volume.kind or None,
        Iops=volume.iops,
        Throughput=volume.throughput_mib_s,
    )


def group_request(
    wanted: CreateServerGroup,
    tags: Mapping[str, str],
    *,
    subnet_ids: Sequence[str],
    target_group: str,
    template_version: str,
) -> Request:
    """Return what CreateAutoScalingGroup is asked, with tags and hooks in the same call.

    Hooks that came later would miss the first instances.
    """
    name, launch, capacity = str(wanted.name), wanted.launch, wanted.capacity
    grace_s = wanted.health.startup_s if launch.grace_s is None else launch.grace_s
    return {
        "AutoScalingGroupName": name,
        **_launched_from(wanted, template_version),
        "MinSize": capacity.min,
        "MaxSize": capacity.max,
        "DesiredCapacity": capacity.desired,
        "VPCZoneIdentifier": ",".join(subnet_ids),
        "TargetGroupARNs": [target_group],
        "HealthCheckType": launch.health_check.upper(),
        "HealthCheckGracePeriod": round(grace_s),
        "Tags": [
            {"Key": key, "Value": value, "PropagateAtLaunch": True}
            for key, value in sorted(tags.items())
        ],
        **_given(
            TerminationPolicies=list(launch.termination_policies) or None,
            CapacityRebalance=launch.capacity_rebalance or None,
            LifecycleHookSpecificationList=[_hook(h) for h in launch.lifecycle_hooks] or None,
            DefaultInstanceWarmup=launch.warm_up_s,
            MaxInstanceLifetime=launch.max_lifetime_s,
        ),
    }


def _launched_from(wanted: CreateServerGroup, version: str) -> Request:
    template, mix = (
        {"LaunchTemplateName": str(wanted.name), "Version": version},
        wanted.launch.instances,
    )
    if not mix.mixed:
        return {"LaunchTemplate": template}
    return {
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": template,
                "Overrides": [
                    {"InstanceType": kind} for kind in wanted.launch.types(wanted.instance_type)
                ],
            },
            "InstancesDistribution": {
                "OnDemandAllocationStrategy": mix.on_demand_strategy,
                "OnDemandBaseCapacity": mix.on_demand_base,
                "OnDemandPercentageAboveBaseCapacity": 100 - mix.spot_percent,
                "SpotAllocationStrategy": mix.spot_strategy,
                **_given(SpotMaxPrice=mix.spot_max_price or None),
            },
        }
    }


def _hook(hook: LifecycleHook) -> Request:
    return {
        "LifecycleHookName": hook.name,
        "LifecycleTransition": TRANSITIONS[hook.transition],
        "HeartbeatTimeout": hook.timeout_s,
        "DefaultResult": hook.default.upper(),
        **_given(
            NotificationTargetARN=hook.notify or None,
            RoleARN=hook.role_arn or None,
            NotificationMetadata=hook.metadata or None,
        ),
    }


def warm_pool_request(name: str, pool: WarmPool) -> Request:
    """Return what PutWarmPool is asked."""
    return {
        "AutoScalingGroupName": name,
        "MinSize": pool.min,
        "PoolState": pool.state.capitalize(),
        "InstanceReusePolicy": {"ReuseOnScaleIn": pool.reuse},
        **_given(MaxGroupPreparedCapacity=pool.max_prepared),
    }


def policy_request(policy: ScalingPolicy, where: Surroundings) -> Request:
    """Return what PutScalingPolicy is asked."""
    request = {
        "AutoScalingGroupName": str(where.name),
        "PolicyName": policy.name,
        **_given(EstimatedInstanceWarmup=policy.warm_up_s),
    }
    match policy:
        case TargetTracking():
            return {
                **request,
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": {
                    **_tracked(policy, where),
                    "TargetValue": policy.target,
                    "DisableScaleIn": not policy.scale_in,
                },
            }
        case StepScaling():
            return {
                **request,
                "PolicyType": "StepScaling",
                "AdjustmentType": _UNITS[policy.unit],
                "StepAdjustments": [_step(step) for step in policy.steps],
                **_given(MinAdjustmentMagnitude=policy.min_change),
            }
        case _:
            assert_never(policy)


def _tracked(policy: TargetTracking, where: Surroundings) -> Request:
    if policy.namespace:
        return {
            "CustomizedMetricSpecification": {
                "Namespace": policy.namespace,
                "MetricName": policy.metric,
                "Dimensions": where.dimensions(policy.dimensions),
                "Statistic": policy.statistic,
            }
        }
    metric: Request = {"PredefinedMetricType": _PREDEFINED[policy.metric]}
    if policy.metric == "requests_per_target":
        metric["ResourceLabel"] = f"{where.load_balancer_word}/{where.target_group_word}"
    return {"PredefinedMetricSpecification": metric}


def _step(step: Step) -> Request:
    return {"ScalingAdjustment": step.change} | _given(
        MetricIntervalLowerBound=step.above, MetricIntervalUpperBound=step.below
    )


def schedule_request(name: str, schedule: Schedule) -> Request:
    """Return what PutScheduledUpdateGroupAction is asked."""
    return {
        "AutoScalingGroupName": name,
        "ScheduledActionName": schedule.name,
        **_given(
            Recurrence=schedule.recurrence or None,
            StartTime=schedule.start or None,
            EndTime=schedule.end or None,
            TimeZone=schedule.time_zone or None,
            MinSize=schedule.min,
            DesiredCapacity=schedule.desired,
            MaxSize=schedule.max,
        ),
    }


def _given(**values: Any) -> Request:
    """Return what is not None."""
    return {key: value for key, value in values.items() if value is not None}
