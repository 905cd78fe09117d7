"""`ovenbird cluster rollback | enable | disable | resize | decommission`: plan, confirm, do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.narration import narrating
from ovenbird.cli.options import change, confirm, opened
from ovenbird.cli.plans import plan_data, plan_lines
from ovenbird.cli.relaunching import launch_again
from ovenbird.domain.durations import spoken
from ovenbird.domain.errors import Aborted
from ovenbird.operations import changing, returning, unlocking
from ovenbird.operations.changing import Proposal, Size
from ovenbird.operations.opening import Installation, person

environment_option = click.option(
    "--environment", help="Where the cluster lives, if its name does not say."
)


@click.command()
@click.argument("cluster")
@click.option(
    "--to", metavar="VERSION|vNNN|GROUP", help="Another one than the previous; it may be gone."
)
@environment_option
@change
def rollback(
    *, cluster: str, to: str | None, environment: str | None,
    as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Bring the previous server group back, or a named version; no request is lost.

    Weights move first when the capacity is there. A version whose group is gone is launched
    again from its image, with the manifest of its commit, and gets the traffic when it is
    healthy; when it does not get so, all stays as it is.

    Example: `ovenbird cluster rollback hello-prod --to 1.0.0`
    """
    with opened() as installation:
        group = returning.group_of(installation, cluster, to, environment) if to else None
        if to and not group:
            wanted = returning.launch_again(installation, cluster, to, environment)
            launch_again(installation, wanted, as_json=as_json, dry_run=dry_run, yes=yes)
            return
        proposal = changing.plan_rollback(installation, cluster, to=group, environment=environment)
        _change(installation, [proposal], as_json=as_json, dry_run=dry_run, yes=yes)


@click.command()
@click.argument("group")
@environment_option
@change
def enable(*, group: str, environment: str | None, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Bring a server group into traffic, beside what serves.

    Example: `ovenbird cluster enable hello-prod-v001`
    """
    with opened() as installation:
        proposal = changing.plan_enable(installation, group, environment=environment)
        _change(installation, [proposal], as_json=as_json, dry_run=dry_run, yes=yes)


@click.command()
@click.argument("group")
@environment_option
@change
def disable(
    *, group: str, environment: str | None, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Take a server group out of traffic; its instances keep running.

    Example: `ovenbird cluster disable hello-prod-v002`
    """
    with opened() as installation:
        proposal = changing.plan_disable(installation, group, environment=environment)
        _change(installation, [proposal], as_json=as_json, dry_run=dry_run, yes=yes)


@click.command()
@click.argument("name", metavar="CLUSTER|GROUP")
@click.option("--min", "least", type=int, help="Instances at least.")
@click.option("--desired", type=int, help="Instances wanted.")
@click.option("--max", "most", type=int, help="Instances at most.")
@environment_option
@change
def resize(  # noqa: PLR0913 - one for each option, all by name
    *, name: str, least: int | None, desired: int | None, most: int | None,
    environment: str | None, as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Give a server group, or the one that serves, another capacity; the rest stays.

    Example: `ovenbird cluster resize hello-prod --desired 4 --max 8`
    """
    size = Size(min=least, desired=desired, max=most)
    with opened() as installation:
        proposal = changing.plan_resize(installation, name, size=size, environment=environment)
        _change(installation, [proposal], as_json=as_json, dry_run=dry_run, yes=yes)


@click.command()
@click.argument("name", metavar="[CLUSTER|GROUP]", required=False)
@click.option(
    "--without-way-back", is_flag=True, help="Do not keep the previous group for a rollback."
)
@environment_option
@change
def decommission(
    *, name: str | None, without_way_back: bool, environment: str | None,
    as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Destroy server groups that have rested long enough, in all clusters or in one.

    A group that is named is destroyed, unless it is in traffic or a rollback may need it.

    Example: `ovenbird cluster decommission hello-prod-v001 --dry-run`
    """
    with opened() as installation:
        proposals = changing.plan_decommission(
            installation, name, environment=environment, waived=without_way_back
        )
        _change(installation, proposals, as_json=as_json, dry_run=dry_run, yes=yes)


@click.command()
@click.argument("cluster")
@click.option("--force", is_flag=True, help="Also when a living process works on its owner.")
@environment_option
@change
def unlock(
    *, cluster: str, force: bool, environment: str | None,
    as_json: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Take a cluster's lock from its owner, whose work is ended where it is.

    Nothing is taken back: what may be left is said. To go on, use `ovenbird release resume`;
    to take it back, `ovenbird release abort`.

    Example: `ovenbird cluster unlock hello-prod`
    """
    with opened() as installation:
        wanted = unlocking.plan_unlock(installation, cluster, environment=environment, force=force)
        lock = wanted.lock
        age = spoken(installation.ports.clock.now() - lock.since)
        lines = [f"{lock.reason}: `{lock.owner}` holds {lock.name} ({age})", *wanted.left]
        click.echo("\n".join(lines), err=as_json or not dry_run)
        if not dry_run:
            confirm("Take the lock away, and end its owner where it is?", yes=yes)
            unlocking.unlock(installation, wanted)
            output.words(f"Unlocked; `ovenbird cluster reconcile {cluster}` shows what is left")
    if as_json:
        output.answer({"lock": lock, "alive": wanted.alive, "left": wanted.left})


def _change(
    installation: Installation,
    proposals: Sequence[Proposal],
    *,
    as_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Show what would be done; then do it, if it is confirmed."""
    todo = [proposal for proposal in proposals if proposal.plan.actions]
    if not as_json or (todo and not dry_run):
        show(proposals, err=bool(todo) and not dry_run)
    if dry_run or not todo:
        if as_json:
            output.answer([proposal_data(proposal) for proposal in proposals])
        return
    confirm("Do it?", yes=yes)
    results = [carried_out(installation, proposal) for proposal in todo]
    done = [installation.store.get_rollout(subject) for subject in results]
    if as_json:
        output.answer(done)
    else:
        for one in done:
            click.echo(f"{one.rollout_id}  {one.cluster}  {one.kind} done")


def carried_out(installation: Installation, proposal: Proposal) -> str:
    """Do one change and return its id; an interrupted person learns that nothing is lost."""
    try:
        with narrating() as tell:
            result = changing.carry_out(installation, proposal, actor=person(), tell=tell)
    except KeyboardInterrupt as error:
        raise Aborted(
            "Interrupted: the change is not lost, it only stands still",
            hint="Go on with `ovenbird release resume`",
        ) from error
    if result.error is not None:
        raise result.error
    return result.subject


def show(proposals: Sequence[Proposal], *, err: bool) -> None:
    """Say what would be done to which cluster."""
    for proposal in proposals:
        cluster = proposal.cluster
        click.echo(
            f"{proposal.kind} on {cluster.name} in {cluster.environment}".capitalize(), err=err
        )
        click.echo("\n".join(plan_lines(proposal.plan)), err=err)


def proposal_data(proposal: Proposal) -> dict[str, Any]:
    """Return the same for ``--json``."""
    return {
        "kind": proposal.kind,
        "cluster": str(proposal.cluster.name),
        "environment": proposal.cluster.environment,
        **plan_data(proposal.plan),
    }
