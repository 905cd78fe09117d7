"""Plans for bringing an image onto a cluster, and for taking a failed one back.

first       create ─▶ healthy ─▶ 100 %
all at once pin old ─▶ create ─▶ healthy ─▶ 100 % ─▶ disable old ─▶ tidy
canary      pin old ─▶ create small ─▶ healthy ─▶ (grow ─▶ weights ─▶ judge)… ─▶ full size
            ─▶ 100 % ─▶ disable old ─▶ tidy
retreat     weights back ─▶ unpin old ─▶ destroy the failed group

Capacity comes before weight, always: no weight exceeds the share of the wanted capacity
that is healthy behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from ovenbird.domain.apps import AppSpec, Canary, EnvironmentSpec
from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    DESIRED_TAG,
    ROLLBACK_WINDOW_TAG,
    SERVER_GROUP_TAG,
    Capacity,
    Cluster,
    ServerGroup,
)
from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.images import APP_TAG, RELEASE_TAG, TAG, VERSION_TAG, ImageId
from ovenbird.domain.names import ServerGroupName, alarm_name, next_name
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    CreateServerGroup,
    Decommission,
    Disable,
    Enable,
    Judge,
    Pin,
    Plan,
    Resize,
    SetWeights,
    Unpin,
    Weight,
)
from ovenbird.domain.resting import MAX_RESTING, has_rested, previous, resting

ENVIRONMENT_TAG = TAG + "environment"
PERIODS_PER_STEP = 3  # fewer datapoints than this say nothing
WARM_UP = timedelta(minutes=5)  # for a retreat, whose spec may be the broken one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all parts of one rollout's plan need to know."""

    cluster: Cluster
    name: ServerGroupName
    existing: ServerGroup | None  # half-made by an earlier run of the same release
    image_id: ImageId
    version: str
    release_id: str
    spec: AppSpec
    environment: EnvironmentSpec

    @property
    def old(self) -> ServerGroup | None:
        return next((g for g in self.cluster.groups if g.enabled and g.name != self.name), None)

    @property
    def wanted(self) -> Capacity:
        """The manifest's capacity, or as much as the old group was grown to since it was made."""
        wanted, old = self.environment.capacity, self.old
        made_with = int(old.tags.get(DESIRED_TAG, old.capacity.desired)) if old else 0
        if old is None or old.capacity.desired <= max(made_with, wanted.desired):
            return wanted
        grown = old.capacity.desired
        return Capacity(min=wanted.min, desired=grown, max=max(grown, wanted.max))


def plan_rollout(  # noqa: PLR0913 - all of it decides what is made; all by name
    cluster: Cluster,
    *,
    image_id: ImageId,
    version: str,
    release_id: str,
    spec: AppSpec,
    environment: EnvironmentSpec,
    period_s: float,
    now: datetime,
) -> Plan:
    """Plan how an image takes over a cluster.

    The size is the manifest's; but when a person has made the old group larger than its
    manifest said, the traffic needs that, and the new group gets as large. A group that
    the same release has half made is gone on with. Without a healthy old group there is
    nothing to compare with: then all traffic moves at once.

    Args:
        cluster: As observed now.
        image_id: As the cluster's account sees it.
        version: The app's version inside the image.
        release_id: Marks what is made, so that a second run finds it.
        spec: The manifest.
        environment: The part of the manifest for this cluster.
        period_s: Period of the load balancer's metrics, seconds.
        now: For the age of what rests.

    Raises:
        InvalidRequest: The capacity or a canary's step makes no sense.
        Conflict: Another rollout is under way, or no name is free.
    """
    refuse_nonsense(environment, period_s)
    existing = _half_made(cluster, image_id=image_id, release_id=release_id)
    if existing and existing.weight == 100:
        return Plan(actions=(), reason=f"`{existing.name}` of this release has all traffic")
    _refuse_two_at_once(cluster, existing)
    job = _Job(
        cluster=cluster,
        name=existing.name if existing else _free_name(cluster),
        existing=existing,
        image_id=image_id,
        version=version,
        release_id=release_id,
        spec=spec,
        environment=environment,
    )
    window = timedelta(seconds=environment.rollback_window_s)
    return Plan(
        actions=(*_make_room(job), *_move(job), *_tidy(job, now=now, window=window)),
    )


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


def refuse_nonsense(environment: EnvironmentSpec, period_s: float) -> None:
    """Refuse what no plan can be made of, before anything is done.

    Args:
        environment: A part of the manifest.
        period_s: Period of the load balancer's metrics, seconds.

    Raises:
        InvalidRequest: The capacity or a canary's step makes no sense.
    """
    capacity = environment.capacity
    if not 0 <= capacity.min <= capacity.desired <= capacity.max or capacity.desired < 1:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: capacity {capacity} (desired / min / max) cannot be",
            hint="Needed: `min` <= `desired` <= `max`, and at least 1 desired",
        )
    strategy = environment.strategy
    if not isinstance(strategy, Canary):
        return
    shares = strategy.steps_percent
    rising = all(a < b for a, b in zip((0, *shares), (*shares, 100), strict=True))
    if not shares or not rising:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: the canary steps do not rise from 1 to 99",
            hint="For example `steps_percent: [5, 25, 50]`",
        )
    least = PERIODS_PER_STEP * period_s
    if strategy.observe_s < least:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: canary steps of {strategy.observe_s:g} s are too short",
            hint=f"Metrics come every {period_s:g} s: set `observe_s` to {least:g} or more",
        )


def _half_made(cluster: Cluster, *, image_id: ImageId, release_id: str) -> ServerGroup | None:
    return next(
        (
            group
            for group in reversed(cluster.groups)
            if group.release_id == release_id != ""
            and group.image_id
            in {image_id, ""}  # no image: its Auto Scaling group is not there yet
            and group.disabled_at is None
        ),
        None,
    )


def _refuse_two_at_once(cluster: Cluster, existing: ServerGroup | None) -> None:
    others = [group for group in cluster.groups if group.enabled and group != existing]
    if len(others) > 1:
        names = " and ".join(f"`{group.name}`" for group in others)
        raise Conflict(
            f"{names} share the traffic of `{cluster.name}`: another rollout is under way",
            hint=f"Finish it, or `ovenbird cluster disable {others[-1].name}`",
        )


def _free_name(cluster: Cluster) -> ServerGroupName:
    newest = cluster.groups[-1].name if cluster.groups else None
    return next_name(cluster.name, newest=newest, taken={group.name for group in cluster.groups})


def _bystanders(job: _Job) -> tuple[ServerGroup, ...]:
    """Groups that are neither old nor new, the one to be kept longest first."""
    return tuple(g for g in resting(job.cluster) if g.name != job.name)


def _make_room(job: _Job) -> tuple[Action, ...]:
    """Destroy what exceeds the number that may rest, before the rule gets one more."""
    return tuple(Decommission(name=group.name) for group in _bystanders(job)[MAX_RESTING:])


def _move(job: _Job) -> tuple[Action, ...]:
    old = job.old
    if old is None:
        return (*_full(job, create=True), _all_to(job.name))
    middle = _full(job, create=True)
    strategy = job.environment.strategy
    if isinstance(strategy, Canary) and old.healthy > 0:
        middle = (*_canary(job, old, strategy), *_full(job, create=False))
    # A mark that a rollback left when it stopped: the time of resting begins anew.
    stale = (Enable(name=old.name),) if old.disabled_at else ()
    # The old group is pinned before anything else and stays so while it rests: what a
    # rollback needs does not shrink. It is disabled after the new one has the traffic.
    return (*stale, Pin(name=old.name), *middle, _all_to(job.name), Disable(name=old.name))


def _canary(job: _Job, old: ServerGroup, strategy: Canary) -> tuple[Action, ...]:
    wanted = job.wanted
    size = max(_needed(strategy.steps_percent[0], wanted), _size(job.existing))
    actions: list[Action] = [_create(job, _exactly(size, wanted)), _await(job, size)]
    for percent in strategy.steps_percent:
        if (needed := _needed(percent, wanted)) > size:
            # Grow before the weight: nobody is sent to an instance that is not there.
            size = needed
            actions += [Resize(name=job.name, capacity=_exactly(size, wanted)), _await(job, size)]
        weights = (
            Weight(name=old.name, percent=100 - percent),
            Weight(name=job.name, percent=percent),
        )
        actions += [SetWeights(weights=weights), _judge(job, old, strategy, percent)]
    return tuple(actions)


def _full(job: _Job, *, create: bool) -> tuple[Action, ...]:
    wanted = job.wanted
    actions: list[Action] = [_create(job, wanted)] if create else []
    if not create or job.existing:  # an existing group keeps its size in `Create`
        actions.append(Resize(name=job.name, capacity=wanted))
    return (*actions, _await(job, wanted.desired))


def _tidy(job: _Job, *, now: datetime, window: timedelta) -> tuple[Action, ...]:
    """Destroy what has rested for longer than the window, or is one too many."""
    room = MAX_RESTING - (job.old is not None)
    kept = _bystanders(job)[:MAX_RESTING]
    return tuple(
        Decommission(name=group.name)
        for place, group in enumerate(kept)
        if place >= room or has_rested(group, now=now, window=window)
    )


def _create(job: _Job, capacity: Capacity) -> CreateServerGroup:
    spec, environment = job.spec, job.environment
    tags = {
        "Name": str(job.name),
        APP_TAG: spec.app,
        CLUSTER_TAG: str(job.cluster.name),
        DESIRED_TAG: str(environment.capacity.desired),
        ENVIRONMENT_TAG: environment.name,
        RELEASE_TAG: job.release_id,
        ROLLBACK_WINDOW_TAG: f"{environment.rollback_window_s:g}",
        SERVER_GROUP_TAG: str(job.name),
        VERSION_TAG: job.version,
    }
    return CreateServerGroup(
        name=job.name,
        image_id=job.image_id,
        version=job.version,
        release_id=job.release_id,
        capacity=capacity,
        port=spec.port,
        health=spec.health,
        instance_type=environment.instance_type,
        draining_s=spec.draining_s,
        path_patterns=spec.path_patterns,
        host_names=spec.host_names,
        rule_priority=spec.rule_priority,
        alarms=environment.alarms,
        environment=environment.environment,
        tags=tags,
    )


def _judge(job: _Job, old: ServerGroup, strategy: Canary, percent: int) -> Judge:
    return Judge(
        canary=job.name,
        baseline=old.name,
        step_percent=percent,
        observe_s=strategy.observe_s,
        policy=job.environment.judge,
        alarms=tuple(alarm_name(job.name, alarm.name) for alarm in job.environment.alarms),
    )


def _await(job: _Job, instances: int) -> AwaitHealthy:
    within = timedelta(seconds=job.spec.health.startup_s)
    return AwaitHealthy(name=job.name, instances=instances, within=within)


def _all_to(name: ServerGroupName) -> SetWeights:
    return SetWeights(weights=(Weight(name=name, percent=100),))


def _needed(percent: int, wanted: Capacity) -> int:
    """Instances that can take this share of the traffic."""
    return max(1, math.ceil(percent * wanted.desired / 100))


def _size(group: ServerGroup | None) -> int:
    return group.capacity.desired if group else 0


def _exactly(size: int, wanted: Capacity) -> Capacity:
    """Return a capacity that nothing shrinks while it is observed."""
    return Capacity(min=size, desired=size, max=max(size, wanted.max))


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
        actions.append(_all_to(old.name))
    if old.disabled_at is not None:
        actions.append(Enable(name=old.name))
    if old.pinned_min is not None:
        actions.append(Unpin(name=old.name))
    return tuple(actions)
