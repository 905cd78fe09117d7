"""Plans for taking a failed rollout back, from wherever it stopped.

retreat     weights back ─▶ unpin old ─▶ destroy the failed group
"""

from __future__ import annotations

from datetime import timedelta

from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import Action, AwaitHealthy, Decommission, Enable, Plan, Unpin
from ovenbird.domain.resting import previous
from ovenbird.domain.strategies.jobs import all_to

WARM_UP = timedelta(minutes=5)  # for a retreat, whose spec may be the broken one


def plan_retreat(cluster: Cluster, *, failed: ServerGroupName) -> Plan:
    """Plan the way back from a rollout that stopped anywhere: weights first.

    Works when the failed group is not there, is half made, or has all the traffic. Without
    a group to return to, a failed group that serves is left as it is: better than nothing.
    """
    bad = cluster.find(failed)
    old = _return_to(cluster, failed)
    if old is None:
        if bad is not None and bad.enabled:
            return Plan(actions=(), reason=f"`{failed}` is the only server group; it keeps serving")
        return Plan(actions=(Decommission(name=failed),))
    return Plan(actions=(*_bring_back(cluster, old, bad), Decommission(name=failed)))


def _return_to(cluster: Cluster, failed: ServerGroupName) -> ServerGroup | None:
    """Return the group that served before the failed one: in traffic, or pinned, or resting."""
    others = [group for group in cluster.groups if group.name != failed]
    served = [group for group in others if group.enabled or group.pinned_min is not None]
    enabled = [group for group in served if group.enabled]
    if enabled:
        return max(enabled, key=lambda group: group.weight)
    undisabled = [group for group in served if group.disabled_at is None]
    return undisabled[-1] if undisabled else previous(cluster)


def _bring_back(cluster: Cluster, old: ServerGroup, bad: ServerGroup | None) -> tuple[Action, ...]:
    actions: list[Action] = []
    serving = any(group.enabled and group.healthy for group in cluster.groups)
    if old.weight != 100:
        if old.healthy == 0 and serving and bad is not None:
            # The failed group answers something; an empty one answers nothing.
            actions.append(AwaitHealthy(name=old.name, instances=1, within=WARM_UP))
        actions.append(all_to(old.name))
    if old.disabled_at is not None:
        actions.append(Enable(name=old.name))
    if old.pinned_min is not None:
        actions.append(Unpin(name=old.name))
    return tuple(actions)
