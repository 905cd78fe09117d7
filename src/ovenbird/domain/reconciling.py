"""Plans that mend what was changed by hand, as far as that is safe.

tags, processes, template ─▶ sizes that were taken ─▶ traffic ─▶ marks

What a person enlarged stays. Traffic stays where it is, unless nobody can take it there, or it
was asked for to be sent where we had sent it; a group gets it only with healthy instances.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from ovenbird.domain.clusters import Capacity, Cluster, Details, ServerGroup
from ovenbird.domain.drift import Recorded, damaging, is_hollow, missing_tags, taken_by_hand
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    Decommission,
    Disable,
    Enable,
    Mend,
    Pin,
    Plan,
    Resize,
    SetWeights,
    Unpin,
)
from ovenbird.domain.resting import previous
from ovenbird.domain.rollbacks import shares


def plan_reconcile(
    cluster: Cluster,
    known: Recorded,
    details: Mapping[ServerGroupName, Details],
    *,
    warm_up: timedelta,
    traffic_back: bool = False,
) -> Plan:
    """Plan to make a cluster whole again.

    Args:
        cluster: As observed now; nothing else changes it.
        known: How it was left.
        details: Of its groups.
        warm_up: How long instances may take to be healthy.
        traffic_back: Whether traffic that was moved by hand goes back; otherwise what is counts
            from now on.
    """
    mends = tuple(_mends(cluster, details))
    # A group that its tag alone hides is seen as it is when it has the tag again.
    hidden = any(is_hollow(group) and group.name in details for group in cluster.groups)
    sizes = () if hidden else tuple(_sizes(cluster, known, details, warm_up))
    # Who was waited for is healthy by then.
    fit = {group.name for group in cluster.groups if group.healthy}
    fit |= {action.name for action in sizes if isinstance(action, AwaitHealthy)}
    traffic = () if hidden else tuple(_traffic(cluster, known, fit, back=traffic_back))
    actions = (*mends, *sizes, *traffic)
    if not actions:
        return Plan(actions=(), reason=f"`{cluster.name}` has nothing that can be mended")
    return Plan(actions=actions)


def _mends(cluster: Cluster, details: Mapping[ServerGroupName, Details]) -> Iterator[Action]:
    for group in cluster.groups:
        seen = details.get(group.name)
        if seen is None:
            continue
        first = seen.first_version
        wanted = Mend(
            name=group.name,
            tags=missing_tags(group, seen),
            processes=damaging(seen),
            template_version=first if first and seen.template_version != first else "",
        )
        if wanted != Mend(name=group.name):
            yield wanted


def _sizes(
    cluster: Cluster,
    known: Recorded,
    details: Mapping[ServerGroupName, Details],
    warm_up: timedelta,
) -> Iterator[Action]:
    """Give instances back to what serves, and to what a rollback would need."""
    dark = not any(group.enabled and group.healthy for group in cluster.groups)
    for group in cluster.groups:
        size = taken_by_hand(group, known)
        scales = group.name in details and details[group.name].scales and group.capacity.desired > 0
        if size is None or scales or not (group.enabled or group == previous(cluster)):
            continue
        low = size.desired if group.pinned_min is not None else size.min
        most = max(size.max, group.capacity.max)
        yield Resize(name=group.name, capacity=Capacity(min=low, desired=size.desired, max=most))
        if group.enabled or dark:
            yield AwaitHealthy(name=group.name, instances=size.desired, within=warm_up)


def _traffic(
    cluster: Cluster, known: Recorded, fit: Collection[ServerGroupName], *, back: bool
) -> Iterator[Action]:
    if not cluster.balanced:
        return  # each instance takes its part
    is_now = {group.name: group.weight for group in cluster.groups if group.weight}
    wanted = (_as_recorded(cluster, known, fit) if back else {}) or {
        name: share for name, share in is_now.items() if name in fit
    }
    wanted = wanted or _as_recorded(cluster, known, fit) or _instead(cluster, known, fit) or is_now
    was = {name: share for name, share in known.weights.items() if share}
    told = {str(name): share for name, share in wanted.items()}
    if wanted and (wanted != is_now or (was and was != told) or sum(is_now.values()) != 100):
        yield SetWeights(weights=shares(wanted))
    for group in cluster.groups:
        yield from _marks(group, known, serves=group.name in wanted)


def _as_recorded(
    cluster: Cluster, known: Recorded, fit: Collection[ServerGroupName]
) -> dict[ServerGroupName, int]:
    """Return where we sent the traffic, if all of it can be taken there."""
    was = {name: share for name, share in known.weights.items() if share}
    found = {str(group.name): group for group in cluster.groups if group.name in fit}
    return {found[n].name: share for n, share in was.items()} if was.keys() <= found.keys() else {}


def _instead(
    cluster: Cluster, known: Recorded, fit: Collection[ServerGroupName]
) -> dict[ServerGroupName, int]:
    """Return who takes the traffic of those that cannot: who would be gone back to, first."""
    back = previous(cluster)
    rests = [
        group
        for group in cluster.groups
        if group.name in fit and (group.disabled_at or str(group.name) in known.served)
    ]
    instead = back if back is not None and back.name in fit else next(reversed(rests), None)
    return {instead.name: 100} if instead else {}


def _marks(group: ServerGroup, known: Recorded, *, serves: bool) -> Iterator[Action]:
    if is_hollow(group):
        if group.enabled and not serves:
            yield Decommission(name=group.name)
    elif serves:
        if group.disabled_at is not None:
            yield Enable(name=group.name)
        # What a rolling rollout has shrunk stays pinned: its tag says how large it was.
        if group.pinned_min is not None and group.size == group.capacity.desired:
            yield Unpin(name=group.name)
    elif group.enabled or (group.disabled_at is None and str(group.name) in known.served):
        yield Pin(name=group.name)
        yield Disable(name=group.name)
