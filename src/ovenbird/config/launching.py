"""``deploy.ENV.launch`` of a manifest, turned into a ``LaunchSpec``."""

from __future__ import annotations

from ovenbird.config import launch_schema as schema
from ovenbird.domain.launching import (
    InstanceMix,
    LaunchSpec,
    LifecycleHook,
    RootVolume,
    ScalingPolicy,
    Schedule,
    Step,
    StepScaling,
    TargetTracking,
    WarmPool,
)


def launch_spec(raw: schema.LaunchPart) -> LaunchSpec:
    """Return what the manifest says of instances, in domain words."""
    hooks, scaling, schedules = raw.lifecycle_hooks.items(), raw.scaling, raw.schedules
    return LaunchSpec(
        instances=InstanceMix(**raw.instances.model_dump()),
        zones=raw.zones,
        security_groups=raw.security_groups,
        instance_profile=raw.instance_profile,
        key_pair=raw.key_pair,
        detailed_monitoring=raw.detailed_monitoring,
        hop_limit=raw.metadata.hop_limit,
        metadata_tags=raw.metadata.tags,
        root_volume=RootVolume(**raw.root_volume.model_dump()) if raw.root_volume else None,
        health_check=raw.health_check.kind,
        grace_s=raw.health_check.grace_s,
        termination_policies=raw.termination_policies,
        capacity_rebalance=raw.capacity_rebalance,
        warm_pool=WarmPool(**raw.warm_pool.model_dump()) if raw.warm_pool else None,
        lifecycle_hooks=tuple(LifecycleHook(name=n, **hook.model_dump()) for n, hook in hooks),
        suspended_processes=raw.suspended_processes,
        warm_up_s=raw.warm_up_s,
        max_lifetime_s=raw.max_lifetime_s,
        scaling=None if scaling is None else tuple(_policy(n, p) for n, p in scaling.items()),
        schedules=None
        if schedules is None
        else tuple(Schedule(name=name, **one.model_dump()) for name, one in schedules.items()),
    )


def _policy(name: str, raw: schema.ScalingPart) -> ScalingPolicy:
    if raw.alarm is None:
        return TargetTracking(
            name=name,
            metric=raw.metric or "",
            target=raw.target or 0.0,
            namespace=raw.namespace,
            dimensions=dict(raw.dimensions),
            statistic=raw.statistic,
            scale_in=raw.scale_in,
            warm_up_s=raw.warm_up_s,
        )
    return StepScaling(
        name=name,
        alarm=raw.alarm,
        steps=tuple(Step(**step.model_dump()) for step in raw.steps),
        unit=raw.unit,
        min_change=raw.min_change,
        warm_up_s=raw.warm_up_s,
    )
