"""The store on a database of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.errors import Conflict, NotFound, Unrecorded
from ovenbird.domain.events import Event
from ovenbird.domain.judgements import Look
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.releases import Phase, Release, Rollout, VerdictGiven
from ovenbird.domain.sources import Source
from ovenbird.domain.verdicts import Outcome, Sample, Verdict
from ovenbird.store.opening import migrate, open_store
from ovenbird.store.records import Store
from ovenbird.store.tables import METADATA

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
RELEASE = Release(
    release_id="hello-3f2a91c-1",
    app="hello",
    version="",
    ref="v1.0.0",
    commit="3f2a91c" + "0" * 33,
    phase=Phase.RUNNING,
    actor="ann",
    started_at=AT,
)
ROLLOUT = Rollout(
    rollout_id="hello-3f2a91c-1-prod",
    release_id=RELEASE.release_id,
    kind="rollout",
    environment="prod",
    cluster="hello-prod",
    image_id="ami-1",
    version="1.0.0",
    actor="ann",
    phase=Phase.RUNNING,
    started_at=AT,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/store.sqlite")
    yield store
    store.close()


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    engine.dispose()

    assert differences == []


def test_a_store_is_opened_twice_by_two_processes_worth_of_handles(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/er/store.sqlite"
    first, second = open_store(url), open_store(url)
    first.put_release(RELEASE)

    assert second.get_release(RELEASE.release_id) == RELEASE
    first.close()
    second.close()


def test_the_records_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    open_store(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as database:
        database.execute("update alembic_version set version_num = '0999'")
        database.commit()

    with pytest.raises(Conflict, match="newer version") as caught:
        open_store(f"sqlite:///{file}")

    assert str(file) in str(caught.value)


def test_records_that_cannot_be_kept_are_said_to_be_so(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as database:
        database.execute("drop table events")

    with pytest.raises(Unrecorded, match="cannot be kept: no such table: events") as caught:
        store.last_sequence()

    assert "ovenbird release resume" in caught.value.hint


def test_a_release_is_written_over_and_comes_back_equal(store: Store) -> None:
    store.put_release(RELEASE)
    store.put_release(RELEASE)
    changed = store.change_release(
        RELEASE.release_id, phase=Phase.FAILED, ended_at=AT, error="it broke", hint="mend it"
    )

    assert store.list_releases() == (changed,)
    assert (changed.phase, changed.error) == (Phase.FAILED, "it broke")
    assert store.list_releases("other") == ()


def test_an_unknown_release_is_not_found_with_a_hint(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        store.get_release("hello-0-1")

    assert "release list" in caught.value.hint


def test_a_report_holds_stages_rollouts_actions_and_last_verdicts(store: Store) -> None:
    store.put_release(RELEASE)
    for kind, seconds in (("publish.finished", 0.2), ("build.finished", 1.5), ("build.said", 9)):
        facts = {"seconds": seconds}
        subject = RELEASE.release_id
        store.add_event(Event(sequence=0, at=AT, subject=subject, kind=kind, text="", facts=facts))
    store.put_rollout(ROLLOUT)
    store.put_action(ROLLOUT.rollout_id, 0, text="Create it", seconds=2.0)
    name = ServerGroupName.parse("hello-prod-v002")
    sample = Sample(
        name=name, since=AT, until=AT + timedelta(seconds=3), requests=90, errors=9, slow=0
    )
    for look, outcome in enumerate((Outcome.NOT_ENOUGH_DATA, Outcome.FAIL)):
        verdict = Verdict(outcome=outcome, reasons=("10 % errors",), canary=sample)
        found = Look(verdict=verdict, seconds=3.0)
        store.put_look(ROLLOUT.rollout_id, action=4, number=look, step_percent=5, look=found)

    report = store.get_report(RELEASE.release_id)

    assert [(stage.name, stage.seconds) for stage in report.stages] == [
        ("build", 1.5),
        ("publish", 0.2),
    ]
    assert [action.text for action in report.rollouts[0].actions] == ["Create it"]
    assert report.rollouts[0].verdicts == (
        VerdictGiven(
            step_percent=5,
            outcome="fail",
            canary_requests=90,
            observed_s=3.0,
            reasons=("10 % errors",),
        ),
    )


def test_a_change_of_a_rollout_keeps_its_actions(store: Store) -> None:
    store.put_rollout(ROLLOUT)
    store.put_action(ROLLOUT.rollout_id, 0, text="Create it", seconds=2.0)
    store.change_rollout(ROLLOUT.rollout_id, phase=Phase.PROMOTED, ended_at=AT)

    found = store.get_rollout(ROLLOUT.rollout_id)

    assert (found.phase, len(found.actions)) == (Phase.PROMOTED, 1)


def test_a_catalog_entry_comes_back_equal(store: Store) -> None:
    package = Package(
        name="hello",
        version="1.0.0",
        architecture="all",
        format=PackageFormat.DEB,
        path="/outbox/hello.deb",
        digest_sha256="ab",
        size_bytes=7,
        app="hello",
        commit=RELEASE.commit,
    )
    source = Source(url="/apps/hello", ref="v1.0.0", commit=RELEASE.commit, committed_at_epoch_s=1)
    entry = CatalogEntry(
        package=package,
        source=source,
        channel="candidate",
        state_number=1,
        published_at=AT,
        published_by="ann",
    )
    store.put_catalog_entry(entry)
    store.put_catalog_entry(entry)

    assert store.list_catalog("hello") == (entry,)
    assert store.list_catalog("other") == ()


def test_events_have_rising_numbers_and_can_be_followed(store: Store) -> None:
    event = Event(sequence=0, at=AT, subject="a", kind="bake.said", text="Installing", facts={})
    first, second = store.add_event(event), store.add_event(replace(event, subject="b"))

    assert second.sequence > first.sequence
    assert store.list_events("a") == (first,)
    assert store.list_events(after=first.sequence) == (second,)


def test_events_can_be_added_many_at_once(store: Store) -> None:
    event = Event(sequence=0, at=AT, subject="a", kind="bake.said", text="", facts={"s": 1.5})

    store.add_events([replace(event, text=text) for text in ("one", "two")])

    found = store.list_events("a")
    assert [one.text for one in found] == ["one", "two"]
    assert [dict(one.facts) for one in found] == [{"s": 1.5}] * 2
    assert 0 < found[0].sequence < found[1].sequence


def test_a_lock_is_kept_by_its_owner_and_refused_to_others_by_name(store: Store) -> None:
    store.lock("cluster hello-prod", owner="one", reason="A rollout is under way", at=AT)
    store.lock("cluster hello-prod", owner="one", reason="A rollout is under way", at=AT)

    with pytest.raises(Conflict, match="A rollout is under way: `one`") as caught:
        store.lock("cluster hello-prod", owner="two", reason="Another", at=AT)

    assert "release resume one" in caught.value.hint
    store.unlock_all(owner="two")
    assert store.find_lock("cluster hello-prod") is not None
    store.unlock_all(owner="one")
    assert store.find_lock("cluster hello-prod") is None


def test_the_first_word_of_its_kind_counts(store: Store) -> None:
    store.say("hello-3f2a91c-1", "abort", actor="ann", at=AT)
    store.say("hello-3f2a91c-1", "abort", actor="ben", at=AT)

    assert store.said("hello-3f2a91c-1", "abort") == "ann"
    assert store.said("hello-3f2a91c-1", "approve") is None
