"""Plans for taking a failed rollout back, from wherever it stopped.

weights back ─▶ unpin old ─▶ destroy the failed group and its baseline
grow old ─▶ healthy ─▶ weights back ─▶ …     when a rolling one has shrunk it

Weights come first when the capacity is there, capacity first when it is not.
"""

from __future__ import annotations

from datetime import timedelta

from ovenbird.domain.clusters import Capacity, Cluster, ServerGroup
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    Decommission,
    Enable,
    Plan,
    Resize,
    SetWeights,
    Unpin,
    Weight,
)
from ovenbird.domain.resting import baselines, previous

WARM_UP = timedelta(minutes=5)  # for a retreat, whose spec may be the broken one


def plan_retreat(
    cluster: Cluster,
    *,
    failed: ServerGroupName,
    release_id: str,
    baseline: ServerGroupName | None = None,
) -> Plan:
    """Plan the way back from a rollout that stopped anywhere.

    Works when the failed group is not there, is half made, or has all the traffic. Without
    a group to return to, a failed group that serves is left as it is: better than nothing.
    A group that another release made under the same name is none of this one's: it stays.

    Args:
        cluster: As observed now.
        failed: The group that the rollout made, or would have made.
        release_id: What its groups are marked with.
        baseline: The baseline that it made, or would have made; others of it that are found
            go, too.
    """
    strange = {group.name for group in cluster.groups if group.release_id != release_id}
    bad = None if failed in strange else cluster.find(failed)
    old = _return_to(cluster, bad)
    names = (failed, baseline, *(group.name for group in baselines(cluster)))
    gone = tuple(
        Decommission(name=name, release_id=release_id)
        for name in dict.fromkeys(names)
        if name and name not in strange
    )
    if old is not None:
        return Plan(actions=(*_bring_back(cluster, old, bad), *gone))
    if bad is not None and bad.enabled:
        return Plan(actions=(), reason=f"`{failed}` is the only server group; it keeps serving")
    return Plan(actions=gone)


def _return_to(cluster: Cluster, failed: ServerGroup | None) -> ServerGroup | None:
    """Return the group that served before the failed one: in traffic, or pinned, or resting."""
    others = [g for g in cluster.groups if g != failed and not g.is_baseline]
    served = [group for group in others if group.enabled or group.pinned_min is not None]
    enabled = [group for group in served if group.enabled]
    if enabled:
        return max(enabled, key=lambda group: group.weight)
    undisabled = [group for group in served if group.disabled_at is None]
    return undisabled[-1] if undisabled else previous(cluster)


def _regrown(old: ServerGroup, *, wait: bool) -> tuple[Action, ...]:
    """Give a group its instances back; its low minimum tells another run that it was shrunk."""
    now, size = old.capacity, old.size
    capacity = Capacity(min=now.min, desired=size, max=max(size, now.max))
    resize = Resize(name=old.name, capacity=capacity)
    healthy = AwaitHealthy(name=old.name, instances=size, within=WARM_UP)
    return (
        *((resize,) if now.desired < size else ()),
        *((healthy,) if wait and old.healthy < size else ()),
    )


def _bring_back(cluster: Cluster, old: ServerGroup, bad: ServerGroup | None) -> tuple[Action, ...]:
    actions: list[Action] = []
    serving = any(group.enabled and group.healthy for group in cluster.groups)
    if old.capacity.min < (old.pinned_desired or 0) and old.weight != 100:
        actions += _regrown(old, wait=serving)
    elif old.weight != 100 and old.healthy == 0 and serving and bad is not None:
        # The failed group answers something; an empty one answers nothing.
        actions.append(AwaitHealthy(name=old.name, instances=1, within=WARM_UP))
    # Also when it seems to have all: what was read may be older than the last change, and the
    # failed group is destroyed next. The door writes nothing when nothing differs.
    if cluster.balanced and (old.weight != 100 or bad is not None):
        actions.append(SetWeights(weights=(Weight(name=old.name, percent=100),)))
    if old.disabled_at is not None:
        actions.append(Enable(name=old.name))
    if old.pinned_min is not None:
        actions.append(Unpin(name=old.name))
    return tuple(actions)
