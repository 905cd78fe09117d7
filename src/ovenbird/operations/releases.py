"""Questions about releases: answered from the store; no engine is started, nothing is adopted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ovenbird.domain.errors import Aborted, InvalidRequest, NotFound, OvenbirdError, Unhealthy
from ovenbird.domain.events import Event
from ovenbird.domain.ports import Clock
from ovenbird.domain.releases import Ending, Phase, Release, Report, Rollout
from ovenbird.domain.words import WAITS
from ovenbird.store.records import Store

LATEST = "latest"
EVERY_S = 0.2  # how often a follower looks for new events
ASKED, ANSWERED = "/ask.finished", "/answer.started"  # how kinds of events end
WAITING = "/ask.waiting"
STANDS = f".{WAITS}"


def list_releases(store: Store, app: str | None = None) -> tuple[Release, ...]:
    """Return the releases, newest first."""
    return store.list_releases(app)


def get_report(store: Store, text: str = LATEST) -> Report:
    """Return all that is known of one release.

    Args:
        store: Our records.
        text: Its id, a unique beginning of it, or ``latest``.

    Raises:
        NotFound: There is none.
        InvalidRequest: Several begin so.
    """
    return store.get_report(release_id_of(store, text))


def release_id_of(store: Store, text: str = LATEST) -> str:
    """Return the id of the release that a person means.

    Raises:
        NotFound: There is none.
        InvalidRequest: Several begin so.
    """
    return _meant(text, [release.release_id for release in store.list_releases()])


def subject_of(store: Store, text: str = LATEST) -> str:
    """Return the id of the release, or of another change of a cluster, that a person means.

    Raises:
        NotFound: There is none.
        InvalidRequest: Several begin so.
    """
    releases = [release.release_id for release in store.list_releases()]
    changes = [found.rollout_id for found in store.list_rollouts() if not found.release_id]
    return _meant(text, [*releases, *changes])


def phase_of(store: Store, subject: str) -> Phase:
    """Return where a release, or another change, stands.

    Raises:
        NotFound: There is none of that id.
    """
    try:
        return store.get_release(subject).phase
    except NotFound:
        return store.get_rollout(subject).phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a release, or a rollout, waits for.

    Args:
        environment: Whose approval; empty when it waits for another word.
        rollout_id: Which of its rollouts stands until a person lets it go on; or empty.
        why: Why it stands, in words.
        what: The pause, or the action of its plan, after which it stands.
    """

    environment: str = ""
    rollout_id: str = ""
    why: str = ""
    what: str = ""

    @property
    def command(self) -> str:
        """The command that ends the wait, without the name of what waits."""
        return "ovenbird rollout continue" if self.rollout_id else "ovenbird release approve"


def find_wait(store: Store, subject: str) -> Wait | None:
    """Return which word a release or a rollout waits for, that nobody has said yet."""
    if phase_of(store, subject) is not Phase.WAITING:
        return None
    asked = [e for e in store.list_events(subject) if e.kind.endswith((WAITING, STANDS))]
    if not asked:
        return None
    facts = {key: str(value) for key, value in asked[-1].facts.items()}
    if "rollout" not in facts:
        environment = facts.get("environment", "")
        said = store.said(subject, approval_word(environment))
        return None if said else Wait(environment=environment)
    words = store.words(facts["rollout"])
    if words.lets_go(facts["what"]):
        return None
    return Wait(rollout_id=facts["rollout"], why=asked[-1].text, what=facts["what"])


def is_blocked(store: Store, subject: str) -> bool:
    """Tell whether something waits for its turn behind what waits for a person."""
    holders = [store.find_lock(name) for name in store.queued_for(subject)]
    return any(find_wait(store, holder.owner) for holder in holders if holder is not None)


def waits_for(store: Store, release_id: str) -> str:
    """Return the environment whose approval a release waits for; empty when it does not wait."""
    wait = find_wait(store, release_id)
    return wait.environment if wait else ""


def approval_word(environment: str) -> str:
    """Return what is kept of an approval; stored, never changed."""
    return f"approve {environment}"


def list_queued(store: Store) -> tuple[Release, ...]:
    """Return the releases that wait for their turn, the newest first."""
    return tuple(one for one in store.list_releases() if one.phase is Phase.QUEUED)


def ending_of(store: Store, subject: str) -> Ending:
    """Return how a release, or another change, ended, as our records have it.

    Raises:
        NotFound: There is none of that id.
    """
    found: Release | Rollout
    try:
        found = store.get_release(subject)
    except NotFound:
        found = store.get_rollout(subject)
    return Ending(phase=found.phase, error=found.error, hint=found.hint)


def error_of(ending: Ending) -> OvenbirdError | None:
    """Return an error that says how something ended; None when it ended well."""
    if ending.phase in {Phase.PROMOTED, Phase.BAKED}:
        return None
    by_hand = {Phase.ABORTED, Phase.REJECTED, Phase.SUPERSEDED}
    kind = Unhealthy if ending.phase is Phase.ROLLED_BACK else OvenbirdError
    kind = Aborted if ending.phase in by_hand else kind
    words = ending.error or f"It ended as {ending.phase.replace('_', ' ')}"
    return kind(words, hint=ending.hint)


def list_events(store: Store, subject: str) -> tuple[Event, ...]:
    """Return what happened, in order."""
    return store.list_events(subject)


def follow(store: Store, subject: str, *, clock: Clock) -> Iterator[Event]:
    """Yield what happened and what happens, until it has ended."""
    after = 0
    while True:
        ended = phase_of(store, subject).ended  # asked first: its last event is there by then
        for event in store.list_events(subject, after=after):
            after = event.sequence
            yield event
        if ended:
            return
        clock.sleep(EVERY_S)


def _meant(text: str, ids: Sequence[str]) -> str:
    """Return the one that is meant.

    Args:
        text: The id, a unique beginning of it, or ``latest``.
        ids: What there is, newest first.
    """
    if text == LATEST and ids:
        return ids[0]
    if text in ids:
        return text
    found = [known for known in ids if text and known.startswith(text)]
    if not found:
        what = "There is no release yet" if text == LATEST else f"No release `{text}`"
        raise NotFound(what, hint="`ovenbird release list` shows what there is")
    if len(found) > 1:
        names = ", ".join(f"`{known}`" for known in found[:5])
        raise InvalidRequest(f"`{text}` may be one of {len(found)} releases", hint=f"As {names}")
    return found[0]
