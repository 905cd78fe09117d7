"""Retention in the store: what kept states need stays, also under publishers' hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.packaging.repositories import NOW, Killed, MemoryStorage, PlainSigner, built


def opened(root: Path, storage: Any = None) -> PackageRepository:
    return PackageRepository(
        storage or DirectoryStorage(root), name="main", signer=PlainSigner(root), parallel=1
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three states: `one`; `one` and `two`; `two` alone."""
    repository, work = opened(tmp_path / "r"), tmp_path / "work"
    one = [built(work, "one", kind=kind) for kind in ("deb", "rpm")]
    two = [built(work, "two", kind=kind) for kind in ("deb", "rpm")]
    repository.publish(one, channel="candidate", at=NOW)
    repository.publish(two, channel="candidate", at=NOW)
    repository.withdraw(one, channel="candidate", at=NOW)
    return tmp_path / "r"


def files(root: Path) -> set[str]:
    found = (path for path in root.rglob("*") if path.is_file())
    names = {str(path.relative_to(root)) for path in found}
    return {name for name in names if not name.startswith(".ovenbird")}


def test_a_plan_changes_nothing_and_pruning_removes_what_it_says(root: Path) -> None:
    before = files(root)
    plan = opened(root).plan_pruning({"candidate": 3})

    assert files(root) == before
    assert plan.states == {"candidate": (1, 2)}
    assert opened(root).prune_before({"candidate": 3}) == plan
    assert files(root) == before - set(plan.names)
    assert {name for name in files(root) if name.startswith("pool/")} == {
        "pool/t/two/two_1.0.0_all.deb",
        "pool/t/two/two-1.0.0-1.noarch.rpm",
    }
    assert [state.number for state in opened(root).states("candidate")] == [3]
    assert opened(root).verify_files() == ()


def test_kept_states_stay_whole(root: Path) -> None:
    repository = opened(root)
    repository.prune_before({"candidate": 2})

    assert [state.number for state in repository.states("candidate")] == [2, 3]
    assert repository.verify_files("candidate", 2) == ()
    assert repository.verify_files("candidate", 3) == ()


def test_what_another_channel_needs_stays(root: Path, tmp_path: Path) -> None:
    repository = opened(root)
    repository.publish([built(tmp_path / "work", "one")], channel="release", at=NOW)
    repository.prune_before({"candidate": 3})

    assert "pool/o/one/one_1.0.0_all.deb" in files(root)
    assert repository.verify_files() == ()


def test_pruning_again_finds_nothing(root: Path) -> None:
    repository = opened(root)
    repository.prune_before({"candidate": 3})

    plan = repository.plan_pruning({"candidate": 99, "nowhere": 1})
    assert (plan.states, plan.names) == ({"candidate": ()}, ())


def test_after_pruning_publishing_goes_on(root: Path, tmp_path: Path) -> None:
    repository = opened(root)
    repository.prune_before({"candidate": 3})
    state = repository.publish([built(tmp_path / "work", "one")], channel="candidate", at=NOW)

    assert (state.number, repository.verify_files()) == (4, ())


class Interrupted:
    """A storage that lets something else happen before the n-th removal."""

    def __init__(self, storage: DirectoryStorage, *, at: int, then: Callable[[], object]) -> None:
        self._storage, self._left, self._then = storage, at, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def remove(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()
        self._storage.remove(name)


def test_a_pruning_killed_anywhere_loses_nothing_and_the_next_one_completes(root: Path) -> None:
    storage = DirectoryStorage(root)
    start = {name: storage.read(name) for name in files(root)}
    wanted = set(start) - set(opened(root).plan_pruning({"candidate": 3}).names)
    for at in range(1, 400, 7):
        kept = MemoryStorage(start, dies_at=at)
        try:
            opened(root, kept).prune_before({"candidate": 3})
        except Killed:
            assert opened(root, kept).verify_files() == ()
            opened(root, kept).prune_before({"candidate": 3})
            assert set(kept.found) == wanted
        else:
            break

    assert at > 100


@pytest.mark.parametrize("at", [1, 4, 12, 20])
def test_what_is_published_while_files_go_is_put_back(root: Path, tmp_path: Path, at: int) -> None:
    one = [built(tmp_path / "work", "one", kind=kind) for kind in ("deb", "rpm")]

    def publish() -> None:
        opened(root).publish(one, channel="candidate", at=NOW)

    opened(root, Interrupted(DirectoryStorage(root), at=at, then=publish)).prune_before(
        {"candidate": 3}
    )

    assert opened(root).state("candidate").number == 4
    assert opened(root).verify_files() == ()


def test_what_a_killed_pruning_took_from_a_new_state_is_put_back_by_repair(
    root: Path, tmp_path: Path
) -> None:
    one = [built(tmp_path / "work", "one", kind=kind) for kind in ("deb", "rpm")]
    start = DirectoryStorage(root)
    lost = "pool/o/one/one_1.0.0_all.deb"

    def publish_and_die() -> None:
        opened(root).publish(one, channel="candidate", at=NOW)
        start.copy(lost, f"trash/{lost}")  # planned before, and taken away just now
        start.remove(lost)
        raise Killed

    with pytest.raises(Killed):
        opened(root, Interrupted(start, at=1, then=publish_and_die)).prune_before({"candidate": 3})
    assert [found.place for found in opened(root).verify_files()] == [lost]
    opened(root).repair("candidate")

    assert opened(root).verify_files() == ()


class Slow:
    """A storage whose publisher stands still before it claims its number."""

    def __init__(self, storage: DirectoryStorage, *, then: Callable[[], object]) -> None:
        self._storage, self._then = storage, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def create(self, name: str, data: bytes | Path) -> bool:
        if name.startswith("states/"):
            self._then()
        return self._storage.create(name, data)


def test_what_went_while_a_publisher_stood_still_is_put_back_by_it(
    root: Path, tmp_path: Path
) -> None:
    one = [built(tmp_path / "work", "one", kind=kind) for kind in ("deb", "rpm")]
    removed: list[str] = []

    def prune() -> None:
        removed.extend(opened(root).prune_before({"candidate": 3}).names)

    opened(root, Slow(DirectoryStorage(root), then=prune)).publish(one, channel="candidate", at=NOW)

    assert "pool/o/one/one_1.0.0_all.deb" in removed
    assert opened(root).verify_files() == ()


def test_a_damaged_shard_stops_a_pruning_before_anything_goes(root: Path) -> None:
    before = files(root)
    for path in (root / "shards").rglob("*/*"):
        path.unlink()
        path.write_bytes(b"damaged")

    with pytest.raises(Exception, match="its digest differs"):
        opened(root).prune_before({"candidate": 3})
    assert files(root) == before


class SlowOnce(Slow):
    """A storage whose publisher stands still before its first claim only."""

    def create(self, name: str, data: bytes | Path) -> bool:
        then, self._then = self._then, lambda: None
        if name.startswith("states/"):
            then()
        else:
            self._then = then
        return self._storage.create(name, data)


def test_a_number_that_was_anothers_and_pruned_is_not_claimed(root: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    one, three, four = (built(work, name) for name in ("one", "three", "four"))

    def overtake() -> None:
        opened(root).publish([three], channel="candidate", at=NOW)
        opened(root).withdraw([three], channel="candidate", at=NOW)
        opened(root).publish([four], channel="candidate", at=NOW)
        opened(root).prune_before({"candidate": 6})

    storage = SlowOnce(DirectoryStorage(root), then=overtake)
    state = opened(root, storage).publish([one], channel="candidate", at=NOW)

    assert state.number == 7
    names = {package.name for package in opened(root).list_packages("candidate")}
    assert names == {"one", "two", "four"}
    opened(root).prune_before({"candidate": 7})
    assert [found.number for found in opened(root).states("candidate")] == [7]
    assert opened(root).verify_files() == ()


def test_a_first_state_that_comes_late_is_not_lost(tmp_path: Path) -> None:
    root, work = tmp_path / "r", tmp_path / "work"
    one, two, three = (built(work, name) for name in ("one", "two", "three"))

    def overtake() -> None:
        for package in (two, three):
            opened(root).publish([package], channel="candidate", at=NOW)
        opened(root).prune_before({"candidate": 2})

    storage = SlowOnce(DirectoryStorage(root), then=overtake)
    assert opened(root, storage).publish([one], channel="candidate", at=NOW).number == 3
    found = opened(root).list_packages("candidate")
    assert [package.name for package in found] == ["one", "three", "two"]


class Listed:
    """A storage that lets something else happen before names are listed for the n-th time."""

    def __init__(self, storage: DirectoryStorage, *, at: int, then: Callable[[], object]) -> None:
        self._storage, self._left, self._then = storage, at, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def names(self, prefix: str) -> Iterator[str]:
        self._left -= 1
        if self._left == 0:
            self._then()
        return self._storage.names(prefix)


@pytest.mark.parametrize("at", [7, 9, 10, 12])
def test_what_is_published_while_a_pruning_looks_stays_whole(
    root: Path, tmp_path: Path, at: int
) -> None:
    one = [built(tmp_path / "work", "one", kind=kind) for kind in ("deb", "rpm")]

    def publish() -> None:
        opened(root).publish(one, channel="candidate", at=NOW)

    opened(root, Listed(DirectoryStorage(root), at=at, then=publish)).prune_before({"candidate": 3})

    assert opened(root).state("candidate").number == 4
    assert opened(root).verify_files() == ()
    for name in ("dists/candidate-4/InRelease", "dists/candidate-4/Release.gpg"):
        assert (root / name).is_file()
