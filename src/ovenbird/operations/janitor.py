"""The janitor: what has rested long enough, and what crashed runs left, goes when confirmed.

    AWS by tags, records ─▶ plan ─▶ a person confirms ─▶ each cluster: planned again, changed
                                                     └─▶ each thing: looked at again, removed

Killed between two, the next run goes on: a change of a cluster is durable and is finished
first, and whatever else was not removed is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.janitor import (
    AT_ONCE,
    GRACE,
    Choice,
    Leftover,
    Records,
    choose,
    plan_cluster,
    plan_leftovers,
    refuse_strange,
)
from ovenbird.domain.plans import Decommission, Plan, describe
from ovenbird.domain.ports import Progress
from ovenbird.domain.releases import Phase
from ovenbird.operations import changing, releasing
from ovenbird.operations.changing import Proposal
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.opening import Installation
from ovenbird.operations.releases import phase_of
from ovenbird.operations.work import Tell
from ovenbird.pipeline import signals
from ovenbird.pipeline.rollout_steps import cluster_lock

KIND = "janitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How careful the janitor is.

    Args:
        grace: How long everything that is left over is left alone.
        at_once: Server groups and other things that one run removes.
    """

    grace: timedelta = GRACE
    at_once: int = AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What the janitor found, and what becomes of it.

    Args:
        proposals: One for each cluster, also where there is nothing to do.
        choices: Everything else.
    """

    proposals: tuple[Proposal, ...]
    choices: tuple[Choice, ...]

    @property
    def changes(self) -> tuple[Proposal, ...]:
        """Clusters that change."""
        return tuple(one for one in self.proposals if one.plan.actions)

    @property
    def goes(self) -> tuple[Choice, ...]:
        """Things that go."""
        return tuple(one for one in self.choices if one.goes)


def plan_round(
    installation: Installation, limits: Limits, *, environment: str | None = None
) -> Round:
    """Look at everything and decide; nothing is changed.

    Args:
        installation: Whose clusters and accounts.
        limits: How careful to be.
        environment: Only this one; None for all.

    Raises:
        CloudError: An environment could not be asked.
        Conflict: The records cannot be those of what runs.
        NotFound: There is no such environment, or the sandbox is not running.
    """
    clusters = list_clusters(installation, environment)
    left = tuple(_left(installation, environment))
    records = records_of(installation, clusters, left)
    refuse_strange(clusters, records)
    now = installation.ports.clock.now()
    proposals, room = [], limits.at_once
    for cluster in clusters:
        plan = plan_cluster(cluster, records, now=now, grace=limits.grace)
        kept, room = _within(plan, room)
        proposals.append(Proposal(kind=KIND, cluster=cluster, plan=kept))
    choices = plan_leftovers(left, records, now=now, grace=limits.grace, at_once=room)
    return Round(proposals=tuple(proposals), choices=choices)


def go_on(installation: Installation, tell: Tell) -> tuple[str, ...]:
    """Finish what killed janitors had begun in clusters; return these changes."""
    begun = [one.rollout_id for one in installation.store.list_rollouts()
             if one.kind == KIND and not one.phase.ended]  # fmt: skip
    dead = [one for one in begun if not signals.is_alive(one, state=installation.state)]
    for change_id in dead:
        if not phase_of(installation.store, change_id).ended:  # another one was taken over with it
            releasing.resume(installation, change_id, tell)
    return tuple(dead)


def clean(
    installation: Installation,
    confirmed: Round,
    limits: Limits,
    *,
    actor: str,
    tell: Tell,
    progress: Progress,
) -> tuple[str, ...]:
    """Carry out what was confirmed, as far as it still holds; return what was done, in words.

    What fails is told, and the rest goes on.

    Raises:
        OvenbirdError: The first that failed, after all others were done.
    """
    work = [
        *(partial(_change, installation, one, limits, actor=actor, tell=tell)
          for one in confirmed.changes),
        *(partial(_remove, installation, one.leftover, limits) for one in confirmed.goes),
    ]  # fmt: skip
    done: list[str] = []
    failed: list[OvenbirdError] = []
    for one in work:
        try:
            words = one()
        except OvenbirdError as error:
            progress(f"Not done: {error}")
            failed.append(error)
        else:
            progress(words)
            done.append(words)
    if failed:
        raise failed[0]
    return tuple(done)


def records_of(
    installation: Installation, clusters: Iterable[Cluster], left: Iterable[Leftover] = ()
) -> Records:
    """Read what our records say of releases, changes, and who works on which cluster now."""
    store = installation.store
    releases, changes = store.list_releases(), store.list_rollouts()
    ended = {one.rollout_id: one.ended_at if one.phase.ended else None for one in changes}
    ended |= {one.release_id: one.ended_at if one.phase.ended else None for one in releases}
    promoted = {one.release_id for one in releases if one.phase is Phase.PROMOTED}
    for change in changes:
        if change.phase is Phase.PROMOTED:
            promoted |= {change.rollout_id, change.release_id}
    places = {(cluster.environment, str(cluster.name)) for cluster in clusters}
    places |= {(one.environment, one.cluster) for one in left if one.cluster}
    locks = {place: store.find_lock(cluster_lock(*place)) for place in sorted(places)}
    locked = {f"{where} {name}": lock.owner for (where, name), lock in locks.items() if lock}
    return Records(ended=ended, promoted=frozenset(promoted), locked=locked)


def _left(installation: Installation, environment: str | None) -> Iterator[Leftover]:
    for name, found in installation.ports.environments.items():
        if environment in {None, name}:
            for leftovers in found.left:
                yield from leftovers.list_left()


def _within(plan: Plan, room: int) -> tuple[Plan, int]:
    """Return as much of a plan as destroys so many groups, and how many more may go."""
    kept = []
    for action in plan.actions:
        if isinstance(action, Decommission):
            if room <= 0:
                continue
            room -= 1
        kept.append(action)
    reason = plan.reason or "others go first"
    return Plan(actions=tuple(kept), reason="" if kept else reason), room


def _change(
    installation: Installation, seen: Proposal, limits: Limits, *, actor: str, tell: Tell
) -> str:
    """Plan a cluster again, and do what of it was confirmed."""
    ports, name = installation.ports, seen.cluster.name
    groups = ports.environments[seen.cluster.environment].groups
    cluster = groups.get_cluster(name, seen.cluster.environment)
    records = records_of(installation, [cluster])
    refuse_strange([cluster], records)
    plan = plan_cluster(cluster, records, now=ports.clock.now(), grace=limits.grace)
    actions = tuple(action for action in plan.actions if action in seen.plan.actions)
    if not actions:
        return f"`{name}`: nothing to do any more: {plan.reason}"
    again = Proposal(kind=KIND, cluster=cluster, plan=Plan(actions=actions))
    result = changing.carry_out(installation, again, actor=actor, tell=tell)
    if result.error is not None:
        raise result.error
    return f"`{name}`: {'; '.join(describe(action) for action in actions)}"


def _remove(installation: Installation, seen: Leftover, limits: Limits) -> str:
    """Look at one thing once more, and remove it if it may still go."""
    ports = installation.ports
    for leftovers in ports.environments[seen.environment].left:
        now = leftovers.look_again(seen)
        if now is None:
            continue
        records = records_of(installation, [], [now])
        choice = choose(now, records, now=ports.clock.now(), grace=limits.grace)
        if not choice.goes:
            return f"Stays: {seen.kind} `{seen.name}`: {choice.reason}"
        leftovers.remove(now)
        return f"Removed {seen.kind} `{seen.name}`"
    return f"Gone already: {seen.kind} `{seen.name}`"
