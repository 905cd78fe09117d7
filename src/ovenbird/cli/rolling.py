"""`ovenbird rollout plan | start | pause | continue | promote | abort`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ovenbird.cli import output
from ovenbird.cli.options import (
    change,
    confirm,
    dry_run_option,
    is_interactive,
    opened,
    query,
    turn_options,
)
from ovenbird.cli.releasing import conclude, told
from ovenbird.cli.rollout import driven_data
from ovenbird.cli.rollout_plans import preview_data, preview_lines
from ovenbird.domain.plans import describe
from ovenbird.domain.releases import Phase
from ovenbird.operations import driving, foreseeing, releases, releasing, rolling
from ovenbird.operations.opening import Installation, person
from ovenbird.operations.queueing import Turn

Function = TypeVar("Function", bound=Callable[..., Any])


def _what(function: Function) -> Function:
    """Give a command the options that say what is rolled out, and where to."""
    for option in (
        click.argument("name", metavar="[APP]", default=""),
        click.option("--app", "directory", default="", help="Directory whose manifest is used."),
        click.option(
            "--confirm",
            "confirmed",
            metavar="CLUSTER",
            multiple=True,
            help="Let a `highlander` strategy leave nothing else in this cluster.",
        ),
        click.option("--environment", required=True, help="Where to roll it out."),
        click.option(
            "--image",
            required=True,
            metavar="AMI|NAME|VERSION",
            help="Image to roll out: its id, its name, app@version, or the version of APP.",
        ),
    ):
        function = option(function)
    return function


@click.command()
@_what
@query
def plan(
    *, image: str, environment: str, name: str, directory: str, confirmed: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Show what a rollout of an image would do, change and cost; nothing is done.

    Example: `ovenbird rollout plan hello --image 1.1.0 --environment prod`
    """
    with opened() as installation:
        wanted = rolling.prepare(
            installation, image=image, environment=environment, app=name, directory=directory,
            confirmed=confirmed,
        )  # fmt: skip
        _show(installation, wanted, as_json=as_json, err=False)


@click.command()
@_what
@turn_options
@change
def start(  # noqa: PLR0913 - one for each option, all by name
    *, image: str, environment: str, name: str, directory: str, confirmed: tuple[str, ...],
    queue: bool, supersede: bool, as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Roll out an image that is there, without a whole release.

    It runs here, until it has ended or waits for a person. The manifest is the one of the
    commit that the image was baked from, or the one in the directory of --app. An approval
    that the manifest asks for is the confirmation here.

    Example: `ovenbird rollout start hello --image 1.1.0 --environment prod`
    """
    with opened() as installation:
        wanted = rolling.prepare(
            installation, image=image, environment=environment, app=name, directory=directory,
            confirmed=confirmed,
        )  # fmt: skip
        asks = is_interactive() and not yes
        if dry_run or asks:
            _show(installation, wanted, as_json=as_json and dry_run, err=not dry_run)
        if dry_run:
            return
        confirm("Roll it out?", yes=yes)
        turn = Turn(queue=queue, supersede=supersede)
        with told() as tell:
            result = rolling.start(installation, wanted, actor=person(), tell=tell, turn=turn)
        conclude(installation, result, as_json=as_json)


@click.command()
@click.argument("rollout", default=releases.LATEST)
@dry_run_option
@query
def pause(*, rollout: str, dry_run: bool, as_json: bool) -> None:
    """Let a rollout stand after its present action; its weights stay, its alarms count.

    Example: `ovenbird rollout pause hello-prod`
    """
    with opened() as installation:
        found = driving.get_going(installation.store, rollout)
        rollout_id = found.rollout.rollout_id
        stands = found.wait is not None
        if not dry_run:
            driving.pause(installation, found, actor=person())
            found = driving.find(installation.store, rollout_id)
    where = "stands already" if stands else "stands after its present action"
    output.words(f"`{rollout_id}` {'would stand' if dry_run and not stands else where}; go on with")
    output.words(f"  ovenbird rollout continue {rollout_id}")
    if as_json:
        output.answer(driven_data(found))


@click.command("continue")
@click.argument("rollout", default=releases.LATEST)
@dry_run_option
@query
def continue_(*, rollout: str, dry_run: bool, as_json: bool) -> None:
    """Let a rollout go on that is paused, or whose plan waits for a word.

    It goes on here, unless another process works on it.

    Example: `ovenbird rollout continue hello-prod`
    """
    with opened() as installation:
        found = driving.get_going(installation.store, rollout)
        if dry_run:
            driving.refuse_nothing_to_continue(installation.store, found)
            why = f": {found.wait.why}" if found.wait else ""
            _would(found, f"would go on{why}", as_json=as_json)
            return
        with told() as tell:
            result = driving.continue_(installation, found, actor=person(), tell=tell)
        conclude(installation, result, as_json=as_json)


@click.command()
@click.argument("rollout", default=releases.LATEST)
@change
def promote(*, rollout: str, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Leave out the remaining steps of a rollout: full capacity, then all traffic.

    Nothing is judged any more and no step is waited for; but capacity still comes before
    weight, and alarms still take it back. It goes on here, unless another process works
    on it.

    Example: `ovenbird rollout promote hello-prod --yes`
    """
    with opened() as installation:
        found = driving.get_going(installation.store, rollout)
        if dry_run:
            text = "would go to full capacity and all traffic; no step would be judged"
            _would(found, text, as_json=as_json)
            return
        confirm(f"Promote `{found.rollout.rollout_id}` without further judging?", yes=yes)
        with told() as tell:
            result = driving.promote(installation, found, actor=person(), tell=tell)
        conclude(installation, result, as_json=as_json)


@click.command()
@click.argument("rollout", default=releases.LATEST)
@dry_run_option
@query
def abort(*, rollout: str, dry_run: bool, as_json: bool) -> None:
    """End a rollout at its next step and take it back; its release ends with it.

    Example: `ovenbird rollout abort hello-prod`
    """
    with opened() as installation:
        found = driving.find(installation.store, rollout)
        if dry_run:
            releasing.refuse_ended(installation.store, found.subject)
            _say_retreat(installation, found, as_json=as_json)
            return
        with told() as tell:
            result = releasing.abort(installation, found.subject, actor=person(), tell=tell)
        conclude(installation, result, as_json=as_json, wanted=Phase.ABORTED)


def _show(installation: Installation, wanted: rolling.Wanted, *, as_json: bool, err: bool) -> None:
    seen = rolling.preview(installation, wanted)
    found = foreseeing.foresee(installation, seen)
    if as_json:
        output.answer(preview_data(seen, found))
    else:
        click.echo("\n".join(preview_lines(seen, found)), err=err)


def _would(found: driving.Driven, text: str, *, as_json: bool) -> None:
    if as_json:
        output.answer({**driven_data(found), "would": text})
    else:
        click.echo(f"`{found.rollout.rollout_id}` {text}")


def _say_retreat(installation: Installation, found: driving.Driven, *, as_json: bool) -> None:
    plan = foreseeing.retreat(installation, found.rollout)
    if as_json:
        output.answer({**driven_data(found), "would": [describe(one) for one in plan.actions]})
        return
    click.echo(f"`{found.subject}` would end, and on `{found.rollout.cluster}`:")
    for line in [f"  {n}. {describe(one)}" for n, one in enumerate(plan.actions, 1)]:
        click.echo(line)
    if not plan.actions:
        click.echo(f"  Nothing to do: {plan.reason}")
