"""Plans for what people do by hand: roll back, enable, disable, resize, decommission."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from ovenbird.domain.clusters import Capacity, Cluster, ServerGroup
from ovenbird.domain.errors import Conflict, InvalidRequest, NotFound
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    Decommission,
    Disable,
    Enable,
    Pin,
    Plan,
    Resize,
    SetWeights,
    Unpin,
    Weight,
)
from ovenbird.domain.resting import baselines, has_rested, most_resting, previous, resting


def plan_rollback(
    cluster: Cluster, *, to: ServerGroupName | None = None, warm_up: timedelta
) -> Plan:
    """Plan the way back to a group that still has its instances; nothing is baked.

    During a canary it is the way back to the old group. One that stopped after it had moved
    the weights is completed, before another goes further back. When nothing in traffic is healthy
    any more, one healthy instance is better than none: the weights move before the group grows.

    Args:
        cluster: As observed now.
        to: None for the group that served before.
        warm_up: How long its instances may take to be healthy, when it must grow.

    Raises:
        NotFound: There is no such group.
        Conflict: Nothing older is left.
    """
    if (reached := _stopped_at(cluster)) and to in {None, reached.name}:
        return Plan(actions=tuple(_completion(cluster, reached)))
    target = _find(cluster, to) if to else previous(cluster)
    if target is None:
        raise Conflict(
            f"Cluster `{cluster.name}` has no older server group to go back to",
            hint="Start a release of the version you want: its image need not be baked again",
        )
    others = [g for g in cluster.groups if g.name != target.name and not g.is_baseline]
    bad = [group for group in others if group.enabled]
    if target.weight == 100:
        left = tuple(_released(target))
        return Plan(actions=left, reason="" if left else f"`{target.name}` has all traffic")
    # A rolling rollout that stopped midway has shrunk it: it gets its instances back.
    own = target.size if target.size > target.capacity.desired else 1
    size = max(own, *(group.capacity.desired for group in bad), 1)
    dark = not any(group.enabled and group.healthy for group in cluster.groups)
    # The old group takes the traffic before the bad one is disabled: never zero in traffic.
    return Plan(
        actions=(
            *_ready(target, size=1 if dark else size, within=warm_up),
            SetWeights(weights=(Weight(name=target.name, percent=100),)),
            *_released(target),
            *(action for group in bad for action in _rest(group)),
            *(Decommission(name=group.name) for group in baselines(cluster)),
            *(_ready(target, size=size, within=warm_up) if dark and size > 1 else ()),
        )
    )


def plan_enable(cluster: Cluster, *, name: ServerGroupName, warm_up: timedelta) -> Plan:
    """Plan to bring a group into traffic beside what serves, by number of instances.

    Raises:
        NotFound: There is no such group.
    """
    group = _find(cluster, name)
    if group.enabled and group.disabled_at is None:
        return Plan(actions=(), reason=f"`{name}` is enabled")
    if group.enabled:  # an earlier run stopped after it had moved the weights
        return Plan(actions=tuple(_released(group)))
    enabled = (*(other for other in cluster.groups if other.enabled), group)
    parts = {other.name: max(1, other.capacity.desired) for other in enabled}
    return Plan(
        actions=(
            *_ready(group, size=max(1, group.capacity.desired), within=warm_up),
            SetWeights(weights=shares(parts)),
            *_released(group),
        )
    )


def plan_disable(cluster: Cluster, *, name: ServerGroupName) -> Plan:
    """Plan to take a group out of traffic; the others take its share, and it rests.

    Raises:
        NotFound: There is no such group.
        Conflict: No other serves.
    """
    group = _find(cluster, name)
    if not group.enabled:
        if group.disabled_at is None:  # it never served, or its tag is missing
            return Plan(actions=tuple(_rest(group)))
        return Plan(actions=(), reason=f"`{name}` is disabled")
    others = [other for other in cluster.groups if other.enabled and other.name != name]
    if not any(other.healthy for other in others):
        raise Conflict(
            f"No other server group of `{cluster.name}` serves: disabling `{name}` would leave"
            " the cluster dark",
            hint=f"`ovenbird cluster rollback {cluster.name}` brings the previous one back first",
        )
    parts = {other.name: other.weight for other in others}
    return Plan(actions=(SetWeights(weights=shares(parts)), *_rest(group)))


def plan_resize(
    cluster: Cluster,
    *,
    capacity: Capacity,
    warm_up: timedelta,
    name: ServerGroupName | None = None,
) -> Plan:
    """Plan another capacity for one group.

    Args:
        cluster: As observed now.
        capacity: What it shall have.
        warm_up: How long new instances may take to be healthy.
        name: None for the group that serves.

    Raises:
        InvalidRequest: ``min <= desired <= max`` does not hold.
        NotFound: There is no such group.
        Conflict: A rollout is under way on it, or the size would leave the cluster dark or
            take what a rollback needs.
    """
    if not 0 <= capacity.min <= capacity.desired <= capacity.max:
        raise InvalidRequest(
            f"Capacity {capacity} (desired / min / max) cannot be",
            hint="Needed: `min` <= `desired` <= `max`",
        )
    group = _find(cluster, name) if name else cluster.serving
    if group is None:
        raise Conflict(f"Nothing serves in `{cluster.name}`", hint="Name a server group")
    _refuse_to_shrink(cluster, group, capacity)
    if group.capacity == capacity:
        return Plan(actions=(), reason=f"`{group.name}` has this capacity")
    actions: list[Action] = [Resize(name=group.name, capacity=capacity)]
    if capacity.desired > group.capacity.desired:
        actions.append(AwaitHealthy(name=group.name, instances=capacity.desired, within=warm_up))
    return Plan(actions=tuple(actions))


def plan_decommission(
    cluster: Cluster,
    *,
    now: datetime,
    window: timedelta,
    name: ServerGroupName | None = None,
    waived: bool = False,
) -> Plan:
    """Plan to destroy one resting group, or all that have rested long enough.

    Args:
        cluster: As observed now.
        now: For the age of what rests.
        window: How long the previous group is kept for a rollback.
        name: None for all whose window has passed or that are one too many.
        waived: True when a person confirmed to do without the rollback window.

    Raises:
        NotFound: The named group is not there.
        Conflict: It is in traffic, or a rollback may need it.
    """
    if name is None:
        return _plan_tidy(cluster, now=now, window=window)
    group = _find(cluster, name)
    if group.enabled:
        raise Conflict(
            f"`{name}` is in traffic ({group.weight} %)",
            hint=f"`ovenbird cluster disable {name}` first",
        )
    if group == previous(cluster) and not has_rested(group, now=now, window=window) and not waived:
        raise Conflict(
            f"A rollback would need `{name}`, and its {window.total_seconds():g} s have not passed",
            hint="Confirm explicitly to do without a way back",
        )
    return Plan(actions=(Decommission(name=name),))


def _plan_tidy(cluster: Cluster, *, now: datetime, window: timedelta) -> Plan:
    if cluster.serving is None:
        return Plan(actions=(), reason=f"Nothing serves in `{cluster.name}`: all is kept")
    unused = [group for group in baselines(cluster) if not group.enabled]
    gone = tuple(
        Decommission(name=group.name)
        for place, group in enumerate((*resting(cluster), *unused))
        # What never served may belong to a rollout under way: only its age condemns it.
        if (place >= most_resting(cluster) and group.disabled_at is not None)
        or has_rested(group, now=now, window=window)
    )
    if not gone:
        return Plan(
            actions=(), reason=f"No server group of `{cluster.name}` has rested long enough"
        )
    return Plan(actions=gone)


def _refuse_to_shrink(cluster: Cluster, group: ServerGroup, capacity: Capacity) -> None:
    if group.enabled and group.pinned_min is not None:
        raise Conflict(f"A rollout is under way on `{group.name}`", hint="Resize when it has ended")
    if group.enabled and capacity.desired == 0:
        raise Conflict(
            f"`{group.name}` is in traffic: without instances the cluster would be dark",
            hint=f"`ovenbird cluster disable {group.name}` first",
        )
    shrinks = capacity.desired < group.capacity.desired
    if not group.enabled and shrinks and group == previous(cluster):
        raise Conflict(
            f"A rollback would need `{group.name}` at its present size",
            hint="Decommission it when its rollback window has passed",
        )


def _find(cluster: Cluster, name: ServerGroupName) -> ServerGroup:
    if found := cluster.find(name):
        return found
    known = ", ".join(f"`{group.name}`" for group in cluster.groups) or "none"
    raise NotFound(f"No server group `{name}` in `{cluster.name}`", hint=f"There are {known}")


def _stopped_at(cluster: Cluster) -> ServerGroup | None:
    """Return the group to which a rollback has moved all traffic without telling that it did."""
    serving = cluster.serving
    if serving is None or serving.weight != 100 or serving.disabled_at is None:
        return None
    return serving


def _completion(cluster: Cluster, reached: ServerGroup) -> Iterable[Action]:
    yield from _released(reached)
    newer = cluster.groups[cluster.groups.index(reached) + 1 :]
    for group in newer:
        if group.disabled_at is None:
            yield from _rest(group)


def _ready(group: ServerGroup, *, size: int, within: timedelta) -> Iterable[Action]:
    """Bring a group to at least this many healthy instances; it may be larger."""
    now = group.capacity
    if now.desired < size:
        yield Resize(
            name=group.name,
            capacity=Capacity(min=now.min, desired=size, max=max(size, now.max)),
        )
    yield AwaitHealthy(name=group.name, instances=size, within=within)


def _released(group: ServerGroup) -> Iterable[Action]:
    """Take the marks of resting away, after the group has its traffic."""
    if group.disabled_at is not None:
        yield Enable(name=group.name)
    if group.pinned_min is not None:
        yield Unpin(name=group.name)


def _rest(group: ServerGroup) -> Iterable[Action]:
    """Keep a group at its size while it rests."""
    yield Pin(name=group.name)
    yield Disable(name=group.name)


def shares(parts: Mapping[ServerGroupName, int]) -> tuple[Weight, ...]:
    """Divide 100 in proportion; nobody with a part gets 0; the largest takes the rounding."""
    total = sum(parts.values())
    shares = {name: max(1, part * 100 // total) for name, part in parts.items()}
    largest = max(shares, key=lambda name: shares[name])
    shares[largest] += 100 - sum(shares.values())
    return tuple(Weight(name=name, percent=share) for name, share in shares.items())
