"""Tidy a cluster: decommission what has rested longer than the policy says."""

from __future__ import annotations

from datetime import timedelta

from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import Plan
from ovenbird.domain.ports import Clock, Progress, ServerGroups
from ovenbird.domain.rollbacks import plan_decommission
from ovenbird.stages.deploy import carry_out, check


def retire(
    name: ClusterName,
    environment: str,
    *,
    window: timedelta,
    groups: ServerGroups,
    clock: Clock,
    progress: Progress,
) -> Plan:
    """Destroy the server groups whose rollback window has passed; return what was done.

    Each is looked at once more right before it goes.

    Raises:
        Conflict: One came into traffic meanwhile.
        Unhealthy: One did not go away in time.
        CloudError: AWS refused a call.
    """
    cluster = groups.get_cluster(name, environment)
    plan = plan_decommission(cluster, now=clock.now(), window=window)
    if plan.reason:
        progress(plan.reason)
    for action in plan.actions:
        check(action, groups.get_cluster(name, environment))
        carry_out(action, groups=groups, clock=clock, progress=progress)
    return plan
