"""`ovenbird judge` as a person uses it: what was seen, and what another policy would say."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.apps import MANIFEST, make_app
from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, here


def start(line: Line, ref: str) -> Said:
    return here(line.world, "release", "start", "--app", str(line.app), "--ref", ref)


def judge(line: Line, *words: str) -> Said:
    return here(line.world, "judge", *words)


def steps(line: Line, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = judge(line, *words, "--json").data
    return found


@pytest.fixture
def refused(line: Line) -> Line:
    """A release whose canary was refused by the judge."""
    start(line, "v1.0.0")
    with line.world.state() as state:
        state.bad.append("1.2.0")
    assert start(line, "v1.2.0").status == 6
    return line


@pytest.fixture
def promoted(line: Line) -> Line:
    """A release whose canary passed in both steps."""
    start(line, "v1.0.0")
    assert start(line, "v1.1.0").status == 0
    return line


def test_each_look_is_shown_and_the_last_one_with_its_reasons(refused: Line) -> None:
    said = judge(refused, "show")

    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "prod, 10 %: hello-prod-v002 beside hello-prod-v001, sequential"
    assert next(line.split()[:2] for line in lines if line.startswith("  look")) == ["look", "1"]
    assert "fail; the step ends here" in said.out
    assert "errors: 20.00% of" in said.out
    assert said.out.count("errors: ") == 1
    assert "  canary   " in judge(refused, "show", "--plot").out
    assert "  canary   " in judge(refused, "replay").out


def test_a_good_canary_ends_each_step_before_its_time(promoted: Line) -> None:
    found = steps(promoted, "show", "--environment", "prod")

    assert [(step["step_percent"], len(step["looks"])) for step in found] == [(10, 3), (50, 3)]
    for step in found:
        last = step["looks"][-1]
        assert (last["outcome"], last["is_final"], last["ends"]) == ("pass", True, True)
        assert [metric["name"] for metric in last["metrics"]] == ["errors", "slow"]
        assert len(last["samples"]["errors"]["canary"]) >= 3
    text = here(promoted.world, "release", "show").out
    assert "verdict at 50 %: pass" in text
    assert "errors: 0.00% of" in text


@pytest.mark.parametrize("outcome", ["refused", "promoted"])
def test_a_replay_by_the_same_policy_says_the_same(
    outcome: str, request: pytest.FixtureRequest
) -> None:
    line: Line = request.getfixturevalue(outcome)

    for step in steps(line, "replay"):
        for look in step["looks"]:
            assert look["outcome"] == look["was"]
            assert look["ends"] is (look is step["looks"][-1])
        assert step["notes"] == []


def test_a_replay_by_another_policy_says_what_it_would_have_been(
    refused: Line, tmp_path: Path
) -> None:
    file = tmp_path / "judge.yaml"
    file.write_text("max_error_rate_increase: 0.5\nslow_s: 2\n")

    said = judge(refused, "replay", "latest", "--with", str(file))
    (step,) = steps(refused, "replay", "--with", str(file))

    last = step["looks"][-1]
    assert (last["was"], last["outcome"]) == ("fail", "pass")
    assert "pass (was: fail)" in said.out
    assert step["notes"] == ["`slow` was measured over 0.5 s: what is judged is that"]


def test_a_replay_by_metrics_that_were_not_measured_is_refused(
    refused: Line, tmp_path: Path
) -> None:
    file = tmp_path / "judge.yaml"
    query = "x{{server_group}}"
    file.write_text(f"metrics: [{{name: queue, prometheus: {{query: '{query}'}}}}]\n")

    said = judge(refused, "replay", "--with", str(file))

    assert said.status == 2
    assert "None of the metrics `queue` was measured then" in said.err


def test_what_was_kept_before_samples_were_is_judged_as_far_as_can_be(refused: Line) -> None:
    with closing(sqlite3.connect(refused.world.directory / "store.sqlite")) as database:
        database.execute("delete from judgements")
        database.execute(
            "update verdicts set metrics = null, samples = null, instances = null, score = null,"
            " observed = null, is_final = null"
        )
        database.commit()

    shown, again = steps(refused, "show"), steps(refused, "replay")

    assert shown[0]["looks"][-1]["was"] == "fail"
    assert shown[0]["canary"] == "hello-prod-v002"
    assert [look["outcome"] for look in again[0]["looks"]] == ["not_enough_data"] * len(
        again[0]["looks"]
    )
    notes = " ".join(again[0]["notes"])
    assert "sums of the whole time alone" in notes
    assert "By which policy it was judged was not kept" in notes


def test_looks_keep_only_what_is_new_in_them(promoted: Line) -> None:
    with closing(sqlite3.connect(promoted.world.directory / "store.sqlite")) as database:
        rows = database.execute("select look, samples from verdicts order by action, look")
        kept = [(look, json.loads(samples)) for look, samples in rows]

    begins = [point[0] for _, samples in kept[:3] for point in samples["errors"]["canary"]]
    assert len(begins) == len(set(begins))


def test_without_a_judgement_it_is_said_so(line: Line) -> None:
    start(line, "v1.0.0")

    said = judge(line, "show")

    assert said.status == 3
    assert "Nothing was judged in" in said.err
    assert "release show" in said.err


def test_a_metric_that_does_not_exist_is_refused_before_anything_changes(
    line: Line, tmp_path: Path
) -> None:
    unknown = """\
    judge:
      metrics:
        - {name: unknown, prometheus: {query: 'x{{server_group}}'}}
"""
    app = make_app(tmp_path / "unknown", MANIFEST + unknown)
    here(line.world, "release", "start", "--app", str(app), "--ref", "v1.0.0")

    said = here(line.world, "release", "start", "--app", str(app), "--ref", "v1.1.0")

    assert said.status != 0
    assert "no `unknown` of hello-prod-v001" in said.err
    assert not any("create hello-prod-v002" in one for one in line.world.look().log)
