"""`ovenbird catalog prune | verify`: what may go, and whether all that is kept is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.catalog_pages import several
from ovenbird.cli.options import change, confirm, opened, query
from ovenbird.domain.retention import Choice
from ovenbird.operations import catalog_verification, retention
from ovenbird.operations.retention import Proposal


@click.command()
@click.option("--keep-last", type=click.IntRange(min=1), help="Keep so many newest versions.")
@click.option(
    "--keep-days", type=click.FloatRange(min=0), help="Keep what is not older than so many days."
)
@change
def prune(
    *, keep_last: int | None, keep_days: float | None, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Withdraw packages that nothing needs from their channels, and free their space.

    What a server group runs, in traffic or at rest, always stays; then the newest versions
    of each package and the young ones, as `retention` in the settings says. The channel of
    releases keeps more. What was withdrawn stays in the catalog, marked as such.

    Example: `ovenbird catalog prune --keep-last 10 --dry-run`
    """
    with opened() as installation:
        policy = retention.policy_of(
            installation.settings, keep_last=keep_last, keep_days=keep_days
        )
        proposal = retention.plan_pruning(installation, policy)
        if not as_json:
            for line in _lines(proposal, whole=dry_run):
                click.echo(line)
        if not (dry_run or proposal.nothing):
            goes = several(len(proposal.plan.goes), "package")
            states = several(len(proposal.states), "state")
            confirm(f"Withdraw {goes}, remove {states}?", yes=yes)
            proposal = retention.prune(installation, proposal, policy, progress=output.words)
        if as_json:
            output.answer(_data(proposal))


@click.command()
@click.argument("name", default="")
@click.argument("version", default="")
@query
def verify(*, name: str, version: str, as_json: bool) -> None:
    """Read the store of packages again and compare it with the records.

    Digests and signatures of the files, and what each channel has. Exits with 1 when
    something is wrong, and names it.

    Example: `ovenbird catalog verify hello 1.1.0`
    """
    with opened() as installation:
        found = catalog_verification.verify(installation, name, version, progress=output.words)
    if as_json:
        output.answer(found)
    else:
        for one in found:
            click.echo(f"{one.place}: {one.text} ({one.code}, {one.tool})")
    if found:
        raise click.exceptions.Exit(1)
    output.words("All is as it was recorded")


def _lines(proposal: Proposal, *, whole: bool) -> Iterator[str]:
    """Say what goes and what stays; when it is not *whole*, what stays only by number."""
    plan = proposal.plan
    size = sum(
        proposal.entries[key].package.size_bytes
        for key in {choice.publication.key for choice in plan.goes}
        if key in proposal.entries
    )
    goes = several(len(plan.goes), "package")
    yield f"Goes ({goes}, {several(size, 'byte')})" if plan.goes else "No package goes"
    yield from map(_line, plan.goes)
    if plan.goes:
        yield "  Their files stay until no state that can still be read has them"
    if proposal.states:
        yield f"States that go ({len(proposal.states)}): {', '.join(proposal.states)}"
    yield f"Stays ({len(plan.stays)})"
    yield from map(_line, plan.stays if whole else ())


def _line(choice: Choice) -> str:
    one = choice.publication
    return f"  {one.channel:<10}  {one.key}: {choice.reason}"


def _data(proposal: Proposal) -> dict[str, Any]:
    return {
        "goes": output.to_data(proposal.plan.goes),
        "stays": output.to_data(proposal.plan.stays),
        "states": output.to_data(proposal.states),
    }
