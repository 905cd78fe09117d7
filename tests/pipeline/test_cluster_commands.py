"""`ovenbird cluster`, `image` and `catalog` as a person uses them, on a world."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ovenbird.domain.clusters import ROLLBACK_WINDOW_TAG
from ovenbird.domain.errors import Conflict
from ovenbird.operations import changing
from tests.pipeline.conftest import Line, Wait
from tests.pipeline.installation import WorldInstallation, apart, begun, here
from tests.pipeline.worlds import World


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """A directory of a world in which 1.1.0 serves and 1.0.0 rests."""
    line = Line(World(tmp_path_factory.mktemp("past") / "state"), apps["hello"])
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
    return line.world.directory


@pytest.fixture
def served(line: Line, past: Path) -> Line:
    """A world of its own with that past."""
    shutil.copytree(past, line.world.directory, dirs_exist_ok=True)
    return line


def prod(line: Line) -> dict[str, int]:
    groups = line.world.look().groups
    return {name[-4:]: group.weight for name, group in groups.items() if "prod" in name}


def test_a_rollback_brings_the_previous_group_back_and_the_other_rests(served: Line) -> None:
    said = here(served.world, "cluster", "rollback", "hello-prod", "--yes")

    assert said.status == 0, said.err
    assert prod(served) == {"v001": 100, "v002": 0}
    assert said.out.endswith("  hello-prod  rollback done\n")
    assert "prod: Send 100 % to `hello-prod-v001`" in said.err
    assert served.world.look().groups["hello-prod-v002"].disabled_at is not None


def test_a_change_is_planned_first_and_done_only_when_it_is_confirmed(served: Line) -> None:
    before = served.world.look().log

    dry = here(served.world, "cluster", "rollback", "hello-prod", "--dry-run")
    asked = here(served.world, "cluster", "rollback", "hello-prod")

    assert (dry.status, asked.status) == (0, 2)
    assert "2. Send 100 % to `hello-prod-v001`" in dry.out
    assert "Add `--yes`" in asked.err
    assert served.world.look().log == before


def test_a_plan_of_yesterday_is_not_carried_out(served: Line) -> None:
    with WorldInstallation(served.world) as installation:
        proposal = changing.plan_rollback(installation, "hello-prod")
        other = here(served.world, "cluster", "enable", "hello-prod-v001", "--yes")
        result = changing.carry_out(installation, proposal, actor="ben", tell=lambda _event: None)

    assert other.status == 0, other.err
    assert isinstance(result.error, Conflict)
    assert "has changed since this rollback was planned" in str(result.error)
    assert prod(served) == {"v001": 50, "v002": 50}
    free = here(served.world, "cluster", "disable", "hello-prod-v001", "--yes")
    assert free.status == 0, free.err


def test_a_change_can_be_read_by_programs(served: Line) -> None:
    [planned] = here(
        served.world, "cluster", "rollback", "hello-prod", "--dry-run", "--json"
    ).data  # fmt: skip
    [done] = here(served.world, "cluster", "rollback", "hello-prod", "--yes", "--json").data

    assert [action["action"] for action in planned["actions"]][:2] == ["AwaitHealthy", "SetWeights"]
    assert (done["kind"], done["phase"]) == ("rollback", "promoted")
    assert [action["text"] for action in done["actions"]] == [
        action["text"] for action in planned["actions"]
    ]


def test_a_rollback_that_fails_in_the_middle_is_completed_by_the_next(served: Line) -> None:
    with served.world.state() as state:
        state.breaks_on = "weights hello-prod-v001 100"

    failed = here(served.world, "cluster", "rollback", "hello-prod", "--yes")
    with served.world.state() as state:
        state.breaks_on = ""
    again = here(served.world, "cluster", "rollback", "hello-prod", "--yes")

    assert (failed.status, again.status) == (5, 0), again.err
    assert prod(served) == {"v001": 100, "v002": 0}
    groups = served.world.look().groups
    assert groups["hello-prod-v001"].disabled_at is None
    assert groups["hello-prod-v002"].disabled_at is not None
    assert groups["hello-prod-v002"].pinned_min is not None
    assert served.world.look().log.count("weights hello-prod-v001 100") == 2  # the first release's


def test_a_decommission_that_fails_in_the_middle_is_completed_by_the_next(served: Line) -> None:
    words = ("cluster", "decommission", "hello-prod-v001", "--without-way-back", "--yes")
    with served.world.state() as state:
        state.breaks_on = "destroy hello-prod-v001"

    failed = here(served.world, *words)
    again = here(served.world, *words)

    assert (failed.status, again.status) == (5, 3)
    assert prod(served) == {"v002": 100}
    recent = here(served.world, "cluster", "show", "hello-prod", "--json").data["recent"]
    assert (recent[0]["kind"], recent[0]["phase"]) == ("decommission", "failed")


def test_what_is_done_is_not_done_again(served: Line) -> None:
    for words in (
        ("enable", "hello-prod-v002"),
        ("resize", "hello-prod-v002", "--desired", "2"),
        ("rollback", "hello-prod", "--to", "hello-prod-v002"),
        ("disable", "hello-prod-v001"),
    ):
        before = served.world.look().log
        said = here(served.world, "cluster", *words, "--yes")

        assert said.status == 0, said.err
        assert "Nothing to do" in said.out
        assert served.world.look().log == before


def test_a_rollback_when_nothing_older_is_left_is_a_conflict(served: Line) -> None:
    here(served.world, "cluster", "rollback", "hello-prod", "--yes")

    said = here(served.world, "cluster", "rollback", "hello-prod", "--yes", "--json")

    assert (said.status, said.data["error"]) == (4, "Conflict")


def test_enable_and_disable_move_the_traffic(served: Line) -> None:
    enabled = here(served.world, "cluster", "enable", "hello-prod-v001", "--yes")
    assert (enabled.status, prod(served)) == (0, {"v001": 50, "v002": 50}), enabled.err

    disabled = here(served.world, "cluster", "disable", "hello-prod-v002", "--yes")
    assert (disabled.status, prod(served)) == (0, {"v001": 100, "v002": 0})

    refused = here(served.world, "cluster", "disable", "hello-prod-v001", "--yes")
    assert refused.status == 4
    assert "dark" in refused.err


def test_a_resize_changes_what_is_given_and_keeps_the_rest(served: Line) -> None:
    said = here(served.world, "cluster", "resize", "hello-prod", "--desired", "4", "--yes")
    capacity = served.world.look().groups["hello-prod-v002"].capacity

    assert (said.status, capacity.min, capacity.desired, capacity.max) == (0, 2, 4, 4)
    assert here(served.world, "cluster", "resize", "hello-prod", "--yes").status == 2


def test_decommission_destroys_what_has_rested_long_enough(served: Line) -> None:
    needed = here(served.world, "cluster", "decommission", "hello-prod-v001", "--yes")
    kept = here(served.world, "cluster", "decommission", "--yes")
    assert (needed.status, kept.status) == (4, 0)
    assert "hello-prod-v001" in served.world.look().groups

    with served.world.state() as state:
        group = state.groups["hello-prod-v001"]
        assert group.disabled_at is not None
        early = group.disabled_at - timedelta(hours=2)
        state.groups["hello-prod-v001"] = replace(group, disabled_at=early)
    gone = here(served.world, "cluster", "decommission", "--yes")

    assert gone.status == 0, gone.err
    assert "hello-prod-v001" not in served.world.look().groups
    waived = here(
        served.world, "cluster", "decommission", "hello-dev-v001", "--without-way-back", "--yes"
    )
    assert waived.status == 0, waived.err
    assert set(served.world.look().groups) == {"hello-prod-v002", "hello-dev-v002"}


def test_show_says_first_who_serves_and_what_rests_until_when(served: Line) -> None:
    with served.world.state() as state:
        group = state.groups["hello-prod-v002"]
        tags = {**group.tags, ROLLBACK_WINDOW_TAG: "7200"}
        state.groups["hello-prod-v002"] = replace(group, tags=tags)

    lines = here(served.world, "cluster", "show", "hello-prod").out.splitlines()
    data = here(served.world, "cluster", "show", "hello-prod", "--json").data

    assert lines[0] == "Cluster hello-prod in prod at http://prod.example"
    assert lines[1].startswith("  serves     hello-prod-v002 100 %: version 1.1.0")
    assert lines[2].startswith("  rests      hello-prod-v001 until ")
    assert "a rollback goes there" in lines[2]
    assert (data["serves"], data["previous"]) == ("hello-prod-v002", "hello-prod-v001")
    assert data["rollback_window_s"] == 7200
    assert [change["version"] for change in data["recent"]] == ["1.1.0", "1.0.0"]


def test_clusters_are_listed_and_found_by_their_environment(served: Line) -> None:
    found = here(served.world, "cluster", "list", "--json").data

    assert [cluster["name"] for cluster in found] == ["hello-dev", "hello-prod"]
    assert "hello-prod-v002  1.1.0" in here(served.world, "cluster", "list").out.replace(
        "prod  ", ""
    )
    assert here(served.world, "cluster", "show", "hello-none").status == 3
    assert here(served.world, "cluster", "show", "other", "--environment", "prod").status == 3
    assert here(served.world, "cluster", "list", "--environment", "none").status == 3


def test_a_change_whose_process_died_is_completed_by_resume(served: Line) -> None:
    killed = apart(
        served.world, "cluster", "rollback", "hello-prod", "--yes",
        OVENBIRD_DIE_AFTER="prod/set_weights",
    )  # fmt: skip
    taken = here(served.world, "cluster", "rollback", "hello-prod", "--yes")

    resumed = apart(served.world, "release", "resume")

    assert killed.status == -signal.SIGKILL
    assert taken.status == 4
    assert "ovenbird release resume hello-prod-rollback-" in taken.err
    assert resumed.status == 0, resumed.err
    assert served.world.look().groups["hello-prod-v002"].disabled_at is not None
    free = here(served.world, "cluster", "enable", "hello-prod-v002", "--yes")
    assert free.status == 0, free.err


def test_a_change_can_be_aborted_while_it_waits(served: Line, wait: Wait) -> None:
    with served.world.state() as state:
        state.sick = True
    words = ("cluster", "resize", "hello-prod", "--desired", "4", "--yes")
    resize = begun(served.world, *words)
    wait(lambda: "resize hello-prod-v002 to 4" in served.world.look().log)
    [subject] = [c["rollout_id"] for c in _recent(served) if c["kind"] == "resize"]

    here(served.world, "release", "abort", subject)
    _, err = resize.communicate(timeout=120)

    assert resize.returncode == 130, err
    [phase] = [c["phase"] for c in _recent(served) if c["kind"] == "resize"]
    assert phase == "aborted"
    assert here(served.world, "cluster", "enable", "hello-prod-v001", "--dry-run").status == 0


def _recent(line: Line) -> list[dict[str, str]]:
    found: list[dict[str, str]] = here(
        line.world, "cluster", "show", "hello-prod", "--json"
    ).data["recent"]  # fmt: skip
    return found


def test_images_say_what_is_in_them_and_where_they_run(served: Line) -> None:
    listed = here(served.world, "image", "list", "--app", "hello", "--json").data
    shown = here(served.world, "image", "show", "ami-1")

    assert {image["version"] for image in listed} == {"1.0.0", "1.1.0"}
    assert "runs     hello-prod-v002 in prod: 100 % of the traffic, 2 instances" in shown.out
    assert here(served.world, "image", "show", "ami-9").status == 3


def test_the_catalog_says_what_runs_where_and_from_which_commit(served: Line) -> None:
    listed = here(served.world, "catalog", "list", "hello", "--json").data
    [traced] = here(served.world, "catalog", "show", "hello", "1.1.0", "--json").data
    commit = served.request("v1.1.0").commit

    assert [entry["package"]["version"] for entry in listed] == ["1.1.0", "1.0.0"]
    assert traced["source"]["commit"] == commit
    assert traced["published_by"] == "ann"
    assert {use["server_group"] for use in traced["images"][0]["runs"]} == {
        "hello-dev-v002", "hello-prod-v002",
    }  # fmt: skip
    text = here(served.world, "catalog", "show", "hello", commit[:7]).out
    assert f"at {commit} (v1.1.0)" in text
    assert here(served.world, "catalog", "show", "hello", "9.9.9").status == 3
