"""`ovenbird cluster reconcile`, and what a rollout says of other people's hands, on a world."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovenbird.domain.clusters import CLUSTER_TAG, SERVER_GROUP_TAG
from ovenbird.domain.images import APP_TAG
from tests.pipeline.conftest import Line
from tests.pipeline.installation import here
from tests.pipeline.worlds import World

NOTHING = "Nothing was changed by hand"


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """A directory of a world in which 1.1.0 serves and 1.0.0 rests."""
    line = Line(World(tmp_path_factory.mktemp("past") / "state"), apps["hello"])
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
    with line.world.state() as state:
        for name, group in state.groups.items():
            own = {CLUSTER_TAG: str(group.name.cluster), SERVER_GROUP_TAG: name, APP_TAG: "hello"}
            state.groups[name] = replace(group, tags={**group.tags, **own})
    return line.world.directory


@pytest.fixture
def served(line: Line, past: Path) -> Line:
    """A world of its own with that past."""
    shutil.copytree(past, line.world.directory, dirs_exist_ok=True)
    return line


def by_hand(line: Line, name: str, **changes: Any) -> None:
    with line.world.state() as state:
        state.groups[name] = replace(state.groups[name], **changes)


def weights(line: Line) -> dict[str, int]:
    groups = line.world.look().groups
    return {name[-4:]: group.weight for name, group in groups.items() if "prod" in name}


def reconcile(line: Line, *words: str) -> Any:
    return here(line.world, "cluster", "reconcile", "hello-prod", *words)


def test_what_releases_and_people_with_ovenbird_left_is_nothing(served: Line) -> None:
    first = reconcile(served)
    for words in (
        ("rollback", "hello-prod"),
        ("enable", "hello-prod-v002"),
        ("disable", "hello-prod-v001"),
        ("resize", "hello-prod", "--desired", "4"),
    ):
        assert here(served.world, "cluster", *words, "--yes").status == 0
        said = reconcile(served, "--yes")
        assert (said.status, said.out.splitlines()[0]) == (0, NOTHING), (words, said.out)

    assert (first.status, NOTHING in first.out) == (0, True)
    assert "has nothing that can be mended" in first.out


def test_weights_that_were_moved_are_shown_and_count_from_now_on(served: Line) -> None:
    by_hand(served, "hello-prod-v001", weight=100)
    by_hand(served, "hello-prod-v002", weight=0)
    before = served.world.look().log

    dry = reconcile(served, "--dry-run")
    asked = reconcile(served)
    assert (dry.status, asked.status) == (0, 2)
    assert "Changed by hand: the traffic goes 100 % to `hello-prod-v001`; it was sent" in dry.out
    assert "1. Send 100 % to `hello-prod-v001`" in dry.out
    assert served.world.look().log == before

    done = reconcile(served, "--yes")

    assert done.status == 0, done.err
    assert weights(served) == {"v001": 100, "v002": 0}
    groups = served.world.look().groups
    assert groups["hello-prod-v001"].disabled_at is None
    assert groups["hello-prod-v002"].disabled_at is not None
    assert NOTHING in reconcile(served).out


def test_traffic_goes_back_when_it_is_asked_for(served: Line) -> None:
    by_hand(served, "hello-prod-v001", weight=40)
    by_hand(served, "hello-prod-v002", weight=60)

    done = reconcile(served, "--traffic-back", "--yes", "--json")

    assert done.status == 0, done.err
    assert weights(served) == {"v001": 0, "v002": 100}
    assert [one["kind"] for one in done.data["differences"]] == ["weights", "marks"]
    assert done.data["done"]["phase"] == "promoted"
    assert NOTHING in reconcile(served).out


def test_processes_are_resumed(served: Line) -> None:
    with served.world.state() as state:
        state.suspended.append("hello-prod-v002")

    done = reconcile(served, "--yes")

    assert done.status == 0, done.err
    assert "has suspended processes: Launch" in done.err
    assert "mend hello-prod-v002" in served.world.look().log
    assert NOTHING in reconcile(served).out


def test_a_mending_that_fails_in_the_middle_is_done_by_the_next(served: Line) -> None:
    by_hand(served, "hello-prod-v001", weight=40)
    by_hand(served, "hello-prod-v002", weight=60)
    with served.world.state() as state:
        state.breaks_on = "weights hello-prod-v002 100"

    failed = reconcile(served, "--traffic-back", "--yes")
    with served.world.state() as state:
        state.breaks_on = ""
    again = reconcile(served, "--yes")

    assert (failed.status, again.status) == (5, 0), again.err
    assert weights(served) == {"v001": 0, "v002": 100}
    assert served.world.look().groups["hello-prod-v001"].disabled_at is not None


def test_a_rollout_says_what_was_changed_and_acts_on_what_is(served: Line) -> None:
    by_hand(served, "hello-prod-v001", weight=100)
    by_hand(served, "hello-prod-v002", weight=0)
    words = ("release", "start", "--app", str(served.app), "--ref", "v1.1.0")

    dry = here(served.world, *words, "--dry-run")
    data = here(served.world, *words, "--dry-run", "--json").data
    started = here(served.world, *words, "--yes")

    told = "the traffic goes 100 % to `hello-prod-v001`; it was sent 100 % to `hello-prod-v002`"
    assert f"  changed by hand: {told}" in dry.out
    assert data["rollouts"][1]["changed_by_hand"][0]["kind"] == "weights"
    assert started.status == 0, started.err
    assert f"prod: Changed by hand: {told}" in started.err
    assert weights(served)["v003"] == 100
