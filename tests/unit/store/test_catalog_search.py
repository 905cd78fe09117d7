"""Searches of the catalog, and that they use its index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from ovenbird.domain.catalog import PackageFile
from ovenbird.store.catalog_search import search
from ovenbird.store.opening import open_store
from ovenbird.store.records import Store
from tests.unit.domain.catalog_values import FACTS, entry

OLD = entry("1.0.0", facts=FACTS)
NEW = entry("1.1.0", days=1, facts=replace(FACTS, findings=(), sbom=""))
OTHER = entry("3.0.0", name="worker", app="jobs", days=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("search")
    store = open_store(f"sqlite:///{path}/store.sqlite")
    for one in (OLD, NEW, OTHER):
        store.put_catalog_entry(one)
    yield store
    store.close()


def found(store: Store, words: str) -> dict[str, list[str]]:
    """Return version → what matched."""
    return {
        one.entry.package.version: [f"{match.kind} {match.detail}" for match in one.matches]
        for one in search(store, words)
    }


def both(match: str) -> dict[str, list[str]]:
    return {"1.1.0": [match], "1.0.0": [match]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ELL", {"1.1.0": ["name hello"], "1.0.0": ["name hello"]}),
        ("jobs", {"3.0.0": ["app jobs"]}),
        ("w*r", {"3.0.0": ["name worker"]}),
        ("1.0", {"1.0.0": ["version 1.0.0"]}),
        (OLD.source.commit[:7], {"1.0.0": [f"commit {OLD.source.commit}"]}),
        ("python3-minimal", both("dependency Depends: python3 | python3-minimal")),
        ("nginx", both("dependency Depends: nginx (>= 1.20); Recommends: nginx")),
        ("flask", {"1.0.0": ["component Flask 3.0.0"]}),
        ("Click", {"1.0.0": ["component click 8.1.7"]}),
        ("slf4j-api", {"1.0.0": ["component org.slf4j/slf4j-api 2.0.1"]}),
        ("org.slf4j/slf4j-api", {"1.0.0": ["component org.slf4j/slf4j-api 2.0.1"]}),
        ("missing-command", {"1.0.0": [
            "finding missing-command (ovenbird error: no `x` (/opt))"]}),
        ("/opt/hello/now", both("file /opt/hello/now")),
        ("/opt/hello/n", {}),
        ("*.toml", both("file /etc/hello/hello.toml")),
        ("%", {}),
        ("'; drop table packages", {}),
    ],
)  # fmt: skip
def test_a_search_says_what_matched(
    store: Store, words: str, expected: dict[str, list[str]]
) -> None:
    assert found(store, words) == expected


def test_many_matches_of_one_kind_are_counted(store: Store) -> None:
    [first, _] = search(store, "/opt/hello/*")

    [match] = first.matches
    assert (first.entry.key, match.count, match.detail) == (NEW.key, 2, "/opt/hello/bin/hello")


def test_a_search_gives_the_newest_first(store: Store) -> None:
    assert [one.entry.package.version for one in search(store, "*")] == ["3.0.0", "1.1.0", "1.0.0"]


@pytest.mark.parametrize("test", ["=", "glob"])
def test_files_are_found_by_an_index(store: Store, test: str) -> None:
    question = "explain query plan select * from package_terms where kind = 'file' and term "
    plan = [str(row) for row in store.rows(text(f"{question} {test} '/opt/a*'"))]

    assert all("USING PRIMARY KEY (kind=? AND term" in line for line in plan), plan


def test_ten_thousand_files_are_kept_and_found(tmp_path: Path) -> None:
    files = tuple(PackageFile(path=f"/opt/big/{n}", mode=0o100644) for n in range(10_000))
    with closing(open_store(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        store.put_catalog_entry(entry(facts=replace(FACTS, files=files)))
        [one] = search(store, "/opt/big/77*")

    assert one.matches[0].count == 111
