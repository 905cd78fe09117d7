"""The command line's frame: errors become words and exit statuses.

Exit statuses: 0 done, 1 failed, 2 wrong request, 3 not found, 4 conflict, 5 a program
failed, 6 unhealthy, 130 aborted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version

import click

from ovenbird.cli.lazy import LazyGroup
from ovenbird.cli.options import settings_option
from ovenbird.domain.errors import InvalidRequest, OvenbirdError

NOUNS = {
    "init": "ovenbird.cli.init:init",
    "release": "ovenbird.cli.release:group",
    "rollout": "ovenbird.cli.rollout:group",
    "judge": "ovenbird.cli.judge:group",
    "cluster": "ovenbird.cli.cluster:group",
    "janitor": "ovenbird.cli.janitor:group",
    "image": "ovenbird.cli.image:group",
    "catalog": "ovenbird.cli.catalog:group",
    "package": "ovenbird.cli.package:package",
    "repository": "ovenbird.cli.repository:group",
    "key": "ovenbird.cli.key:group",
    "doctor": "ovenbird.cli.doctor:doctor",
}


class Program(LazyGroup):
    """The commands that the product has; ``__main__`` adds the sandbox's."""

    places = NOUNS


@click.group(cls=Program)
@click.version_option(version("ovenbird"), prog_name="ovenbird")
@settings_option
def program() -> None:
    """From a commit to a canary to a rollback, on images that never change.

    Data goes to stdout, words to stderr. With --json stdout holds one JSON document: the
    answer, or the error that came instead of one.

    Exit statuses: 0 done, 1 failed, 2 wrong request, 3 not found, 4 conflict, 5 a program
    failed, 6 unhealthy, 130 aborted.
    """


def invoke(command: click.Command, argv: Sequence[str], *, obj: object = None) -> int:
    """Run a command and return the exit status of the process.

    A deliberate error is shown as two lines, ``error:`` and ``hint:``, after what the
    failing program said. Any other exception is a bug in this program and keeps its
    traceback.
    """
    try:
        command.main(args=list(argv), obj=obj, prog_name="ovenbird", standalone_mode=False)
    except OvenbirdError as error:
        _show(error)
        return error.exit_status
    except click.ClickException as error:
        _refuse(error, as_json="--json" in argv)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo("aborted", err=True)
        return 130
    return 0


def _refuse(error: click.ClickException, *, as_json: bool) -> None:
    """Show what the command line got wrong as any other error; a bare group shows its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{context.command_path} --help` shows what there is" if context else ""
    refused = InvalidRequest(error.format_message().rstrip("."), hint=hint)
    if as_json:
        click.echo(json.dumps(refused.to_json(), indent=2, ensure_ascii=False))
    _show(refused)


def _show(error: OvenbirdError) -> None:
    if said := str(error.facts.get("stderr", "")).strip():
        click.echo(said, err=True)
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
