"""Plans for bringing an image onto a cluster (``retreats``: for taking a failed one back).

first       create ─▶ healthy ─▶ 100 %
all at once pin old ─▶ create ─▶ healthy ─▶ 100 % ─▶ disable old ─▶ tidy
canary      pin old ─▶ create small ─▶ healthy ─▶ (grow ─▶ weights ─▶ judge)… ─▶ full size
            ─▶ 100 % ─▶ disable old ─▶ tidy

Capacity comes before weight, always: no weight exceeds the share of the wanted capacity
that is healthy behind it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ovenbird.domain.apps import AppSpec, Canary, EnvironmentSpec
from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ServerGroupName, next_name
from ovenbird.domain.plans import Action, Decommission, Disable, Enable, Pin, Plan
from ovenbird.domain.resting import MAX_RESTING, has_rested, resting
from ovenbird.domain.strategies import canaries
from ovenbird.domain.strategies.jobs import Job, all_to, at_full_size
from ovenbird.domain.strategies.leading import led
from ovenbird.domain.strategies.refusals import refuse_nonsense


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
    job = Job(
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
        actions=(*_make_room(job), *led(job, _move(job)), *_tidy(job, now=now, window=window)),
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


def _bystanders(job: Job) -> tuple[ServerGroup, ...]:
    """Groups that are neither old nor new, the one to be kept longest first."""
    return tuple(g for g in resting(job.cluster) if g.name != job.name)


def _make_room(job: Job) -> tuple[Action, ...]:
    """Destroy what exceeds the number that may rest, before the rule gets one more."""
    return tuple(Decommission(name=group.name) for group in _bystanders(job)[MAX_RESTING:])


def _move(job: Job) -> tuple[Action, ...]:
    old = job.old
    if old is None:
        return (*at_full_size(job), all_to(job.name))
    middle = at_full_size(job)
    strategy = job.environment.strategy
    if isinstance(strategy, Canary) and old.healthy > 0:
        middle = canaries.steps(job, old, strategy)
    # A mark that a rollback left when it stopped: the time of resting begins anew.
    stale = (Enable(name=old.name),) if old.disabled_at else ()
    # The old group is pinned before anything else and stays so while it rests: what a
    # rollback needs does not shrink. It is disabled after the new one has the traffic.
    return (*stale, Pin(name=old.name), *middle, all_to(job.name), Disable(name=old.name))


def _tidy(job: Job, *, now: datetime, window: timedelta) -> tuple[Action, ...]:
    """Destroy what has rested for longer than the window, or is one too many."""
    room = MAX_RESTING - (job.old is not None)
    kept = _bystanders(job)[:MAX_RESTING]
    return tuple(
        Decommission(name=group.name)
        for place, group in enumerate(kept)
        if place >= room or has_rested(group, now=now, window=window)
    )
