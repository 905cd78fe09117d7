"""Questions about releases: answered from the store; no engine is started, nothing is adopted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.events import Event
from ovenbird.domain.ports import Clock
from ovenbird.domain.releases import Phase, Release, Report
from ovenbird.store.records import Store

LATEST = "latest"
EVERY_S = 0.2  # how often a follower looks for new events
ASKED, ANSWERED = "/ask.finished", "/answer.started"  # how kinds of events end
WAITING = "/ask.waiting"


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


def waits_for(store: Store, release_id: str) -> str:
    """Return the environment whose approval a release waits for; empty when it does not wait."""
    if phase_of(store, release_id) is not Phase.WAITING:
        return ""
    asked = [event for event in store.list_events(release_id) if event.kind.endswith(WAITING)]
    environment = str(asked[-1].facts.get("environment", "")) if asked else ""
    return "" if store.said(release_id, approval_word(environment)) else environment


def approval_word(environment: str) -> str:
    """Return what is kept of an approval; stored, never changed."""
    return f"approve {environment}"


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
