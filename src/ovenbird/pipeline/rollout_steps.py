"""The work of a rollout's steps, and of other changes of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ovenbird.domain import retreats
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import Aborted, Conflict, NotFound, OvenbirdError, Unhealthy
from ovenbird.domain.metric_ports import Metrics
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import (
    Action,
    CreateServerGroup,
    Disable,
    Observe,
    Plan,
    SetWeights,
    describe,
)
from ovenbird.domain.preflight import refuse
from ovenbird.domain.releases import ClusterChange, Ending, Phase, Rollout, RolloutRequest
from ovenbird.domain.rollouts import plan_rollout
from ovenbird.pipeline.hands import changed_by_hand
from ovenbird.pipeline.judge_steps import refuse_missing
from ovenbird.pipeline.steps import Step
from ovenbird.stages import judge
from ovenbird.stages.deploy import carry_out, check, needs_health

UNDER_WAY = "A rollout is under way"  # the reason of its lock
RETREAT_FROM = 1000  # numbers of a retreat's actions, behind those of the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchful:
    """A clock with which no wait outlasts a person's word to end it, or an alarm that fires."""

    step: Step
    metrics: Metrics
    alarms: tuple[str, ...]

    def now(self) -> datetime:
        """Return the time."""
        return self.step.ports.clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait, unless nothing is to be waited for any more.

        Raises:
            Aborted: A person ended it.
            Unhealthy: An alarm fires.
        """
        self.step.refuse_aborted()
        self.refuse_alarms()
        self.step.ports.clock.sleep(seconds)

    def refuse_alarms(self) -> None:
        """Raise if one of the alarms fires.

        Raises:
            Unhealthy: One does.
        """
        if not self.alarms:
            return
        if reasons := judge.alarm_reasons(self.alarms, self.metrics):
            raise Unhealthy(
                f"The rollout was stopped: {'; '.join(reasons)}",
                hint=f"`ovenbird release logs {self.step.subject}` tells what happened",
            )


def cluster_lock(environment: str, cluster: object) -> str:
    """Return the name of the lock that one change of a cluster at a time holds."""
    return f"cluster {cluster} in {environment}"


def plan(step: Step, request: RolloutRequest, app: AppSpec) -> tuple[Plan, float]:
    """Take the cluster, observe it and plan; return the plan and the metric period.

    Raises:
        Conflict: Another change of this cluster is under way, or no plan is possible.
        InvalidRequest: It could not work, as far as AWS lets it be known; nothing was changed.
    """
    ports, now = step.ports, step.ports.clock.now()
    environment = ports.environments[request.environment]
    spec = next(spec for spec in app.environments if spec.name == request.environment)
    ports.store.lock(
        cluster_lock(request.environment, request.cluster),
        owner=request.subject,
        reason=UNDER_WAY,
        at=now,
    )
    cluster = environment.groups.get_cluster(request.cluster, request.environment)
    for one in changed_by_hand(ports.store, cluster):
        step.note("drift", f"Changed by hand: {one.text}", {"kind": one.kind.value})
    found = plan_rollout(
        cluster,
        image_id=request.image_id,
        version=request.version,
        release_id=request.subject,  # marks what is made
        spec=app,
        environment=spec,
        period_s=environment.period_s,
        now=now,
    )
    refuse(request.environment, environment.problems_of(found, spec))
    refuse_missing(found, cluster, environment.metrics)
    ports.store.put_rollout(record(request, now, Phase.RUNNING))
    _tell(step, found)
    return found, environment.period_s


def begin_change(step: Step, change: ClusterChange) -> None:
    """Take the cluster for a change that a person confirmed, if it still is as it was shown.

    Raises:
        Conflict: Another change of this cluster is under way, or was since the plan was made.
    """
    now, store = step.ports.clock.now(), step.ports.store
    name = cluster_lock(change.environment, change.cluster)
    store.lock(name, owner=change.change_id, reason=f"A {change.kind} is under way", at=now)
    try:
        _refuse_moved(step, change)
    except OvenbirdError:
        store.unlock(name, owner=change.change_id)
        raise
    store.put_rollout(
        Rollout(
            rollout_id=change.change_id,
            release_id="",
            kind=change.kind,
            environment=change.environment,
            cluster=str(change.cluster),
            image_id="",
            version="",
            actor=change.actor,
            phase=Phase.RUNNING,
            started_at=now,
        )
    )
    _tell(step, change.plan)


def _refuse_moved(step: Step, change: ClusterChange) -> None:
    groups = step.ports.environments[change.environment].groups
    if groups.get_cluster(change.cluster, change.environment).weights != change.seen:
        raise Conflict(
            f"`{change.cluster}` has changed since this {change.kind} was planned",
            hint="Ask again: a new plan will be made and shown",
        )


def perform(
    step: Step,
    where: tuple[str, ClusterName, str],
    number: int,
    action: Action,
    alarms: tuple[str, ...] = (),
) -> None:
    """Look once more that nothing goes dark, carry out one action, keep that it was done.

    Args:
        step: Ports.
        where: Environment, cluster, and id of the rollout.
        number: The action's place in the plan.
        action: What to do.
        alarms: Those that end it when they fire, before it or while it waits.

    Raises:
        Unhealthy: An alarm fires, or instances did not get healthy.
        Conflict: The world has moved since the plan was made.
    """
    environment, cluster, rollout_id = where
    doors, begun = step.ports.environments[environment], time.monotonic()
    clock = Watchful(step=step, metrics=doors.metrics, alarms=alarms)
    clock.refuse_alarms()
    health = needs_health(action)
    check(action, doors.groups.get_cluster(cluster, environment, health=health))
    carry_out(action, groups=doors.groups, clock=clock, progress=step.say)
    seconds = round(time.monotonic() - begun, 3)
    step.ports.store.put_action(rollout_id, number, text=describe(action), seconds=seconds)


def left(step: Step, action: Action, why: str) -> None:
    """Say that an action of the tidying was left undone; the next rollout plans it again."""
    step.note("warning", f"Left undone: {describe(action)}: {why}")


def begin_observing(step: Step, request: RolloutRequest, action: Observe) -> None:
    """Say what is waited for, and look whether it may be.

    Raises:
        Unhealthy: An alarm fires already.
        Conflict: The group is gone.
    """
    guard(step, request, action)
    groups = step.ports.environments[request.environment].groups
    check(action, groups.get_cluster(request.cluster, request.environment, health=False))
    step.say(describe(action))


def guard(step: Step, request: RolloutRequest, action: Observe) -> None:
    """Look at the alarms once.

    Raises:
        Unhealthy: One fires.
    """
    metrics = step.ports.environments[request.environment].metrics
    Watchful(step=step, metrics=metrics, alarms=action.alarms).refuse_alarms()


def observed(step: Step, request: RolloutRequest, number: int, action: Observe) -> None:
    """Keep that nothing fired in all the time."""
    text = describe(action)
    step.ports.store.put_action(request.rollout_id, number, text=text, seconds=action.seconds)


def stop(step: Step, request: RolloutRequest, found: Plan, why: str) -> str:
    """Say what is left as it is, and return how to go on from there."""
    groups = step.ports.environments[request.environment].groups
    cluster = groups.get_cluster(request.cluster, request.environment)
    shares = ", ".join(f"`{group.name}` {group.weight} %" for group in cluster.groups)
    pinned = " and ".join(f"`{g.name}`" for g in cluster.groups if g.pinned_min is not None)
    step.note(
        "stopped", f"Stopped, and left as it is ({shares}; {pinned or 'nothing'} is pinned): {why}"
    )
    made = created(found)
    if any(group.enabled and group.name in made for group in cluster.groups):
        return f"When you have seen enough: `ovenbird cluster rollback {request.cluster}`"
    names = " and ".join(f"`ovenbird cluster decommission {name}`" for name in made)
    return f"When you have seen enough: {names}, and `ovenbird cluster reconcile {request.cluster}`"


def plan_retreat(
    step: Step, request: RolloutRequest, made: Sequence[ServerGroupName], why: str
) -> Plan:
    """Observe the cluster again and plan the way back from what a plan makes, or would make."""
    failed, *baseline = made
    groups = step.ports.environments[request.environment].groups
    step.note("retreat", f"Rolling back: {why}")
    found = retreats.plan_retreat(
        groups.get_cluster(request.cluster, request.environment),
        failed=failed,
        baseline=next(iter(baseline), None),
        release_id=request.subject,
    )
    _tell(step, found)
    return found


def finish(step: Step, rollout_id: str, ending: Ending) -> None:
    """Write the ending and let the next change of the cluster begin."""
    store = step.ports.store
    try:
        found = store.get_rollout(rollout_id)
    except NotFound:  # it ended before it had a plan
        return
    store.change_rollout(
        rollout_id,
        phase=ending.phase,
        error=ending.error,
        hint=ending.hint,
        ended_at=step.ports.clock.now(),
    )
    state = replace(found, phase=ending.phase).state
    # The next change of this cluster may begin, also while the release goes on elsewhere.
    lock = cluster_lock(found.environment, found.cluster)
    store.unlock(lock, owner=found.release_id or rollout_id)
    text = f"{found.kind.capitalize()} of `{found.cluster}` {state}"
    step.note(ending.phase.value, f"{text}: {ending.error}" if ending.error else text)


def promotes_at(found: Plan) -> int:
    """Return how many of a plan's actions bring the new server group into its place.

    After them it has all traffic and the old one rests; what follows only tidies up.
    """
    moves = (SetWeights, Disable)
    return max((n for n, a in enumerate(found.actions, 1) if isinstance(a, moves)), default=0)


def created(found: Plan) -> tuple[ServerGroupName, ...]:
    """Return the server groups that a plan makes: the new one, then its baseline."""
    return tuple(action.name for action in found.actions if isinstance(action, CreateServerGroup))


def ending_of(error: OvenbirdError) -> Ending:
    """Return how a rollout ends whose retreat went well."""
    phase = Phase.ABORTED if isinstance(error, Aborted) else Phase.ROLLED_BACK
    return Ending(phase=phase, error=str(error), hint=error.hint, cause=type(error).__name__)


def stopped(error: OvenbirdError) -> Ending:
    """Return how a change ends that stopped on its way and is not taken back."""
    ending = failure(str(error), error.hint, error)
    return replace(ending, phase=phase_of(error)) if isinstance(error, Aborted) else ending


def phase_of(word: Aborted) -> Phase:
    """Return how something ends to which a word put an end."""
    if "superseded" in word.facts:
        return Phase.SUPERSEDED
    return Phase.REJECTED if "rejected" in word.facts else Phase.ABORTED


def failure(text: str, hint: str, why: OvenbirdError) -> Ending:
    """Return how something ends of which nothing could be undone."""
    return Ending(phase=Phase.FAILED, error=text, hint=hint, cause=type(why).__name__)


def record(request: RolloutRequest, now: datetime, phase: Phase) -> Rollout:
    """Return a rollout that begins, as the store keeps it."""
    return Rollout(
        rollout_id=request.rollout_id,
        release_id=request.release_id,
        kind="rollout",
        environment=request.environment,
        cluster=str(request.cluster),
        image_id=request.image_id,
        version=request.version,
        actor=request.actor,
        phase=phase,
        started_at=now,
    )


def _tell(step: Step, found: Plan) -> None:
    if not found.actions:
        step.note("plan", f"Nothing to do: {found.reason}")
        return
    lines = [f"{n}. {describe(action)}" for n, action in enumerate(found.actions, 1)]
    step.note("plan", "\n".join(lines), {"actions": len(lines)})
