from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ovenbird.cli import output
from ovenbird.cli.app import invoke, program
from ovenbird.cli.options import change, confirm, opened, query
from ovenbird.domain.errors import Conflict, Unhealthy
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import AwaitHealthy
from ovenbird.operations.opening import Installation


@click.group()
def words() -> None:
    """Commands to be tried."""


@words.command()
@query
def breaks(*, as_json: bool) -> None:
    """Break before anything was answered."""
    raise Conflict("It is taken", hint="Wait", owner="x-1")


@words.command()
@query
def answers_then_breaks(*, as_json: bool) -> None:
    """Answer, and end badly."""
    if as_json:
        output.answer({"phase": "rolled_back"})
    raise Unhealthy("Worse")


@words.command()
@change
def changes(*, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Ask first."""
    confirm("Do it?", yes=yes)
    click.echo("done")


def test_values_become_json_with_names_and_times_as_text() -> None:
    action = AwaitHealthy(
        name=ServerGroupName.parse("hello-prod-v002"), instances=2, within=timedelta(minutes=5)
    )

    assert output.to_data({"a": action, "at": datetime(2026, 1, 1, tzinfo=UTC)}) == {
        "a": {"name": "hello-prod-v002", "instances": 2, "within": 300.0},
        "at": "2026-01-01T00:00:00+00:00",
    }


def test_with_json_an_error_is_the_document_and_words_go_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = invoke(words, ["breaks", "--json"])
    captured = capsys.readouterr()

    assert status == 4
    assert json.loads(captured.out) == {
        "error": "Conflict", "message": "It is taken", "hint": "Wait", "facts": {"owner": "x-1"},
    }  # fmt: skip
    assert captured.err == "error: It is taken\nhint: Wait\n"


def test_there_is_one_document_also_when_an_answer_ends_badly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = invoke(words, ["answers-then-breaks", "--json"])

    assert status == 6
    assert json.loads(capsys.readouterr().out) == {"phase": "rolled_back"}


@pytest.mark.parametrize("line", [["changes", "--json", "--nope"], ["changes", "--json", "word"]])
def test_a_mistaken_command_line_is_an_error_as_any_other(
    capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    status = invoke(words, line)

    captured = capsys.readouterr()
    said, hint = captured.err.splitlines()
    assert status == 2
    assert said.startswith("error: ")
    assert hint == "hint: `ovenbird changes --help` shows what there is"
    assert json.loads(captured.out)["message"] == said.removeprefix("error: ")


def test_without_json_a_mistaken_command_line_prints_no_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(words, ["no-such-word"]) == 2
    assert capsys.readouterr().out == ""


def test_a_change_needs_a_yes_where_nobody_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(words, ["changes"]) == 2
    assert "Add `--yes`" in capsys.readouterr().err
    assert invoke(words, ["changes", "-y"]) == 0
    assert capsys.readouterr().out == "done\n"


@pytest.mark.parametrize(
    "line",
    [
        ["--settings", "F", "release", "list"],
        ["release", "--settings", "F", "list"],
        ["release", "list", "--settings", "F"],
        ["--settings", "G", "release", "list", "--settings", "F"],
    ],
)
def test_the_settings_file_is_named_anywhere(line: list[str]) -> None:
    asked: list[Path | None] = []

    def make(path: Path | None) -> Installation:
        asked.append(path)
        raise Conflict("enough")

    assert invoke(program, line, obj=make) == 4
    assert asked == [Path("F")]


def test_a_table_is_neither_cut_nor_wrapped_where_there_is_no_terminal() -> None:
    @click.command()
    def shows() -> None:
        output.table(("one", "two"), [("x" * 150, "promoted")])

    said = CliRunner().invoke(shows).stdout.splitlines()

    assert [line.rstrip() for line in said[1:]] == ["x" * 150 + "  promoted"]


def test_opened_is_an_installation_by_default() -> None:
    @click.command()
    def opens() -> None:
        assert isinstance(opened(), Installation)

    assert CliRunner().invoke(opens).exit_code == 0
