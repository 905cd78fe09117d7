"""`ovenbird cluster reconcile`: what was changed by hand, and what is done about it."""

from __future__ import annotations

import click

from ovenbird.cli import output
from ovenbird.cli.changing import carried_out, environment_option, proposal_data, show
from ovenbird.cli.options import change, confirm, opened
from ovenbird.operations import reconciling
from ovenbird.operations.reconciling import Reconciliation


@click.command()
@click.argument("cluster")
@click.option("--traffic-back", is_flag=True, help="Send traffic where it was before, too.")
@environment_option
@change
def reconcile(
    *, cluster: str, traffic_back: bool, environment: str | None,
    as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Show what was changed by hand since our last change, and mend it.

    Traffic stays where it is, unless nobody can take it there; with --traffic-back it goes
    where it was sent before. What was made larger stays so. What cannot be mended safely is
    only shown: another image, missing alarms, a deleted group.

    Example: `ovenbird cluster reconcile hello-prod --dry-run`
    """
    with opened() as installation:
        found = reconciling.plan_reconciliation(
            installation, cluster, environment=environment, traffic_back=traffic_back
        )
        todo = bool(found.proposal.plan.actions) and not dry_run
        done = None
        if not as_json or todo:
            _show(found, err=todo)
        if todo:
            confirm("Mend it?", yes=yes)
            done = installation.store.get_rollout(carried_out(installation, found.proposal))
            if not as_json:
                click.echo(f"{done.rollout_id}  {done.cluster}  reconcile done")
        if as_json:
            output.answer(
                {
                    "differences": output.to_data(found.differences),
                    "plan": proposal_data(found.proposal),
                    "done": output.to_data(done) if done else None,
                }
            )


def _show(found: Reconciliation, *, err: bool) -> None:
    for one in found.differences:
        click.echo(f"Changed by hand: {one.text}", err=err)
    if not found.differences:
        click.echo("Nothing was changed by hand", err=err)
    show([found.proposal], err=err)
