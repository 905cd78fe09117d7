"""A person's words to a rollout: pause, continue, promote; and which one is meant.

Each word is written down and can be said again. Who lets a rollout go on works on it,
unless another process does.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovenbird.domain.errors import Conflict, InvalidRequest, NotFound
from ovenbird.domain.releases import Phase, Rollout, show_command
from ovenbird.domain.words import PROMOTE, continue_word
from ovenbird.operations.opening import Installation
from ovenbird.operations.releases import LATEST, Wait, find_wait
from ovenbird.operations.releasing import go_on
from ovenbird.operations.work import Result, Tell
from ovenbird.store.records import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """A rollout that a person drives, and what it waits for.

    Args:
        subject: The release that it is part of, or itself.
        wait: The word that it waits for; None while it goes on.
    """

    rollout: Rollout
    subject: str
    wait: Wait | None


def list_rollouts(
    store: Store, *, cluster: str | None = None, environment: str | None = None
) -> tuple[Rollout, ...]:
    """Return the rollouts, newest first; other changes of clusters are none.

    Args:
        store: Our records.
        cluster: Only of this cluster.
        environment: Only in this environment.
    """
    return tuple(
        found
        for found in store.list_rollouts(cluster)
        if found.kind == "rollout" and environment in {None, found.environment}
    )


def find(store: Store, text: str = LATEST) -> Driven:
    """Return the rollout that a person means.

    Args:
        store: Our records.
        text: Its id or a unique beginning of it, ``latest``, or the id of its release, or its
            cluster, for the newest there.

    Raises:
        NotFound: There is none.
        InvalidRequest: Several begin so.
    """
    found = list_rollouts(store)
    exact = [one for one in found if text in {one.rollout_id, one.release_id, one.cluster}]
    exact = exact or [one for one in found if text == LATEST]
    begun = exact[:1] or [one for one in found if text and one.rollout_id.startswith(text)]
    if not begun:
        hint = "`ovenbird rollout list` shows what there is"
        raise NotFound(f"No rollout `{text}`", hint=hint)
    if len(begun) > 1:
        names = ", ".join(f"`{one.rollout_id}`" for one in begun[:5])
        raise InvalidRequest(f"`{text}` may be one of {len(begun)} rollouts", hint=f"As {names}")
    one = store.get_rollout(begun[0].rollout_id)
    subject = one.release_id or one.rollout_id
    wait = find_wait(store, subject)
    return Driven(
        rollout=one,
        subject=subject,
        wait=wait if wait and wait.rollout_id == one.rollout_id else None,
    )


def get_going(store: Store, text: str = LATEST) -> Driven:
    """Return a rollout that has not ended.

    Raises:
        NotFound: There is none.
        InvalidRequest: Several begin so.
        Conflict: It has ended, or has not begun.
    """
    found = find(store, text)
    one = found.rollout
    show = show_command(one.rollout_id, one.release_id)
    if one.phase.ended:
        raise Conflict(f"`{one.rollout_id}` has ended: {one.state}", hint=f"`{show}` says how")
    if one.phase is Phase.QUEUED:
        raise Conflict(
            f"`{one.rollout_id}` has not begun: it waits for its turn",
            hint=f"`ovenbird rollout abort {found.subject}` ends it",
        )
    return found


def pause(installation: Installation, driven: Driven, *, actor: str) -> None:
    """Let a rollout stand after its present action; its weights stay, and its alarms count."""
    store, rollout_id = installation.store, driven.rollout.rollout_id
    word = store.words(rollout_id).next_pause
    store.say(rollout_id, word, actor=actor, at=installation.ports.clock.now())


def refuse_nothing_to_continue(store: Store, driven: Driven) -> None:
    """Raise if a rollout neither is paused nor waits, nor did so before.

    Raises:
        Conflict: There is nothing that could go on.
    """
    words = store.words(driven.rollout.rollout_id)
    continued = any(word.startswith(continue_word("")) for word in words.said)
    if not (words.pause or driven.wait or continued):
        raise Conflict(
            f"`{driven.rollout.rollout_id}` neither is paused nor waits for a word",
            hint=f"Follow it with `ovenbird rollout watch {driven.rollout.rollout_id}`",
        )


def continue_(installation: Installation, driven: Driven, *, actor: str, tell: Tell) -> Result:
    """Let a rollout go on that is paused, or whose plan waits for a word.

    Raises:
        Conflict: It does neither, and never did.
    """
    store = installation.store
    refuse_nothing_to_continue(store, driven)
    _let_go_on(installation, driven, actor=actor)
    return go_on(installation, driven.subject, tell)


def promote(installation: Installation, driven: Driven, *, actor: str, tell: Tell) -> Result:
    """Leave out the remaining steps: full capacity, then all traffic; alarms still count."""
    at = installation.ports.clock.now()
    installation.store.say(driven.rollout.rollout_id, PROMOTE, actor=actor, at=at)
    _let_go_on(installation, driven, actor=actor)
    return go_on(installation, driven.subject, tell)


def _let_go_on(installation: Installation, driven: Driven, *, actor: str) -> None:
    store, rollout_id = installation.store, driven.rollout.rollout_id
    waits = {driven.wait.what} if driven.wait else set()
    for what in {store.words(rollout_id).pause, *waits} - {""}:
        store.say(rollout_id, continue_word(what), actor=actor, at=installation.ports.clock.now())
