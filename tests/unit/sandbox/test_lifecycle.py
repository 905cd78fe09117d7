from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.sandbox import lifecycle
from ovenbird.sandbox.places import Places
from ovenbird.system.locks import file_lock


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(home=tmp_path / "sandbox", cache=tmp_path / "cache")


def test_looking_for_a_sandbox_makes_nothing(places: Places) -> None:
    with pytest.raises(NotFound, match="not running") as caught:
        lifecycle.get(places)

    assert caught.value.hint == "Run `ovenbird sandbox up`"
    assert not places.home.exists()


def test_a_pid_file_without_its_lock_is_stale(places: Places) -> None:
    places.home.mkdir()
    places.pid.write_text("1\n")  # that process lives, and is not ours

    assert lifecycle.server_pid(places) is None


def test_a_pid_file_with_its_lock_names_the_server(places: Places) -> None:
    with file_lock(places.pid):
        places.pid.write_text("4711\n")

        assert lifecycle.server_pid(places) == 4711
    assert lifecycle.server_pid(places) is None


def test_two_ups_do_not_meet(places: Places) -> None:
    with lifecycle._alone(places), pytest.raises(Conflict), lifecycle._alone(places):
        pass


def test_progress_is_told_once_and_in_order(places: Places) -> None:
    places.home.mkdir()
    said: list[str] = []

    told = lifecycle._tell(places, 0, said.append)
    places.progress.write_text("one\ntwo\n")
    told = lifecycle._tell(places, told, said.append)
    places.progress.write_text("one\ntwo\nthree\n")
    lifecycle._tell(places, told, said.append)

    assert said == ["one", "two", "three"]


@pytest.mark.parametrize(("before", "after"), [("128\n", "8192\n"), ("65536\n", "65536\n")])
def test_the_inotify_limit_is_only_ever_raised(tmp_path: Path, before: str, after: str) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(before)

    lifecycle.raise_inotify(limit)

    assert limit.read_text() == after
