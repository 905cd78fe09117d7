"""A rollout driven by hand: its steps stand where a person wants them to, and go on.

    paused? ─▶ stand until ``continue`` ─▶ promoted, and to be spared? ─▶ yes: left out
                                                                       └▶ no: do it

Whoever says a word writes it into the store; a step that stands looks there, and alarms
and an abort end it meanwhile. Killed, it stands again. Nothing else is recorded, so
the order of steps is the same whoever says what.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import Action, AwaitWord, Judge, Observe, describe
from ovenbird.domain.releases import Phase, RolloutRequest
from ovenbird.domain.verdicts import Verdict
from ovenbird.domain.words import GOES_ON, WAITS, action_word
from ovenbird.pipeline import judge_steps as looking
from ovenbird.pipeline import rollout_steps as work
from ovenbird.pipeline.judge_steps import At
from ovenbird.pipeline.steps import Step

LOOK_S = 0.5  # how soon a word is heard, at most
ALARMS_S = 10.0  # how often alarms are asked while a person is waited for, at most

Place = tuple[str, ClusterName, str]
"""Environment, cluster, and id of the rollout."""


def act(
    step: Step, where: Place, number: int, action: Action, alarms: tuple[str, ...], *, spare: bool
) -> None:
    """Do one action of a rollout's plan, when nobody pauses it.

    Args:
        step: Ports.
        where: Environment, cluster, and id of the rollout.
        number: The action's place in the plan.
        action: What to do.
        alarms: Those that end it when they fire.
        spare: Whether a promoted rollout does without it.

    Raises:
        Aborted: A person ended the rollout.
        Unhealthy: An alarm fires, or instances did not get healthy.
        Conflict: The world has moved since the plan was made.
    """
    if not _is_left_out(step, where, number, action, alarms, spare=spare):
        work.perform(step, where, number, action, alarms)


def await_word(step: Step, where: Place, number: int, action: AwaitWord) -> None:
    """Stand until a person lets the rollout go on.

    Raises:
        Aborted: A person ended it.
        Unhealthy: An alarm fires.
    """
    if _is_left_out(step, where, number, action, action.alarms, spare=True):
        return
    what, begun = action_word(number), step.ports.clock.now()
    _stand(
        step,
        where,
        action.alarms,
        what=what,
        text=describe(action),
    )
    actor = step.ports.store.words(where[2]).continued(what) or "promotion"
    seconds = round((step.ports.clock.now() - begun).total_seconds(), 3)
    text = f"{describe(action)}: {actor}"
    step.ports.store.put_action(where[2], number, text=text, seconds=seconds)


def begin_look(step: Step, request: RolloutRequest, at: At, action: Judge) -> datetime | None:
    """Return the time from which the canary is observed; None when it is not to be judged.

    Raises:
        Aborted: A person ended the rollout.
    """
    where = (request.environment, request.cluster, request.rollout_id)
    if _is_left_out(step, where, at.action, action, action.alarms, spare=True):
        return None
    return looking.begin_look(step, request, at, action)


def look(
    step: Step, request: RolloutRequest, at: At, action: Judge, since: datetime
) -> Verdict | None:
    """Judge what the canary did until now; None when a person promoted it meanwhile.

    Raises:
        Unhealthy: An alarm fires, which counts in any case.
    """
    where = (request.environment, request.cluster, request.rollout_id)
    if _is_promoted(step, where, at.action, action):
        _watchful(step, where, action.alarms).refuse_alarms()
        return None
    return looking.look(step, request, at, action, since)


def observes(step: Step, request: RolloutRequest, number: int, action: Observe) -> bool:
    """Begin to observe; False when a person promoted the rollout.

    Raises:
        Unhealthy: An alarm fires already.
        Conflict: The group is gone.
    """
    where = (request.environment, request.cluster, request.rollout_id)
    if _is_left_out(step, where, number, action, action.alarms, spare=True):
        return False
    work.begin_observing(step, request, action)
    return True


def guards(step: Step, request: RolloutRequest, number: int, action: Observe) -> bool:
    """Look at the alarms once; False when a person promoted the rollout meanwhile.

    Raises:
        Unhealthy: One fires.
    """
    work.guard(step, request, action)
    where = (request.environment, request.cluster, request.rollout_id)
    return not _is_promoted(step, where, number, action)


def _is_left_out(
    step: Step, where: Place, number: int, action: Action, alarms: tuple[str, ...], *, spare: bool
) -> bool:
    words = step.ports.store.words(where[2])
    while pause := words.pause:
        text = f"Paused by {words.said[pause]} before: {describe(action)}"
        _stand(step, where, alarms, what=pause, text=text)
        words = step.ports.store.words(where[2])
    if not isinstance(action, AwaitWord):  # else it may stand on
        _goes_on(step, where[2])
    return spare and _is_promoted(step, where, number, action)


def _is_promoted(step: Step, where: Place, number: int, action: Action) -> bool:
    actor = step.ports.store.words(where[2]).promoted_by
    if actor:
        _goes_on(step, where[2])
        text = f"Left out, promoted by {actor}: {describe(action)}"
        step.say(text)
        step.ports.store.put_action(where[2], number, text=text, seconds=0.0)
    return bool(actor)


def _stand(
    step: Step,
    where: Place,
    alarms: tuple[str, ...],
    *,
    what: str,
    text: str,
) -> None:
    """Wait for a person; everybody sees that it waits, and for what.

    Args:
        step: Ports.
        where: Environment, cluster, and id of the rollout.
        alarms: Those that end it when they fire.
        what: The pause, or the action, that a word lets go on.
        text: Why it stands.
    """
    environment, _, rollout_id = where
    store, clock = step.ports.store, step.ports.clock
    guards = _watchful(step, where, alarms)
    if store.words(rollout_id).lets_go(what):
        _goes_on(step, rollout_id)
        return
    every = min(ALARMS_S, step.ports.environments[environment].period_s)
    asked = clock.now()
    guards.refuse_alarms()
    with _seen_to_wait(step, rollout_id, what, text):
        while not store.words(rollout_id).lets_go(what):
            step.refuse_aborted()
            if (clock.now() - asked).total_seconds() >= every:
                asked = clock.now()
                guards.refuse_alarms()
            clock.sleep(min(LOOK_S, every))


def _goes_on(step: Step, rollout_id: str) -> None:
    """Write that a rollout goes on that stood in a process which ended."""
    if step.ports.store.get_rollout(rollout_id).phase is Phase.WAITING:
        phases(step, rollout_id, Phase.RUNNING)
        step.note(GOES_ON, "", {"rollout": rollout_id})


@contextmanager
def _seen_to_wait(step: Step, rollout_id: str, what: str, text: str) -> Iterator[None]:
    phases(step, rollout_id, Phase.WAITING)
    step.note(WAITS, text, {"rollout": rollout_id, "what": what})
    try:
        yield
    finally:
        phases(step, rollout_id, Phase.RUNNING)
        step.note(GOES_ON, "", {"rollout": rollout_id, "what": what})


def phases(step: Step, rollout_id: str, phase: Phase) -> None:
    """Write where a rollout stands, and with it the release that it is part of."""
    store = step.ports.store
    release_id = store.get_rollout(rollout_id).release_id
    store.change_rollout(rollout_id, phase=phase)
    if release_id:
        store.change_release(release_id, phase=phase)


def _watchful(step: Step, where: Place, alarms: tuple[str, ...]) -> work.Watchful:
    metrics = step.ports.environments[where[0]].metrics
    return work.Watchful(step=step, metrics=metrics, alarms=alarms)
