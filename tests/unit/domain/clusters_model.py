"""A tiny pure cluster: what each action of a plan does to it, when all goes well.

But slowly: an instance is healthy when it was waited for, not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ovenbird.domain.apps import AppSpec, Canary, EnvironmentSpec, Health, JudgePolicy, Strategy
from ovenbird.domain.clusters import (
    Capacity,
    Cluster,
    Instance,
    InstanceId,
    InstanceState,
    ServerGroup,
)
from ovenbird.domain.images import ImageId, ImageSpec
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.packages import PackageFormat, PackageSpec
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    AwaitWord,
    CloseToTesters,
    CreateServerGroup,
    Decommission,
    Disable,
    Enable,
    Judge,
    Mend,
    Observe,
    OpenToTesters,
    Pin,
    Plan,
    Resize,
    SetWeights,
    Unpin,
    describe,
)
from ovenbird.domain.rollouts import plan_rollout

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HELLO = ClusterName(app="hello", stack="prod")
WARM_UP = timedelta(seconds=60)


def name(version: int) -> ServerGroupName:
    return ServerGroupName(cluster=HELLO, version=version)


def instances(healthy: int) -> tuple[Instance, ...]:
    return tuple(
        Instance(instance_id=InstanceId(f"i-{n}"), state=InstanceState.HEALTHY)
        for n in range(healthy)
    )


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A group in few words, for tests."""

    weight: int = 0
    size: int = 2
    rested: timedelta | None = None
    pinned: bool = False
    release: str = "old"
    healthy: int | None = None


SERVING = Shape(weight=100)
RESTING = Shape(rested=timedelta(minutes=1), pinned=True)
# A rollback gave it the traffic and then stopped: it bears the marks of resting still.
STOPPED = Shape(weight=100, rested=timedelta(hours=1), pinned=True)


def group(version: int, shape: Shape) -> ServerGroup:
    return ServerGroup(
        name=name(version),
        image_id=ImageId(f"ami-{version}"),
        version=f"1.{version}.0",
        capacity=Capacity(min=1, desired=shape.size, max=9),
        instances=instances(shape.size if shape.healthy is None else shape.healthy),
        weight=shape.weight,
        target_group=f"arn:{version}",
        created_at=NOW - timedelta(days=9) + timedelta(minutes=version),
        release_id=shape.release,
        disabled_at=None if shape.rested is None else NOW - shape.rested,
        pinned_min=1 if shape.pinned else None,
        pinned_desired=shape.size if shape.pinned else None,
    )


def cluster(*shapes: Shape) -> Cluster:
    groups = tuple(group(version, shape) for version, shape in enumerate(shapes, start=1))
    return Cluster(name=HELLO, environment="prod", groups=groups, rule="arn:rule" if groups else "")


def environment(
    strategy: Strategy | None = None, *, size: int = 2, window_s: float = 3600.0, **more: Any
) -> EnvironmentSpec:
    return EnvironmentSpec(
        name="prod",
        capacity=Capacity(min=1, desired=size, max=size + 3),
        strategy=strategy or Canary(steps_percent=(10, 50), observe_s=180.0),
        judge=JudgePolicy(),
        rollback_window_s=window_s,
        **more,
    )


def app(spec: EnvironmentSpec) -> AppSpec:
    return AppSpec(
        app="hello",
        packages=(
            PackageSpec(name="hello", maintainer="T <t@example.com>", formats=(PackageFormat.DEB,)),
        ),
        image=ImageSpec(base="debian-12"),
        port=80,
        health=Health(),
        environments=(spec,),
    )


def rollout(seen: Cluster, spec: EnvironmentSpec, *, release: str = "new") -> Plan:
    return plan_rollout(
        seen,
        image_id=ImageId("ami-new"),
        version="2.0.0",
        release_id=release,
        spec=app(spec),
        environment=spec,
        period_s=60.0,
        now=NOW,
    )


def told(plan: Plan) -> list[str]:
    """The plan in few words."""
    return [describe(action).replace("`", "").replace("hello-prod-", "") for action in plan.actions]


def after(seen: Cluster, actions: Iterable[Action]) -> Cluster:
    for action in actions:
        seen = done(seen, action)
    return seen


def half_done(seen: Cluster, action: Action) -> Cluster:
    """Return what a process leaves that dies in the middle of an action."""
    if not isinstance(action, CreateServerGroup) or seen.find(action.name):
        return seen
    made = _created(seen, action)
    empty = Capacity(min=0, desired=0, max=0)
    return _with(made, replace(made.groups[-1], image_id=ImageId(""), capacity=empty, instances=()))


def done(seen: Cluster, action: Action) -> Cluster:
    now = _done(seen, action)
    return now if now.balanced else replace(now, groups=tuple(_by_size(now)))


def _by_size(seen: Cluster) -> Iterable[ServerGroup]:
    """Without a load balancer each instance takes its part; 100 is a group that is alone."""
    total = sum(group.healthy for group in seen.groups)
    for group in seen.groups:
        share = 100 * group.healthy // max(1, total)
        yield replace(group, weight=max(share, 1) if group.healthy else 0)


def _done(seen: Cluster, action: Action) -> Cluster:  # noqa: C901, PLR0911, PLR0912 - one for each
    match action:
        case CreateServerGroup():
            return _created(seen, action)
        case Decommission():
            return replace(seen, groups=tuple(g for g in seen.groups if g.name != action.name))
        case SetWeights():
            shares = {w.name: w.percent for w in action.weights}
            return replace(
                seen,
                groups=tuple(replace(g, weight=shares.get(g.name, 0)) for g in seen.groups),
            )
        case Pin():
            old = _one(seen, action.name)
            low = old.capacity.min if old.pinned_min is None else old.pinned_min
            size = replace(old.capacity, min=old.capacity.desired)
            was = old.pinned_desired or old.capacity.desired
            return _with(seen, replace(old, pinned_min=low, pinned_desired=was, capacity=size))
        case Unpin():
            old = _one(seen, action.name)
            low = old.capacity.min if old.pinned_min is None else old.pinned_min
            size = replace(old.capacity, min=min(low, old.capacity.desired))
            return _with(seen, replace(old, pinned_min=None, pinned_desired=None, capacity=size))
        case Resize():
            old = _one(seen, action.name)
            fleet = old.instances[: action.capacity.desired]
            return _with(seen, replace(old, capacity=action.capacity, instances=fleet))
        case Disable():
            old = _one(seen, action.name)
            return _with(seen, replace(old, disabled_at=old.disabled_at or NOW))
        case Enable():
            return _with(seen, replace(_one(seen, action.name), disabled_at=None))
        case AwaitHealthy():
            old = _one(seen, action.name)
            assert old.capacity.desired >= action.instances, "it would wait for ever"
            return _with(
                seen, replace(old, instances=instances(max(old.healthy, action.instances)))
            )
        case Judge() | Observe() | AwaitWord() | OpenToTesters() | CloseToTesters() | Mend():
            return seen


def _created(seen: Cluster, action: CreateServerGroup) -> Cluster:
    if (there := seen.find(action.name)) and there.image_id:
        return seen
    seen = replace(seen, groups=tuple(g for g in seen.groups if g.name != action.name))
    made = group(action.name.version, Shape(size=action.capacity.desired, healthy=0))
    made = replace(
        made,
        image_id=action.image_id,
        release_id=action.release_id,
        capacity=action.capacity,
        created_at=NOW,
        tags=action.tags,
    )
    return replace(seen, groups=(*seen.groups, made), rule="arn:rule")


def _one(seen: Cluster, wanted: ServerGroupName) -> ServerGroup:
    found = seen.find(wanted)
    assert found is not None, f"{wanted} is not there"
    return found


def _with(seen: Cluster, changed: ServerGroup) -> Cluster:
    groups = tuple(changed if g.name == changed.name else g for g in seen.groups)
    return replace(seen, groups=groups)
