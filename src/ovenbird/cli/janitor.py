"""`ovenbird janitor`: what has rested long enough, and what crashed runs left, goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import click

from ovenbird.cli import output
from ovenbird.cli.catalog_pages import several
from ovenbird.cli.changing import proposal_data
from ovenbird.cli.narration import narrating
from ovenbird.cli.options import change, confirm, opened, query, settings_option
from ovenbird.cli.plans import plan_lines
from ovenbird.domain.errors import Aborted
from ovenbird.domain.janitor import AT_ONCE, GRACE, Choice
from ovenbird.operations import janitor
from ovenbird.operations.janitor import Limits, Round
from ovenbird.operations.opening import Installation, person

Function = TypeVar("Function", bound=Callable[..., Any])
HOURS = GRACE / timedelta(hours=1)


@click.group("janitor")
@settings_option
def group() -> None:
    """Find and remove what nothing needs any more: in clusters, and what crashed runs left.

    Nothing goes that has traffic, that a rollback may need within its window, whose release
    or bake goes on or waits, or that is younger than the grace time.
    """


def limits(function: Function) -> Function:
    """Give a command what limits the janitor."""
    decorated = click.option(
        "--grace",
        type=click.FloatRange(min=0),
        default=HOURS,
        show_default=True,
        help="Hours for which everything that is left over is left alone.",
    )(function)
    decorated = click.option(
        "--most",
        type=click.IntRange(min=1),
        default=AT_ONCE,
        show_default=True,
        help="Things and server groups that one run removes.",
    )(decorated)
    return click.option("--environment", help="Only this environment.")(decorated)


@group.command()
@limits
@query
def plan(*, grace: float, most: int, environment: str | None, as_json: bool) -> None:
    """Show what would go and what stays, and why; nothing is changed.

    Example: `ovenbird janitor plan --grace 48`
    """
    with opened() as installation:
        found = janitor.plan_round(installation, _limits(grace, most), environment=environment)
    _tell(found, as_json=as_json, err=False, whole=True)


@group.command()
@limits
@change
def run(
    *, grace: float, most: int, environment: str | None,
    as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Remove what `janitor plan` shows, after a confirmation; start it daily.

    Each cluster is planned again and each thing is looked at again right before it goes. What
    a killed janitor had begun is finished first.

    Example: `ovenbird janitor run --dry-run`
    """
    allowed = _limits(grace, most)
    with opened() as installation:
        if not dry_run:
            _go_on(installation)
        found = janitor.plan_round(installation, allowed, environment=environment)
        todo = bool(found.changes or found.goes) and not dry_run
        if todo or not as_json:
            _tell(found, as_json=False, err=todo, whole=dry_run)
        done: tuple[str, ...] = ()
        if todo:
            groups = several(len(found.changes), "cluster")
            confirm(f"Change {groups}, remove {several(len(found.goes), 'thing')}?", yes=yes)
            done = _clean(installation, found, allowed)
        if as_json:
            output.answer({**_data(found), "done": list(done)})


def _limits(grace: float, most: int) -> Limits:
    return Limits(grace=timedelta(hours=grace), at_once=most)


def _go_on(installation: Installation) -> None:
    with narrating() as tell:
        for change_id in janitor.go_on(installation, tell):
            output.words(f"Finished `{change_id}`, which a killed process had begun")


def _clean(installation: Installation, found: Round, allowed: Limits) -> tuple[str, ...]:
    try:
        with narrating() as tell:
            return janitor.clean(
                installation, found, allowed, actor=person(), tell=tell, progress=output.words
            )
    except KeyboardInterrupt as error:
        raise Aborted(
            "Interrupted: what was begun is not lost",
            hint="`ovenbird janitor run` goes on with it",
        ) from error


def _tell(found: Round, *, as_json: bool, err: bool, whole: bool) -> None:
    if as_json:
        output.answer(_data(found))
        return
    for line in _lines(found, whole=whole):
        click.echo(line, err=err)


def _lines(found: Round, *, whole: bool) -> Iterator[str]:
    """Say what goes; what stays only by number unless *whole*."""
    for proposal in found.proposals:
        if proposal.plan.actions or whole:
            yield f"Cluster {proposal.cluster.name} in {proposal.cluster.environment}"
            yield from plan_lines(proposal.plan)
    counts = Counter(choice.goes for choice in found.choices)
    yield f"Goes ({counts[True]})"
    yield from (_line(choice) for choice in found.choices if choice.goes)
    yield f"Stays ({counts[False]})"
    if whole:
        yield from (_line(choice) for choice in found.choices if not choice.goes)


def _line(choice: Choice) -> str:
    one = choice.leftover
    return f"  {one.kind} {one.name} in {one.environment}: {choice.reason}"


def _data(found: Round) -> dict[str, Any]:
    return {
        "clusters": [proposal_data(proposal) for proposal in found.proposals],
        "things": [
            {"goes": one.goes, "reason": one.reason, **output.to_data(one.leftover)}
            for one in found.choices
        ],
    }
