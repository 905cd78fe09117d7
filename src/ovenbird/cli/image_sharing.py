"""`ovenbird image share | unshare`: who may use an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ovenbird.cli import output
from ovenbird.cli.options import change, confirm, opened
from ovenbird.domain.images import Image
from ovenbird.domain.sharing import words
from ovenbird.operations import sharing
from ovenbird.operations.sharing import Proposal, Whom, Withdrawing
from ovenbird.stages.unshare import words as words_of_withdrawal

Function = TypeVar("Function", bound=Callable[..., Any])


def whom_options(function: Function) -> Function:
    """Give a command the options that say with whom."""
    for name, metavar, text in (
        ("unit", "ARN", "An organisational unit; may be repeated."),
        ("organization", "ARN", "An organisation; may be repeated."),
        ("account", "ID", "An account by its twelve digits; may be repeated."),
        ("environment", "NAME", "An environment of the settings; may be repeated."),
    ):
        function = click.option(f"--{name}", f"{name}s", metavar=metavar, multiple=True, help=text)(
            function
        )
    return function


@click.command()
@click.argument("image")
@whom_options
@change
def share(*, image: str, as_json: bool, dry_run: bool, yes: bool, **whom: Sequence[str]) -> None:
    """Let others launch a baked image: all of them, or none when any part fails.

    An environment's account may launch it and read its snapshot, or copies it, as the
    settings say; its tags are written again there, and its role looks at it. With a key,
    Auto Scaling there may use the key.

    IMAGE is an id, a unique beginning of it, a name, or APP@VERSION.

    Example: `ovenbird image share ami-0c2f9e1b7d3a45860 --environment prod --dry-run`
    """
    with opened() as installation:
        proposal = sharing.plan_share(installation, image, Whom(**whom))
        if not as_json or not dry_run:
            _show(proposal, err=not dry_run)
        seen: dict[str, Image] = {}
        if not dry_run:
            if proposal.changes:
                confirm("Share it?", yes=yes)
            seen = dict(sharing.share(installation, proposal, progress=output.words))
    if as_json:
        output.answer(_data(proposal, seen))
    elif not dry_run:
        for environment, found in seen.items():
            click.echo(f"{environment}  {found.image_id}  {found.name}")


@click.command()
@click.argument("image")
@whom_options
@change
def unshare(*, image: str, as_json: bool, dry_run: bool, yes: bool, **whom: Sequence[str]) -> None:
    """Let others launch a baked image no longer; refused where something uses it.

    What accounts use that are no environment is not known. Copies of their own stay, and so
    do grants of keys, which other images need.

    Example: `ovenbird image unshare ami-0c2f9e1b7d3a45860 --environment prod`
    """
    with opened() as installation:
        found = sharing.plan_unshare(installation, image, Whom(**whom))
        if not as_json or not dry_run:
            _show_withdrawal(found, err=not dry_run)
        if found.plan and not dry_run:
            confirm("Do it?", yes=yes)
            sharing.unshare(installation, found, progress=output.words)
    if as_json:
        output.answer({"image_id": found.request.image.image_id, "taken_back": found.plan})


def _show(proposal: Proposal, *, err: bool) -> None:
    request = proposal.request
    click.echo(f"Share {request.image.image_id}: {request.image.name}", err=err)
    for action in proposal.changes:
        click.echo(f"  {words(action, request)}", err=err)
    if not proposal.changes:
        click.echo("  Nothing is missing", err=err)


def _show_withdrawal(found: Withdrawing, *, err: bool) -> None:
    click.echo(f"Unshare {found.request.image.image_id}: {found.request.image.name}", err=err)
    for one in found.plan:
        click.echo(f"  {words_of_withdrawal(one, found.request)}", err=err)
    if not found.plan:
        click.echo("  None of these may use it: nothing to do", err=err)
    for principal in found.unknown:
        click.echo(f"  Whether {principal} uses it is not known", err=err)


def _data(proposal: Proposal, seen: dict[str, Image]) -> dict[str, Any]:
    request = proposal.request
    return {
        "image_id": request.image.image_id,
        "changes": [
            {"kind": type(action).__name__, "text": words(action, request)}
            for action in proposal.changes
        ],
        "images": {environment: image.image_id for environment, image in seen.items()},
    }
