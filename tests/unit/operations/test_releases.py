from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound, Unhealthy
from ovenbird.domain.events import Event
from ovenbird.domain.releases import Ending, Phase, Release, Rollout
from ovenbird.operations import releases
from ovenbird.operations.work import error_of
from ovenbird.store.opening import open_store
from ovenbird.store.records import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = Release(
    release_id="hello-1111111-1", app="hello", version="1.0.0", ref="v1", commit="1" * 40,
    phase=Phase.PROMOTED, actor="ann", started_at=AT,
)  # fmt: skip
SECOND = replace(
    FIRST, release_id="hello-2222222-1", phase=Phase.WAITING, started_at=AT + timedelta(hours=1)
)
CHANGE = Rollout(
    rollout_id="hello-prod-rollback-1", release_id="", kind="rollback", environment="prod",
    cluster="hello-prod", image_id="", version="", actor="ann", phase=Phase.RUNNING, started_at=AT,
)  # fmt: skip


class Clock:
    """Ends the release when somebody waits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> datetime:
        return AT

    def sleep(self, seconds: float) -> None:
        say(self._store, "finish.promoted", "promoted")
        self._store.change_release(SECOND.release_id, phase=Phase.PROMOTED)


def say(store: Store, kind: str, text: str = "", **facts: str) -> None:
    store.add_event(
        Event(sequence=0, at=AT, subject=SECOND.release_id, kind=kind, text=text, facts=facts)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = open_store(f"sqlite:///{tmp_path}/store.sqlite")
    for release in (FIRST, SECOND):
        found.put_release(release)
    found.put_rollout(CHANGE)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("latest", SECOND.release_id),
        ("hello-1", FIRST.release_id),
        (FIRST.release_id, FIRST.release_id),
    ],
)
def test_a_release_is_meant_by_id_by_a_beginning_or_as_the_latest(
    store: Store, text: str, meant: str
) -> None:
    assert releases.release_id_of(store, text) == meant


def test_what_is_ambiguous_or_not_there_is_refused(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="may be one of 2 releases"):
        releases.release_id_of(store, "hello-")
    for text in ("nothing", "", "hello-prod"):
        with pytest.raises(NotFound):
            releases.release_id_of(store, text)


def test_other_changes_are_meant_where_they_can_be(store: Store) -> None:
    assert releases.subject_of(store, "hello-prod") == CHANGE.rollout_id
    assert releases.phase_of(store, CHANGE.rollout_id) is Phase.RUNNING


def test_a_release_waits_for_an_environment_until_a_person_approved_it(store: Store) -> None:
    say(store, "prod/ask.waiting", environment="prod")

    assert releases.waits_for(store, SECOND.release_id) == "prod"
    assert releases.waits_for(store, FIRST.release_id) == ""
    store.say(SECOND.release_id, releases.approval_word("prod"), actor="ben", at=AT)
    assert releases.waits_for(store, SECOND.release_id) == ""


def test_a_follower_sees_the_last_event(store: Store) -> None:
    say(store, "build.started")

    events = list(releases.follow(store, SECOND.release_id, clock=Clock(store)))

    assert [event.kind for event in events] == ["build.started", "finish.promoted"]


def test_an_ending_gives_back_the_error_that_it_came_from() -> None:
    error = error_of(Ending(phase=Phase.ROLLED_BACK, error="Worse", hint="Look", cause="Unhealthy"))

    assert (type(error), str(error)) == (Unhealthy, "Worse")
    assert error_of(Ending(phase=Phase.PROMOTED)) is None
    old = error_of(Ending(phase=Phase.ROLLED_BACK))  # written before there were causes
    assert (str(old), old.exit_status if old else 0) == ("It ended as rolled back", 1)
