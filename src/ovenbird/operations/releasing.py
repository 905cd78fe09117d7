"""Commands for releases: start, resume, approve, reject, abort.

    start ─▶ take over what is left ─▶ write down and begin ─▶ watch ─▶ ended, or waits
    approve, reject, abort ─▶ say it ─▶ does a process work on it? ─▶ no: take it over, watch

A release that waits for a person ends the command; the person's word goes on with it, in
the process of whoever says it, unless another one works on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ovenbird.domain.errors import Conflict
from ovenbird.domain.events import Event
from ovenbird.domain.names import ClusterName
from ovenbird.domain.releases import Goal, Phase, Release, ReleaseRequest
from ovenbird.domain.strategies.refusals import refuse_unconfirmed
from ovenbird.operations.opening import Installation
from ovenbird.operations.preparing import Prepared, next_id
from ovenbird.operations.queueing import REFUSED, Turn, refuse_taken, supersede_releases
from ovenbird.operations.releases import (
    approval_word,
    find_wait,
    is_blocked,
    phase_of,
    subject_of,
    waits_for,
)
from ovenbird.operations.work import (
    Result,
    Tell,
    Watch,
    at_work,
    end_foreign,
    result_of,
    starting,
    take_over,
)
from ovenbird.pipeline import release, signals
from ovenbird.pipeline.release_steps import app_lock
from ovenbird.pipeline.runtime import Runtime
from ovenbird.pipeline.steps import ABORT
from ovenbird.store.records import Store

VALUES = "values"  # kind of the event that says which were given


def start(  # noqa: PLR0913 - one for each wish, all by name
    installation: Installation,
    prepared: Prepared,
    *,
    fresh: bool,
    actor: str,
    tell: Tell,
    goal: Goal = Goal.ROLLOUT,
    turn: Turn = REFUSED,
) -> Result:
    """Release a commit in this process, until it has ended or waits for an approval.

    What dead processes left is taken over first. An unfinished release of this app goes on
    to its end before the new one begins; if it is of this very commit and has the same goal,
    it is the one that was asked for.

    Raises:
        InvalidRequest: A strategy leaves no way back, and nobody confirmed that.
        Conflict: A release of the app is under way in another process, or waits.
    """
    if goal is Goal.ROLLOUT:
        for spec in prepared.spec.environments:
            refuse_unconfirmed(spec, ClusterName(app=prepared.spec.app, stack=spec.name))
    with at_work(installation) as engine:
        watch, store = Watch(engine, tell), engine.ports.store
        taken = take_over(engine)
        mine = [
            subject
            for subject in going(engine, taken)
            if _is_of(store, subject, prepared)
            if not (turn.supersede and phase_of(store, subject) is Phase.QUEUED)
        ]
        watch.hear(taken)
        watch.until_done(mine)
        release_id = next((s for s in mine if _is_meant(store, s, prepared, goal)), "")
        if not release_id:
            if turn.supersede:
                by = next_id(store, prepared)
                watch.until_done(supersede_releases(engine, prepared.spec.app, by=by))
            wish = _Wish(fresh=fresh, goal=goal, queue=turn.waits, actor=actor)
            release_id = _begin(engine, prepared, wish)
            watch.until_done([release_id])
        result = result_of(engine, release_id)
        watch.until_done(going(engine, taken))
        return result


def resume_all(installation: Installation, tell: Tell) -> tuple[Result, ...]:
    """Go on with everything that dead processes left unfinished."""
    with at_work(installation) as engine:
        watch = Watch(engine, tell)
        taken = take_over(engine)
        watch.until_done(going(engine, taken))
        return tuple(result_of(engine, subject) for subject in taken)


def resume(installation: Installation, subject: str, tell: Tell) -> Result:
    """Go on with one release or change whose process died, and with what else is left.

    Raises:
        Conflict: It has ended, or another process works on it.
    """
    refuse_ended(installation.store, subject)
    if wait := find_wait(installation.store, subject):
        return Result(subject=subject, wait=wait)
    result = go_on(installation, subject, tell)
    if result.elsewhere:
        raise Conflict(
            f"Another process works on `{subject}`",
            hint=f"Follow it with `ovenbird release logs --follow {subject}`",
        )
    return result


def approve(
    installation: Installation, release_id: str, *, environment: str, actor: str, tell: Tell
) -> Result:
    """Let a release that waits go on, in this process if no other works on it.

    Args:
        installation: Where it is released.
        release_id: Which release.
        environment: Which approval; empty for the one that it waits for.
        actor: Who approves.
        tell: Takes each event.

    Raises:
        Conflict: It does not wait for this approval.
    """
    store = installation.store
    if _is_approved(store, release_id):
        return go_on(installation, release_id, tell)
    found = awaited(store, release_id, environment)
    _send(installation, release_id, found, word=signals.APPROVE, actor=actor)
    # Kept after it was sent: who finds it here need not send it again.
    at = installation.ports.clock.now()
    store.say(release_id, approval_word(found), actor=actor, at=at)
    return go_on(installation, release_id, tell)


def left_unfinished(installation: Installation, subject: str = "") -> Mapping[str, str]:
    """Return what a resume would go on with, and what holds each: its process died.

    Args:
        installation: Where to look.
        subject: Only this one; empty for all.
    """
    store = installation.store
    found = [one.release_id for one in store.list_releases() if not one.phase.ended]
    found += [
        one.rollout_id
        for one in store.list_rollouts()
        if not one.phase.ended and not one.release_id
    ]
    wanted = subject_of(store, subject) if subject else ""
    return {
        one: "would go on"
        for one in found
        if wanted in {"", one}
        and not find_wait(store, one)
        and not signals.is_alive(one, state=installation.state)
    }


def going_rollouts(store: Store, subject: str) -> tuple[str, ...]:
    """Return the clusters on which a release, or a rollout, works now."""
    return tuple(
        one.cluster
        for one in store.list_rollouts()
        if subject in {one.release_id, one.rollout_id} and not one.phase.ended
    )


def reject(
    installation: Installation, release_id: str, *, environment: str, actor: str, tell: Tell
) -> Result:
    """End a release that waits; what it rolled out before stays.

    Raises:
        Conflict: It does not wait for this approval.
    """
    found = awaited(installation.store, release_id, environment)
    _send(installation, release_id, found, word=signals.REJECT, actor=actor)
    return go_on(installation, release_id, tell, ends_as=Phase.REJECTED)


def abort(installation: Installation, subject: str, *, actor: str, tell: Tell) -> Result:
    """End a release or a change at its next step; a rollout under way is taken back first.

    Raises:
        Conflict: It has ended.
    """
    store = installation.store
    refuse_ended(store, subject)
    store.say(subject, ABORT, actor=actor, at=installation.ports.clock.now())
    if environment := waits_for(store, subject):
        _send(installation, subject, environment, word=signals.ABORT, actor=actor)
    return go_on(installation, subject, tell, ends_as=Phase.ABORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """How a person wants a commit to be released."""

    fresh: bool
    goal: Goal
    queue: bool
    actor: str


def _begin(engine: Runtime, prepared: Prepared, wish: _Wish) -> str:
    """Write a new attempt down and start its workflow; both or neither, for who looks later."""
    store, source, app = engine.ports.store, prepared.source, prepared.spec.app
    now = engine.ports.clock.now()
    with starting(engine):
        release_id = next_id(store, prepared)
        if not wish.queue:
            _refuse_taken(store, app, now)
        # Before the lock, which so never belongs to a release that nobody knows.
        store.put_release(
            Release(
                release_id=release_id,
                app=app,
                version=prepared.version,
                ref=source.ref,
                commit=source.commit,
                phase=Phase.RUNNING,
                actor=wish.actor,
                started_at=now,
                goal=wish.goal,
            )
        )
        _tell_values(store, release_id, prepared.values, at=now)
        if not wish.queue:
            reason = "A release is under way"
            store.lock(app_lock(app), owner=release_id, reason=reason, at=now)
        release.start(
            ReleaseRequest(
                release_id=release_id,
                app=app,
                url=source.url,
                ref=source.ref,
                commit=source.commit,
                directory=source.directory,
                actor=wish.actor,
                fresh=wish.fresh,
                goal=wish.goal,
                queue=wish.queue,
                confirmed=prepared.confirmed,
                values=prepared.values,
            )
        )
    return release_id


def _refuse_taken(store: Store, app: str, now: datetime) -> None:
    """Raise if another release of the app goes on; nobody else begins one meanwhile.

    Raises:
        Conflict: One does.
    """
    lock = store.find_lock(app_lock(app))
    if lock and (environment := waits_for(store, lock.owner)):
        raise Conflict(
            f"Release `{lock.owner}` of `{app}` waits for approval of `{environment}`",
            hint=f"First `ovenbird release approve {lock.owner}` or "
            f"`ovenbird release reject {lock.owner}`; or take its place with `--supersede`",
            owner=lock.owner,
        )
    refuse_taken(store, app_lock(app), now)


def _is_of(store: Store, subject: str, prepared: Prepared) -> bool:
    return any(found.release_id == subject for found in store.list_releases(prepared.spec.app))


def _is_meant(store: Store, release_id: str, prepared: Prepared, goal: Goal) -> bool:
    found = store.get_release(release_id)
    same = found.commit == prepared.source.commit and found.goal is goal
    return same and _values_of(store, release_id) == prepared.values


def _values_of(store: Store, release_id: str) -> Mapping[str, str]:
    """Return the values that a release was given."""
    events = store.list_events(release_id)
    told = (event.facts for event in events if event.kind == VALUES)
    return {name: str(value) for name, value in next(told, {}).items()}


def _tell_values(store: Store, release_id: str, values: Mapping[str, str], *, at: datetime) -> None:
    if values:
        text = "Values given: " + ", ".join(f"`{name}={value}`" for name, value in values.items())
        facts: dict[str, str | int | float] = {**values}
        store.add_event(
            Event(sequence=0, at=at, subject=release_id, kind=VALUES, text=text, facts=facts)
        )


def going(engine: Runtime, subjects: tuple[str, ...]) -> list[str]:
    """Return those that do not wait for a person, nor behind what does."""
    store = engine.ports.store
    return [one for one in subjects if not (find_wait(store, one) or is_blocked(store, one))]


def go_on(
    installation: Installation, subject: str, tell: Tell, *, ends_as: Phase | None = None
) -> Result:
    """Work on something until it has ended or waits, unless another process does.

    Args:
        installation: Where it is.
        subject: A release or another change.
        tell: Takes each event.
        ends_as: How it ends when another version of this program began it; None to refuse.

    Raises:
        Conflict: Another version of this program began it.
    """
    if signals.is_alive(subject, state=installation.state):
        return Result(subject=subject, elsewhere=True)
    with at_work(installation) as engine:
        if engine.is_foreign(subject):
            if ends_as is None:
                raise _foreign(subject)
            return end_foreign(engine, subject, ends_as)
        watch = Watch(engine, tell)
        taken = take_over(engine)
        watch.hear((*taken, subject))
        if engine.knows(subject):
            watch.until_done({subject})
        watch.until_done(going(engine, taken))  # now: some may wait behind this one
        return result_of(engine, subject)


def _foreign(subject: str) -> Conflict:
    return Conflict(
        f"Another version of ovenbird began `{subject}`, whose steps this one does not have",
        hint=f"Go on with that version, or `ovenbird release abort {subject}` and start again: "
        "what it made is found and used",
    )


def _send(
    installation: Installation, release_id: str, environment: str, *, word: str, actor: str
) -> None:
    signals.send(
        release_id, environment=environment, word=word, actor=actor, state=installation.state
    )


def awaited(store: Store, release_id: str, environment: str) -> str:
    """Return the environment whose approval is waited for.

    Raises:
        Conflict: None is, or another one.
    """
    found = waits_for(store, release_id)
    if not found:
        phase = phase_of(store, release_id).replace("_", " ")
        raise Conflict(
            f"Release `{release_id}` does not wait for an approval: it is {phase}",
            hint=f"`ovenbird release show {release_id}` says where it stands",
        )
    if environment not in {"", found}:
        raise Conflict(f"Release `{release_id}` waits for approval of `{found}`")
    return found


def _is_approved(store: Store, release_id: str) -> bool:
    """Tell whether what it waits for was said, and the process that said it died."""
    waiting = phase_of(store, release_id) is Phase.WAITING
    return waiting and find_wait(store, release_id) is None


def refuse_ended(store: Store, subject: str) -> None:
    """Raise if a release or a rollout has ended.

    Raises:
        Conflict: It has.
    """
    phase = phase_of(store, subject)
    if phase.ended:
        raise Conflict(
            f"`{subject}` has ended: {phase.replace('_', ' ')}",
            hint=f"`ovenbird release logs {subject}` says how",
        )
