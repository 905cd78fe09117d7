"""Every command has help, an example, and its place in the reference."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ovenbird.__main__ import program
from ovenbird.cli.reference import leaves, page

ROOT = Path(__file__).resolve().parents[2]
FOUND = list(leaves(program, click.Context(program, info_name="ovenbird")))
COMMANDS = [(command, path) for command, path in FOUND if not isinstance(command, click.Group)]


@pytest.mark.parametrize(("command", "path"), COMMANDS, ids=[path for _, path in COMMANDS])
def test_every_command_has_help_and_an_example_of_itself(command: click.Command, path: str) -> None:
    text = command.help or ""
    example = re.search(r"Example: `([^`]+)`", " ".join(text.split()))

    assert text.strip().splitlines()[0].endswith(".")
    assert example is not None
    assert path in example[1]


@pytest.mark.parametrize(("command", "path"), FOUND, ids=[path for _, path in FOUND])
def test_every_option_says_what_it_does(command: click.Command, path: str) -> None:
    options = [one for one in command.params if isinstance(one, click.Option)]

    assert [option.name for option in options if not (option.help or "").strip()] == []
    assert command.help


def test_the_reference_is_what_the_commands_say() -> None:
    written = (ROOT / "docs/reference/cli.md").read_text()

    assert written == page(program), "run `make docs`"


def test_the_product_s_own_program_does_not_know_the_sandbox() -> None:
    from ovenbird.cli.app import program as own  # noqa: PLC0415 - the other one is above

    assert "sandbox" not in own.list_commands(click.Context(own))
    assert "sandbox" in program.list_commands(click.Context(program))
