"""The catalog's records on a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError

from ovenbird.domain.catalog import PackageKey
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.packages import PackageFormat
from ovenbird.store.opening import migrate, open_store
from ovenbird.store.records import Store
from tests.unit.domain.catalog_values import AT, FACTS, bare, entry, publication, state


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/store.sqlite")
    yield store
    store.close()


def test_an_entry_comes_back_with_all_its_facts_and_in_lists_without(store: Store) -> None:
    full = entry(facts=FACTS)
    store.put_catalog_entry(full)
    store.put_catalog_entry(full)

    assert store.get_catalog_entry(full.key) == full
    assert store.list_catalog("hello") == (bare(full),)
    assert store.list_catalog("other") == ()


def test_an_unknown_package_is_not_found_with_a_hint(store: Store) -> None:
    with pytest.raises(NotFound, match=r"no `hello 1.0.0 \(all deb\)`") as caught:
        store.get_catalog_entry(entry().key)

    assert "catalog list" in caught.value.hint


def test_facts_can_come_later_and_the_first_ones_count(store: Store) -> None:
    store.put_catalog_entry(entry())
    store.put_catalog_entry(entry(facts=FACTS))
    store.put_catalog_entry(entry(facts=replace(FACTS, builder="another")))

    assert store.get_catalog_entry(entry().key).facts == FACTS


def test_other_bytes_under_the_same_name_are_refused(store: Store) -> None:
    store.put_catalog_entry(entry())
    other = entry(digest="ff")

    with pytest.raises(Conflict, match="other bytes"):
        store.put_catalog_entry(other)
    with pytest.raises(Conflict, match="other bytes"):
        store.refuse_other_bytes(other.package)
    store.refuse_other_bytes(entry().package)
    store.refuse_other_bytes(entry("2.0.0").package)

    assert store.list_catalog() == (entry(),)


def test_a_list_can_be_short_and_be_of_one_channel(store: Store) -> None:
    entries = [entry(f"1.{n}.0", days=n) for n in range(3)]
    for one in entries:
        store.put_catalog_entry(one)
    store.put_publication(publication(entries[0], channel="release", number=4))

    assert store.list_catalog(limit=2) == (entries[2], entries[1])
    assert store.list_catalog(channel="release") == (
        replace(entries[0], channel="release", state_number=4),
    )
    assert store.list_catalog("other", channel="release") == ()


def test_lists_never_read_facts(store: Store) -> None:
    store.put_catalog_entry(entry(facts=FACTS))
    asked: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *words: asked.append(str(words[2])))

    store.list_catalog()
    store.list_catalog("hello", channel="candidate", limit=1)

    assert asked
    assert not [words for words in asked if "facts" in words]


def test_a_package_is_published_once_for_each_channel(store: Store) -> None:
    package = entry().package
    first, release = publication(entry()), publication(entry(), channel="release", number=9)
    store.put_publication(first)
    store.put_publication(replace(first, state_number=5, published_by="ben"))
    store.put_publication(release)

    assert store.publications_of(package) == (first, release)
    assert store.publications_of(PackageKey.of(package)) == (first, release)
    assert store.list_publications("release") == (release,)
    assert store.publications_of(entry("2.0.0").package) == ()


def test_what_every_channel_has_lost_is_withdrawn_and_stays_in_the_records(store: Store) -> None:
    one = entry(facts=FACTS)
    store.put_catalog_entry(one)
    for channel in ("candidate", "release"):
        store.put_publication(publication(one, channel=channel))

    store.put_withdrawals({one.key: "old"}, state=state(7), at=AT, by="ann")
    half = store.get_catalog_entry(one.key)
    for _ in range(2):  # as after a kill
        store.put_withdrawals({one.key: "old"}, state=state(3, "release"), at=AT, by="ann")

    assert half.withdrawn_at is None
    assert store.get_catalog_entry(one.key) == replace(one, withdrawn_at=AT)
    assert store.list_publications() == ()
    assert {
        (p.channel, p.withdrawn_in, p.withdrawn_by, p.withdrawn_because)
        for p in store.publications_of(one.package)
    } == {("candidate", 7, "ann", "old"), ("release", 3, "ann", "old")}


def test_what_is_published_again_is_withdrawn_no_more_and_keeps_its_past(store: Store) -> None:
    one = entry()
    store.put_catalog_entry(one)
    store.put_publication(publication(one))
    store.put_withdrawals({one.key: "old"}, state=state(7), at=AT, by="ann")

    store.put_catalog_entry(replace(one, package=replace(one.package, path="/outbox/new.deb")))
    store.put_publication(publication(one, number=8))

    found = store.get_catalog_entry(one.key)
    assert (found.withdrawn_at, found.package.path) == (None, "/outbox/new.deb")
    assert [(p.state_number, p.current) for p in store.publications_of(one.package)] == [
        (1, False),
        (8, True),
    ]


def test_packages_that_differ_in_format_alone_are_two(store: Store) -> None:
    deb, rpm = entry(facts=FACTS), entry(format_=PackageFormat.RPM)
    store.put_catalog_entry(deb)
    store.put_catalog_entry(rpm)

    assert store.get_catalog_entry(rpm.key) == rpm
    assert len(store.list_catalog()) == 2


def test_states_are_dated_by_what_came_and_went(store: Store) -> None:
    one, two = entry(), entry("2.0.0", days=3)
    for number, each in enumerate((one, two), 1):
        store.put_catalog_entry(each)
        store.put_publication(publication(each, number=number))
    gone = AT + timedelta(days=9)
    store.put_withdrawals({one.key: "old"}, state=state(5), at=gone, by="ann")

    assert store.state_times("candidate") == {1: AT, 2: AT + timedelta(days=3), 5: gone}
    assert store.state_times("release") == {}


def test_a_migration_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'store.sqlite'}")
    migrate(engine, to="0001")
    with engine.begin() as connection:  # in the way of the last table of the next migration
        connection.execute(text("create table publications (name text)"))
    with pytest.raises(OperationalError, match="publications"):
        migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("drop table publications"))
    migrate(engine)

    columns = {column["name"] for column in inspect(engine).get_columns("packages")}
    assert {"signed_by", "withdrawn_at"} <= columns
    engine.dispose()


def test_what_the_first_version_recorded_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    migrate(engine, to="0001")
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into packages (name, version, architecture, format, app, channel,"
                " state_number, published_by, published_at) values ('hello', '1.0', 'all', 'deb',"
                " 'hello', 'candidate', 3, 'ann', '2026-01-01T12:00:00.000000+00:00')"
            )
        )
        connection.execute(
            text(
                "insert into repository_states (repository, channel, number, suite, component,"
                " directory) values ('own', 'candidate', 3, 'candidate-3', 'main', '/srv/r')"
            )
        )
    engine.dispose()
    with closing(open_store(f"sqlite:///{path}")) as store:
        [found] = store.list_catalog()
        [stay] = store.publications_of(found.package)
        [row] = store.rows(text("select url from repository_states"))

    assert (stay.repository, stay.channel, stay.state_number) == ("own", "candidate", 3)
    assert (stay.published_at, stay.published_by, row["url"]) == (AT, "ann", "file:/srv/r")
