"""What would keep a rollout from working ends it before anything is changed."""

from __future__ import annotations

from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, here


def start(line: Line, *words: str) -> Said:
    return here(line.world, "release", "start", "--app", str(line.app), "--ref", "v1.0.0", *words)


def test_a_dry_run_shows_the_plan_and_all_problems(line: Line) -> None:
    with line.world.state() as state:
        state.problems += ["no addresses", "no rights"]

    said = start(line, "--dry-run")

    assert said.status == 2
    assert "Send 100 % to `hello-dev-v001`" in said.out
    assert "cannot work: hello-dev-v001: no addresses (-)" in said.out
    assert "- hello-dev-v001: no rights (-)" in said.err
    assert line.world.look().log == []


def test_a_rollout_that_cannot_work_ends_and_leaves_the_cluster_free(line: Line) -> None:
    with line.world.state() as state:
        state.problems.append("no addresses")
    refused = start(line)
    log = list(line.world.look().log)
    with line.world.state() as state:
        state.problems.clear()
    mended = start(line)

    assert refused.status == 2
    assert "- hello-dev-v001: no addresses (-)" in refused.err
    assert [word for word in log if word.startswith("create")] == []
    assert mended.status == 0, mended.err
