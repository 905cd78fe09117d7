"""Locks and turns: who has one, who is next, and nothing is had twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import Conflict
from ovenbird.store.opening import open_store
from ovenbird.store.records import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)
LOCK = "cluster hello-prod in prod"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.sqlite")
    yield opened
    opened.close()


def asks(store: Store, owner: str, minute: int) -> bool:
    at = AT + timedelta(minutes=minute)
    return store.take_turn(LOCK, owner=owner, reason="-", at=at)


def test_who_asked_first_is_next(store: Store) -> None:
    assert asks(store, "a", 0)
    assert not asks(store, "c", 1)
    assert not asks(store, "b", 2)
    assert [turn.owner for turn in store.list_turns(LOCK)] == ["c", "b"]

    store.unlock(LOCK, owner="a")

    assert not asks(store, "b", 3)
    assert asks(store, "c", 4)
    assert asks(store, "c", 5), "asked again by a step that ran twice"
    assert [turn.owner for turn in store.list_turns(LOCK)] == ["b"]


def test_who_gives_up_leaves_the_queue_with_all_locks(store: Store) -> None:
    for minute, owner in enumerate("abc"):
        asks(store, owner, minute)

    store.unlock(LOCK, owner="b")
    store.unlock_all(owner="a")

    assert store.list_turns(LOCK)[0].owner == "c"
    assert asks(store, "c", 9)
    assert store.list_turns(LOCK) == ()


def test_queues_of_other_locks_do_not_mix(store: Store) -> None:
    asks(store, "a", 0)
    asks(store, "b", 1)

    assert store.take_turn("app hello", owner="b", reason="-", at=AT)
    assert store.list_turns("app hello") == ()
    assert store.list_turns("in prod") == ()


def test_a_held_lock_says_by_whom_why_and_for_how_long(store: Store) -> None:
    store.lock(LOCK, owner="a", reason="A rollout is under way", at=AT)

    with pytest.raises(Conflict, match=r"A rollout.*`a` holds.*\(2 hours\)"):
        store.lock(LOCK, owner="b", reason="-", at=AT + timedelta(hours=2))
    store.lock(LOCK, owner="a", reason="-", at=AT)
