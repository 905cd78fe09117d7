"""What groups have besides numbers: policies, schedules, hooks, warm pools, settings.

Auto Scaling keeps policies and scheduled actions by group and name; a new group may have its
hooks and settings in the creating call; a change leaves alone what it does not name. moto 5.2.5
keeps policies and schedules by name alone, so that a second group takes them from the first;
it drops hooks of the creating call, DefaultInstanceWarmup and MaxInstanceLifetime, invents
the hooks' topic and role, and a change forgets a mixed instances policy. It never says which
alarms set a policy off, and answers DescribeAccountLimits with status 500.

Real in the sandbox: lifecycle hooks (they delay instances, and tell their topic), suspended
processes, termination policies, the first type of a mixed instances policy and its Spot share.
Kept and described, but without effect: scaling policies, scheduled actions, warm pools,
MaxInstanceLifetime, DefaultInstanceWarmup, CapacityRebalance. What is neither is refused.

Source: moto/autoscaling/models.py, responses.py; Auto Scaling API reference, the actions
named here, LifecycleHookSpecification, ScalingPolicy; user guide, "Lifecycle hook
notification message", "Quotas for Auto Scaling resources and groups".
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from ovenbird.sandbox.group_backend import GroupsBackend
from ovenbird.sandbox.group_decisions import TERMINATION_POLICIES
from ovenbird.sandbox.group_model import Policy

LIMITS = {"MaxNumberOfAutoScalingGroups": 500, "MaxNumberOfLaunchConfigurations": 200}
_UNSUPPORTED = (
    "AvailabilityZoneDistribution", "AvailabilityZoneImpairmentPolicy",
    "CapacityReservationSpecification", "DesiredCapacityType", "InstanceMaintenancePolicy",
    "TrafficSources",
)  # fmt: skip
_SETTINGS = {
    "TerminationPolicies": "termination_policies",
    "CapacityRebalance": "capacity_rebalance",
    "DefaultInstanceWarmup": "default_instance_warmup",
    "MaxInstanceLifetime": "max_instance_lifetime",
}
_POLICY_TYPES = {"SimpleScaling", "StepScaling", "TargetTrackingScaling"}
_POOL_STATES = {"Stopped", "Running", "Hibernated"}


def install() -> None:
    """Put our versions in moto's place."""
    setattr(models, "FakeScalingPolicy", Policy)  # noqa: B010 - mypy: a class is no variable
    AutoScalingResponse.create_auto_scaling_group = _with_settings(
        AutoScalingResponse.create_auto_scaling_group
    )
    AutoScalingResponse.update_auto_scaling_group = _with_settings(
        AutoScalingResponse.update_auto_scaling_group
    )
    AutoScalingResponse.put_lifecycle_hook = put_lifecycle_hook
    AutoScalingResponse.put_warm_pool = _checked_pool(AutoScalingResponse.put_warm_pool)
    AutoScalingResponse.put_scaling_policy = put_scaling_policy
    AutoScalingResponse.delete_policy = delete_policy
    AutoScalingResponse.execute_policy = execute_policy
    setattr(AutoScalingResponse, describe_account_limits.__name__, describe_account_limits)


def describe_account_limits(self: AutoScalingResponse) -> ActionResult:
    """Stand in for DescribeAccountLimits."""
    backend = _backend(self)
    counts = {
        "NumberOfAutoScalingGroups": len(backend.autoscaling_groups),
        "NumberOfLaunchConfigurations": len(backend.launch_configurations),
    }
    return ActionResult({**LIMITS, **counts})


def put_lifecycle_hook(self: AutoScalingResponse) -> ActionResult:
    """Stand in for PutLifecycleHook."""
    _put_hook(_backend(self), self._get_param("AutoScalingGroupName"), self._get_params())
    return EmptyResult()


def put_scaling_policy(self: AutoScalingResponse) -> ActionResult:
    """Stand in for PutScalingPolicy; moto leaves the ARN out, and lets any two kinds mix."""
    params = self._get_params()
    kind = params.get("PolicyType", "SimpleScaling")
    if kind not in _POLICY_TYPES:
        raise _unsupported(f"PolicyType {kind}")
    tracks = bool(params.get("TargetTrackingConfiguration"))
    if tracks != (kind == "TargetTrackingScaling"):
        raise ValidationError("TargetTrackingConfiguration and PolicyType do not go together")
    if bool(params.get("StepAdjustments")) != (kind == "StepScaling"):
        raise ValidationError("StepAdjustments and PolicyType do not go together")
    policy = _backend(self).put_scaling_policy(
        str(params.get("PolicyName")),
        kind,
        params.get("MetricAggregationType"),
        adjustment_type=params.get("AdjustmentType"),
        as_name=params.get("AutoScalingGroupName"),
        min_adjustment_magnitude=params.get("MinAdjustmentMagnitude"),
        scaling_adjustment=self._get_int_param("ScalingAdjustment"),
        cooldown=self._get_int_param("Cooldown"),
        target_tracking_config=params.get("TargetTrackingConfiguration", {}),
        step_adjustments=params.get("StepAdjustments", []),
        estimated_instance_warmup=params.get("EstimatedInstanceWarmup"),
        predictive_scaling_configuration={},
    )
    return ActionResult({"PolicyARN": policy.arn, "Alarms": policy.alarms})


def delete_policy(self: AutoScalingResponse) -> ActionResult:
    """Stand in for DeletePolicy."""
    backend = _backend(self)
    policy = backend.policy(self._get_param("AutoScalingGroupName"), self._get_param("PolicyName"))
    del backend.policies[policy.key]
    return EmptyResult()


def execute_policy(self: AutoScalingResponse) -> ActionResult:
    """Stand in for ExecutePolicy, of simple scaling."""
    name = self._get_param("PolicyName")
    policy = _backend(self).policy(self._get_param("AutoScalingGroupName"), name)
    if policy.policy_type != "SimpleScaling":
        raise _unsupported(f"ExecutePolicy of {policy.policy_type}")
    policy.execute()
    return EmptyResult()


def _with_settings(original: Any) -> Any:
    """Keep what a group's call says and moto has no words for; refuse what nobody keeps."""

    def change(self: AutoScalingResponse) -> Any:
        params = self._get_params()
        for name in _UNSUPPORTED:
            if params.get(name):
                raise _unsupported(name)
        hooks = params.get("LifecycleHookSpecificationList", [])
        for hook in hooks:
            _refuse_hook(hook)
        _refuse_policies(params.get("TerminationPolicies", []))
        answer = original(self)
        backend, name = _backend(self), self._get_param("AutoScalingGroupName")
        group = backend.group(name)
        for key, attribute in _SETTINGS.items():
            if key in params:
                setattr(group, attribute, _value(params[key]))
        for hook in hooks:
            _put_hook(backend, name, hook)
        return answer

    return change


def _value(given: Any) -> Any:
    if isinstance(given, str) and given.lower() in {"true", "false"}:
        return given.lower() == "true"
    return int(given) if isinstance(given, str) and given.lstrip("-").isdigit() else given


def _refuse_policies(names: list[str]) -> None:
    if unknown := [name for name in names if name not in TERMINATION_POLICIES]:
        raise ValidationError(f"Termination policy {unknown[0]} is not valid")


def _put_hook(backend: GroupsBackend, group: str, given: dict[str, Any]) -> None:
    _refuse_hook(given)
    timeout = given.get("HeartbeatTimeout")
    hook = backend.create_lifecycle_hook(
        given["LifecycleHookName"],
        group,
        given.get("LifecycleTransition", ""),
        int(timeout) if timeout is not None else None,
        given.get("DefaultResult"),
    )
    hook.notification_target_arn = given.get("NotificationTargetARN")
    hook.role_arn = given.get("RoleARN")
    hook.notification_metadata = given.get("NotificationMetadata")


def _refuse_hook(given: dict[str, Any]) -> None:
    timeout = int(given.get("HeartbeatTimeout", 3600))
    if not 30 <= timeout <= 7200:
        raise ValidationError("Heartbeat timeout must be between 30 and 7200 seconds")
    if given.get("DefaultResult", "ABANDON") not in {"ABANDON", "CONTINUE"}:
        raise ValidationError("Default result must be CONTINUE or ABANDON")
    target = given.get("NotificationTargetARN", "")
    if target and target.split(":")[2:3] != ["sns"]:
        raise _unsupported("NotificationTargetARN of another service than SNS")


def _checked_pool(original: Any) -> Any:
    """Refuse warm pools that Auto Scaling refuses."""

    def put_warm_pool(self: AutoScalingResponse) -> Any:
        group = _backend(self).group(self._get_param("AutoScalingGroupName"))
        if self._get_param("PoolState", "Stopped") not in _POOL_STATES:
            raise ValidationError("PoolState must be Stopped, Running or Hibernated")
        if group.spot_percent:
            raise ValidationError("You can't add a warm pool to a group with Spot Instances.")
        return original(self)

    return put_warm_pool


def _unsupported(what: str) -> AutoscalingClientError:
    return AutoscalingClientError("UnsupportedOperation", f"The sandbox does not have {what}.")


def _backend(self: AutoScalingResponse) -> GroupsBackend:
    backend = self.autoscaling_backend
    if not isinstance(backend, GroupsBackend):
        raise TypeError(backend)
    return backend
