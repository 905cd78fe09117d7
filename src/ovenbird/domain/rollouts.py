"""Plans for bringing an image onto a cluster (``retreats``: for taking a failed one back).

first       create ─▶ healthy ─▶ 100 %
all at once pin old ─▶ create ─▶ healthy ─▶ 100 % ─▶ rest
blue, green pin old ─▶ create ─▶ healthy ─▶ 100 % ─▶ observe ─▶ a person's word ─▶ rest
canary      pin old ─▶ ``strategies.canaries`` ─▶ rest
rolling     pin old ─▶ ``strategies.rolling`` ─▶ rest
highlander  pin old ─▶ create ─▶ healthy ─▶ 100 % ─▶ rest ─▶ destroy all others
rest        disable old ─▶ unpin old ─▶ tidy

Capacity comes before weight, always: no weight exceeds the share of the wanted capacity
that is healthy behind it. With ``Disable`` the rollout is promoted; what follows is tidying.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ovenbird.domain.apps import (
    AppSpec,
    BlueGreen,
    Canary,
    EnvironmentSpec,
    Highlander,
    Rolling,
)
from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ServerGroupName, next_name
from ovenbird.domain.plans import (
    Action,
    AwaitWord,
    Decommission,
    Disable,
    Enable,
    Pin,
    Plan,
    Unpin,
)
from ovenbird.domain.resting import MAX_RESTING, baselines, has_rested, resting
from ovenbird.domain.strategies import canaries, rolling
from ovenbird.domain.strategies.jobs import Job, all_to, at_full_size, observed
from ovenbird.domain.strategies.leading import closed, led
from ovenbird.domain.strategies.refusals import (
    refuse_nonsense,
    refuse_unbalanced,
    refuse_unconfirmed,
)


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

    Groups that the same release has half made are gone on with. Without a healthy old group
    there is nothing to compare with: then all traffic moves at once.

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
        InvalidRequest: The capacity or the strategy makes no sense, or is not confirmed.
        Conflict: Another rollout is under way, or no name is free.
    """
    refuse_nonsense(environment, period_s)
    refuse_unconfirmed(environment, cluster.name)
    refuse_unbalanced(environment, cluster)
    existing = _half_made(cluster, image_id=image_id, release_id=release_id)
    baseline = _half_made_baseline(cluster, release_id=release_id)
    _refuse_two_at_once(cluster, {group.name for group in (existing, baseline) if group})
    name = existing.name if existing else _free_name(cluster)
    job = Job(
        cluster=cluster,
        name=name,
        existing=existing,
        baseline=baseline.name if baseline else _free_name(cluster, beside=name),
        image_id=image_id,
        version=version,
        release_id=release_id,
        spec=spec,
        environment=environment,
    )
    begin = closed(job) if _has_all(job) else (*_make_room(job), *led(job, _move(job)))
    ahead = (*begin, *_settle(job))
    actions = (*ahead, *(action for action in _tidy(job, now=now) if action not in ahead))
    reason = "" if actions else f"`{name}` of this release has all traffic"
    return Plan(actions=actions, reason=reason)


def _has_all(job: Job) -> bool:
    """Tell whether an earlier run has brought all traffic to the new group."""
    new = job.existing
    if new is None or new.weight < 100:
        return False
    return job.cluster.balanced or new.healthy >= job.fit(new.capacity.desired)


def _half_made(cluster: Cluster, *, image_id: ImageId, release_id: str) -> ServerGroup | None:
    return next(
        (
            group
            for group in reversed(cluster.groups)
            if group.release_id == release_id != ""
            and group.image_id
            in {image_id, ""}  # no image: its Auto Scaling group is not there yet
            and group.disabled_at is None
            and not group.is_baseline
        ),
        None,
    )


def _half_made_baseline(cluster: Cluster, *, release_id: str) -> ServerGroup | None:
    found = (group for group in baselines(cluster) if group.release_id == release_id != "")
    return next(found, None)


def _refuse_two_at_once(cluster: Cluster, mine: set[ServerGroupName]) -> None:
    others = [group for group in cluster.groups if group.enabled and group.name not in mine]
    if len(others) > 1:
        names = " and ".join(f"`{group.name}`" for group in others)
        raise Conflict(
            f"{names} share the traffic of `{cluster.name}`: another rollout is under way",
            hint=f"Finish it, or `ovenbird cluster disable {others[-1].name}`",
        )


def _free_name(cluster: Cluster, *, beside: ServerGroupName | None = None) -> ServerGroupName:
    """Return the next name; also after one that is not there yet."""
    taken = {group.name for group in cluster.groups} | ({beside} if beside else set())
    newest = beside or (cluster.groups[-1].name if cluster.groups else None)
    return next_name(cluster.name, newest=newest, taken=taken)


def _bystanders(job: Job) -> tuple[ServerGroup, ...]:
    """Groups that are neither old nor new, the one to be kept longest first."""
    mine = {job.name, job.old.name if job.old else job.name}
    return tuple(group for group in resting(job.cluster) if group.name not in mine)


def _make_room(job: Job) -> tuple[Action, ...]:
    """Destroy what exceeds the number that may rest, before the rule gets one more.

    A baseline that another release has left takes a place, too.
    """
    left = [g for g in baselines(job.cluster) if g.name != job.baseline and not g.enabled]
    gone = (*left, *_bystanders(job)[MAX_RESTING:])
    return tuple(Decommission(name=group.name) for group in gone)


def _move(job: Job) -> tuple[Action, ...]:
    """Bring all traffic to the new group."""
    old = job.old
    if old is None:
        return (*at_full_size(job), *_switch(job))
    # A mark that a rollback left when it stopped: the time of resting begins anew.
    stale = (Enable(name=old.name),) if old.disabled_at else ()
    # The old group is pinned before anything else: what a way back needs does not shrink.
    return (*stale, Pin(name=old.name), *_way(job, old))


def _way(job: Job, old: ServerGroup) -> tuple[Action, ...]:
    strategy = job.environment.strategy
    match strategy:
        case Canary() if old.healthy:
            return canaries.move(job, old, strategy)
        case Rolling() if old.healthy:
            return rolling.move(job, old, strategy.steps_percent, strategy.observe_s)
        case _ if job.cluster.balanced:
            return (*at_full_size(job), *_switch(job))
        case _:
            return rolling.move(job, old, (), 0.0)


def _switch(job: Job) -> tuple[Action, ...]:
    return (all_to(job),) if job.cluster.balanced else ()


def _settle(job: Job) -> tuple[Action, ...]:
    """Let the old group rest when the new one has had its traffic for long enough."""
    old, strategy = job.old, job.environment.strategy
    if old is None:
        return ()
    look_s, manual = 0.0, False
    if isinstance(strategy, BlueGreen):
        look_s, manual = strategy.look_s, strategy.manual
    word = AwaitWord(name=job.name, what="all traffic", alarms=job.alarms)
    return (
        *observed(job, max(look_s, job.environment.keep.enabled_s)),
        *((word,) if manual else ()),
        Disable(name=old.name),
    )


def _tidy(job: Job, *, now: datetime) -> tuple[Action, ...]:
    """Unpin what rests; destroy what did for longer than the window, or is one too many."""
    window = timedelta(seconds=job.environment.rollback_window_s)
    old, others = ((job.old,) if job.old else ()), _bystanders(job)
    fresh = [group for group in others if not has_rested(group, now=now, window=window)]
    kept = fresh[: job.environment.keep.groups - len(old)]
    gone = [group for group in others if group not in kept]
    pinned = [group for group in kept if group.pinned_min is not None]
    if isinstance(job.environment.strategy, Highlander):
        pinned, gone = [], [*old, *others]
    return (
        *(Unpin(name=group.name) for group in (*old, *pinned)),
        *(Decommission(name=group.name) for group in (*gone, *baselines(job.cluster))),
    )
