"""What commands have in common: ``--settings``, ``--json``, ``--dry-run``, ``--yes``.

@query     asks: --settings, --json
@change    changes: --settings, --json, --dry-run, --yes
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ovenbird.cli import output
from ovenbird.domain.errors import Aborted, InvalidRequest, OvenbirdError
from ovenbird.operations.opening import Installation

SETTINGS = "ovenbird.settings"  # in the context's meta, which subcommands share
Function = TypeVar("Function", bound=Callable[..., Any])


def settings_option(function: Function) -> Function:
    """Give a command or group ``--settings``; the innermost one counts."""
    return click.option(
        "--settings",
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        callback=_keep_settings,
        help="The operator's file; otherwise $OVENBIRD_SETTINGS, or the sandbox's.",
    )(function)


def query(function: Function) -> Function:
    """Make a command of a function that answers; it takes ``as_json``."""
    return settings_option(json_option(function))


def json_option(function: Function) -> Function:
    """Give a function ``--json``, as ``as_json``: with it an error is a JSON document, too."""

    @functools.wraps(function)
    def answering(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        try:
            return function(*args, as_json=as_json, **kwargs)
        except OvenbirdError as error:
            if as_json and not output.is_answered():
                click.echo(json.dumps(error.to_json(), indent=2, ensure_ascii=False))
            raise

    option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    return option(answering)  # type: ignore[return-value]  # click's decorator forgets the type


def dry_run_option(function: Function) -> Function:
    """Give a function ``--dry-run``, as ``dry_run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Print what would be done, and do nothing."
    )(function)


def turn_options(function: Function) -> Function:
    """Give a function ``--queue`` and ``--supersede``, for when something else goes on."""
    queue = click.option(
        "--queue", is_flag=True, help="Wait for its turn when something else goes on there."
    )
    supersede = click.option(
        "--supersede",
        is_flag=True,
        help="End what waits there, for its turn or for an approval, and take its place.",
    )
    return queue(supersede(function))


def change(function: Function) -> Function:
    """Make a command of a function that changes; it takes ``as_json``, ``dry_run``, ``yes``."""
    decorated = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")(function)
    return query(dry_run_option(decorated))


def opened() -> Installation:
    """Return the installation that the command line means, to be closed by a ``with``."""
    context = click.get_current_context()
    make: Callable[[Path | None], Installation] = context.obj or Installation
    return make(context.meta.get(SETTINGS))


def is_interactive() -> bool:
    """Tell whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless it was answered by ``--yes``.

    Raises:
        InvalidRequest: There is nobody to ask.
        Aborted: The answer is no.
    """
    if yes:
        return
    if not is_interactive():
        raise InvalidRequest(
            "A change needs a confirmation, and there is no terminal", hint="Add `--yes`"
        )
    if not click.confirm(question, err=True):
        raise Aborted("Not confirmed: nothing was changed")


def _keep_settings(
    context: click.Context, parameter: click.Parameter, value: Path | None
) -> Path | None:
    del parameter
    if value is not None:
        context.meta[SETTINGS] = value
    return value
