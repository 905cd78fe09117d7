from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from ovenbird.cli.narration import Narrator, Story, log_line
from ovenbird.domain.events import Event

AT = datetime(2026, 1, 1, 10, 25, 32, tzinfo=UTC)


def event(kind: str, text: str = "", **facts: str | float) -> Event:
    return Event(sequence=1, at=AT, subject="hello-1", kind=kind, text=text, facts=facts)


def told(*events: Event, several: bool = False) -> list[str]:
    story = Story(several=several)
    return [line for one in events if (line := story.staying(one))]


def test_a_stage_ends_in_one_line_with_what_was_said_last() -> None:
    assert told(
        event("bake.started"),
        event("bake.said", "Get:1 deb.example nginx"),
        event("bake.said", "Uploading 16 of 900 blocks"),
        event("bake.finished", seconds=4.21),
    ) == ["bake        4.2 s  Uploading 16 of 900 blocks"]


def test_what_a_rollout_does_is_told_with_its_environment() -> None:
    assert told(
        event("prod/plan.plan", "1. Create\n2. Send"),
        event("prod/set_weights.said", "Send 100 %"),
        event("prod/set_weights.finished", seconds=1.0),
        event("prod/retreat/unpin.said", "Unpin"),
    ) == ["prod: 1. Create\n      2. Send", "prod: Send 100 %", "prod: Unpin"]


def test_of_a_canary_step_the_last_look_stays() -> None:
    assert told(
        event("prod/look.verdict", "10 %: pass after 1 s"),
        event("prod/look.verdict", "10 %: pass after 2 s"),
        event("prod/judged.said", "10 % judged: pass"),
    ) == ["prod: 10 %: pass after 2 s"]


def test_of_an_error_the_ending_is_told_and_the_rest_is_left_to_the_command() -> None:
    events = (event("bake.failed", "broke"), event("finish.failed", "Release failed: broke"))

    assert told(*events) == ["Release failed"]
    assert told(*events, several=True) == ["hello-1  Release failed: broke"]


def test_several_releases_are_told_apart() -> None:
    assert told(event("dev/unpin.said", "Unpin"), several=True) == ["hello-1  dev: Unpin"]


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (event("bake.started"), "Baking"),
        (event("bake.said", "Get:1  two\nlines"), "Get:1 two lines"),
        (event("prod/look.verdict", "10 %: pass"), "10 %: pass"),
        (event("bake.finished", seconds=1.0), ""),
    ],
)
def test_passing_lines_say_what_happens_now(one: Event, line: str) -> None:
    assert Story().passing(one) == line


def test_a_log_has_every_event_on_its_line() -> None:
    assert log_line(event("bake.finished", seconds=1.5)) == (
        "10:25:32  bake                      finished in 1.5 s"
    )
    assert log_line(event("prod/look.warning", "Going on")).endswith("  warning: Going on")


def test_without_a_terminal_progress_is_told_as_it_happens_and_not_too_often() -> None:
    told = StringIO()
    narrator = Narrator(Console(file=told, width=80), Story(), None)

    for second, one in enumerate(
        [event("bake.started"), *(event("bake.said", f"line {n}") for n in range(4))]
    ):
        narrator(replace(one, at=AT + timedelta(seconds=second)))
    narrator(event("bake.finished", seconds=4.0))

    assert told.getvalue().splitlines() == [
        "  Baking", "  line 1", "  line 3", "bake        4.0 s  line 3",
    ]  # fmt: skip
