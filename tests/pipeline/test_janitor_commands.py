"""`ovenbird janitor` as a person uses it, on a world."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, apart, here
from tests.pipeline.worlds import World

OLD = "hello-prod-v001"


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """A directory of a world in which 1.1.0 serves and 1.0.0 has rested for two hours."""
    line = Line(World(tmp_path_factory.mktemp("past") / "state"), apps["hello"])
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
    with line.world.state() as state:
        group = state.groups[OLD]
        assert group.disabled_at is not None
        state.groups[OLD] = replace(group, disabled_at=group.disabled_at - timedelta(hours=2))
        state.made_by = group.release_id
        state.left = {"tg-one": "", "tg-two": "", "tg-used": "a load balancer sends to it"}
    return line.world.directory


@pytest.fixture
def served(line: Line, past: Path) -> Line:
    """A world of its own with that past."""
    shutil.copytree(past, line.world.directory, dirs_exist_ok=True)
    return line


def janitor(line: Line, *words: str) -> Said:
    return here(line.world, "janitor", *words)


def left(line: Line) -> list[str]:
    return sorted(line.world.look().left)


def test_the_plan_says_what_goes_and_what_stays_and_changes_nothing(served: Line) -> None:
    before = served.world.look()

    plain = janitor(served, "plan", "--grace", "0")
    data = janitor(served, "plan", "--grace", "0", "--environment", "prod", "--json").data
    careful = janitor(served, "run", "--dry-run")

    assert plain.status == 0, plain.err
    assert f"Cluster hello-prod in prod\n  1. Decommission `{OLD}`" in plain.out
    assert "Goes (2)\n  target group tg-one in prod: nothing needs it since" in plain.out
    assert "target group tg-used in prod: a load balancer sends to it" in plain.out
    assert [one["goes"] for one in data["things"]] == [True, True, False]
    assert [one["cluster"] for one in data["clusters"]] == ["hello-prod"]
    assert "Goes (0)" in careful.out
    assert "tg-one in prod: it is not older than 24 hours" in careful.out
    assert served.world.look() == before


def test_a_run_is_confirmed_and_can_be_repeated(served: Line) -> None:
    asked = janitor(served, "run", "--grace", "0")
    assert (asked.status, "Add `--yes`" in asked.err, len(left(served))) == (2, True, 3)

    done = janitor(served, "run", "--grace", "0", "--yes", "--json")
    again = janitor(served, "run", "--grace", "0", "--yes", "--json")

    assert done.status == 0, done.err
    assert left(served) == ["tg-used"]
    assert OLD not in served.world.look().groups
    assert done.data["done"] == [
        f"`hello-prod`: Decommission `{OLD}`: drain and destroy it",
        "Removed target group `tg-one`",
        "Removed target group `tg-two`",
    ]
    assert (again.status, again.data["done"]) == (0, [])
    recent = here(served.world, "cluster", "show", "hello-prod", "--json").data["recent"]
    assert recent[0]["kind"] == "janitor"


def test_so_many_go_in_one_run(served: Line) -> None:
    done = janitor(served, "run", "--grace", "0", "--most", "2", "--yes")

    assert done.status == 0, done.err
    assert OLD not in served.world.look().groups
    assert left(served) == ["tg-two", "tg-used"]


def test_a_minimum_that_stayed_pinned_is_given_back(served: Line) -> None:
    with served.world.state() as state:
        name = "hello-prod-v002"
        state.groups[name] = replace(state.groups[name], pinned_min=1)

    done = janitor(served, "run", "--yes")

    assert done.status == 0, done.err
    assert served.world.look().groups["hello-prod-v002"].pinned_min is None


def test_records_of_nobody_are_not_believed(served: Line) -> None:
    with served.world.state() as state:
        for name, group in state.groups.items():
            state.groups[name] = replace(group, release_id="another-1")

    refused = janitor(served, "run", "--grace", "0", "--yes")

    assert refused.status == 4
    assert "they do not know its release `another-1`" in refused.err
    assert len(left(served)) == 3
    assert OLD in served.world.look().groups


def test_what_one_failure_stops_is_done_by_the_next_run(served: Line) -> None:
    with served.world.state() as state:
        state.breaks_on = f"destroy {OLD}"

    failed = janitor(served, "run", "--grace", "0", "--yes")
    assert (failed.status, left(served)) == (5, ["tg-used"])
    assert "Not done: `destroy" in failed.err

    again = janitor(served, "run", "--grace", "0", "--yes")
    assert again.status == 0, again.err


@pytest.mark.parametrize("moment", ["BEFORE", "AFTER"])
def test_a_killed_run_is_gone_on_with(served: Line, moment: str) -> None:
    died: dict[str, Any] = {f"OVENBIRD_DIE_{moment}": "prod/decommission"}
    killed = apart(served.world, "janitor", "run", "--grace", "0", "--yes", **died)
    assert (killed.status, len(left(served))) == (-signal.SIGKILL, 3)

    again = janitor(served, "run", "--grace", "0", "--yes")

    assert again.status == 0, again.err
    assert "Finished `hello-prod-janitor-" in again.err
    assert OLD not in served.world.look().groups
    assert left(served) == ["tg-used"]
    assert served.world.look().log.count(f"destroy {OLD}") == (1 if moment == "BEFORE" else 2)
