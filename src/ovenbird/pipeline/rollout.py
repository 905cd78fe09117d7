"""The rollout workflow: one image onto one cluster, or back again.

plan ─▶ action ─▶ judge (look, look, ...) ─▶ observe (guard, guard, ...) ─▶ ... ─▶ tidy ─▶ finish
            └── an error, a verdict, an alarm, an abort ─▶ retreat: plan ─▶ actions ─▶ finish
            └── an error, and the manifest says `stop` ─▶ leave all as it is ─▶ finish

When the new server group has the traffic and the old one rests, the rollout is promoted:
what cannot be tidied after that is told and left for the next time, never retreated from.
People pause it, let it go on and promote it within its steps (``driving.py``).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from dbos import DBOS, SetWorkflowID

from ovenbird.domain.apps import AppSpec, OnFailure
from ovenbird.domain.errors import Aborted, OvenbirdError
from ovenbird.domain.judgements import can_tell
from ovenbird.domain.plans import Action, AwaitWord, Judge, Observe, Plan, Unpin
from ovenbird.domain.promoting import spare
from ovenbird.domain.releases import Ending, Phase, RolloutRequest
from ovenbird.pipeline import driving, turns
from ovenbird.pipeline import judge_steps as looking
from ovenbird.pipeline import rollout_steps as work
from ovenbird.pipeline.judge_steps import At
from ovenbird.pipeline.steps import pause, recorded, recorded_always

EXTENSIONS = 3  # a step without enough data is observed up to so many times as long


@DBOS.workflow(name="rollout")
def rollout(request: RolloutRequest, app: AppSpec) -> Ending:
    """Bring one image into traffic, or leave the cluster as it was.

    Raises:
        OvenbirdError: No plan could be made; nothing was done.
    """
    try:
        plan, period_s = _plan(request, app)
    except OvenbirdError as error:
        _finish(request, work.stopped(error))
        raise
    promoted = work.promotes_at(plan)
    try:
        _carry_out(request, plan.actions[:promoted], period_s)
    except OvenbirdError as error:
        stops = not isinstance(error, Aborted) and _on_failure(request, app) is OnFailure.STOP
        ending = (_stop if stops else _retreat)(request, plan, error)
    else:
        _tidy(request, plan.actions[promoted:], promoted)
        ending = Ending(phase=Phase.PROMOTED)
    _finish(request, ending)
    return ending


def start(request: RolloutRequest, app: AppSpec) -> None:
    """Start a rollout that is no part of a release, in this process, and return at once."""
    with SetWorkflowID(request.rollout_id):
        DBOS.start_workflow(rollout, request, app)


def _plan(request: RolloutRequest, app: AppSpec) -> tuple[Plan, float]:
    where = request.environment
    if request.queue:
        recorded(f"{where}/turn", request.subject, turns.await_rollout, request)
    return recorded(f"{where}/plan", request.subject, work.plan, request, app)


def _finish(request: RolloutRequest, ending: Ending) -> None:
    name = f"{request.environment}/finish"
    recorded_always(name, request.subject, work.finish, request.rollout_id, ending)


def _carry_out(request: RolloutRequest, actions: tuple[Action, ...], period_s: float) -> None:
    alarms: tuple[str, ...] = ()
    steps = sum(isinstance(action, Judge) for action in actions)
    spared = spare(actions)
    where = (request.environment, request.cluster, request.rollout_id)
    for number, action in enumerate(actions):
        name = f"{request.environment}/{step_name(action)}"
        if isinstance(action, Judge | Observe | AwaitWord):
            alarms = action.alarms  # from now on the new group has traffic, and alarms mean it
        if isinstance(action, Judge):
            looks = max(1, round(action.observe_s / period_s))
            at = At(action=number, look=0, looks=looks, steps=steps)
            _judge(request, at, action, period_s)
        elif isinstance(action, Observe):
            _observe(request, number, action, period_s)
        elif isinstance(action, AwaitWord):
            recorded(name, request.subject, driving.await_word, where, number, action)
        else:
            args = (where, number, action, alarms)
            recorded(name, request.subject, driving.act, *args, spare=number in spared)


def _tidy(request: RolloutRequest, actions: tuple[Action, ...], begin: int) -> None:
    where, release_id = request.environment, request.subject
    for number, action in enumerate(actions, begin):
        place = (where, request.cluster, request.rollout_id)
        try:
            name = f"{where}/{step_name(action)}"
            # Nothing stays pinned, also when a person ends the release now.
            run = recorded_always if isinstance(action, Unpin) else recorded
            run(name, release_id, work.perform, place, number, action)
        except OvenbirdError as error:
            recorded_always(f"{where}/left", release_id, work.left, action, str(error))


def _judge(request: RolloutRequest, at: At, action: Judge, period_s: float) -> None:
    """Look once in each metric period, until it can be told; missing data make it longer.

    A person who promotes the rollout ends it: then nothing is judged any more.
    """
    where, subject = request.environment, request.subject
    since = recorded(f"{where}/judge", subject, driving.begin_look, request, at, action)
    if since is None:
        return
    last = at.looks * EXTENSIONS
    for turn in range(1, last + 1):
        pause(period_s)
        name, now = f"{where}/look", replace(at, look=turn)
        verdict = recorded(name, subject, driving.look, request, now, action, since)
        if verdict is None:
            return
        if can_tell(verdict, turn, is_over=now.observed >= 1) or turn == last:
            seconds = round(turn * period_s)
            name, args = f"{where}/judged", (request, now, action, verdict, seconds)
            recorded(name, subject, looking.judged, *args)
            return


def _observe(request: RolloutRequest, number: int, action: Observe, period_s: float) -> None:
    """Look at the guards once in each metric period until the time is over, or it is promoted."""
    where, release_id = request.environment, request.subject
    if not recorded(f"{where}/observe", release_id, driving.observes, request, number, action):
        return
    for turn in range(math.ceil(round(action.seconds / period_s, 6))):
        pause(min(period_s, action.seconds - turn * period_s))
        if not recorded(f"{where}/guard", release_id, driving.guards, request, number, action):
            return
    recorded(f"{where}/observed", release_id, work.observed, request, number, action)


def _stop(request: RolloutRequest, plan: Plan, why: OvenbirdError) -> Ending:
    """Leave everything as it is, for a person to look at."""
    name = f"{request.environment}/stop"
    hint = recorded_always(name, request.subject, work.stop, request, plan, str(why))
    return work.failure(str(why), hint, why)


def _on_failure(request: RolloutRequest, app: AppSpec) -> OnFailure:
    found = (spec for spec in app.environments if spec.name == request.environment)
    return next(spec.on_failure for spec in found)


def _retreat(request: RolloutRequest, plan: Plan, why: OvenbirdError) -> Ending:
    where, release_id = request.environment, request.subject
    made = work.created(plan)
    if not made:
        return work.failure(str(why), why.hint, why)
    name = f"{where}/retreat"
    try:
        back = recorded_always(name, release_id, work.plan_retreat, request, made, str(why))
        for number, action in enumerate(back.actions, work.RETREAT_FROM):
            name = f"{where}/retreat/{step_name(action)}"
            place = (where, request.cluster, request.rollout_id)
            recorded_always(name, release_id, work.perform, place, number, action)
    except OvenbirdError as error:
        text = f"{why}; and the retreat failed: {error}"
        hint = f"Look at `ovenbird cluster show {request.cluster}`"
        return work.failure(text, hint, why)
    return work.ending_of(why)


def step_name(action: Action) -> str:
    """Return an action's name in the database, as ``set_weights``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(action).__name__).lower()
