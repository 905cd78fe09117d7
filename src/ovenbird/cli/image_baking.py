"""`ovenbird image bake`: a commit becomes an image, and nothing is rolled out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from ovenbird.cli import output
from ovenbird.cli.options import change, confirm, is_interactive, opened
from ovenbird.cli.releasing import conclude, told
from ovenbird.domain.releases import Goal
from ovenbird.operations import baking, preparing, releasing
from ovenbird.operations.opening import person


@click.command()
@click.option("--app", default=".", help="Git URL or directory; the current one by default.")
@click.option("--ref", default="HEAD", help="Branch, tag or commit.")
@click.option("--fresh", is_flag=True, help="Bake anew, also if the same was baked before.")
@click.option("--timings", is_flag=True, help="Print how long each phase of the bake took.")
@change
def bake(  # noqa: PLR0913 - one for each option, all by name
    *, app: str, ref: str, fresh: bool, timings: bool, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Bake the image of a commit: build, publish, bake; no environment gets it.

    The same inputs give the same image: what was baked before is found. A later
    `ovenbird release start` of the same commit uses it. On a terminal the plan is shown and
    confirmed.

    Example: `ovenbird image bake --app ~/hello --ref v1.1.0 --timings`
    """
    with opened() as installation:
        prepared = preparing.prepare(installation, app=app, ref=ref)
        asks = is_interactive() and not yes
        if dry_run or asks:
            plan = baking.plan_bake(installation, prepared, fresh=fresh)
            if dry_run and as_json:
                output.answer(plan)
            else:
                click.echo("\n".join(_lines(plan)), err=not dry_run)
        if dry_run:
            return
        confirm("Bake it?", yes=not asks)
        with told() as tell:
            result = releasing.start(
                installation, prepared, fresh=fresh, actor=person(), tell=tell, goal=Goal.IMAGE
            )
        seconds = baking.timings(installation.store, result.subject)
        if timings and not as_json:
            _table(seconds)
        conclude(installation, result, as_json=as_json, more={"timings": dict(seconds)})


def _lines(plan: baking.BakePlan) -> Iterator[str]:
    yield f"Image of {plan.app} {plan.version}, commit {plan.commit[:7]}"
    yield f"  base     {plan.base_name} ({plan.base_id}), {plan.size_gib} GiB"
    yield f"  strategy {plan.strategy}"
    yield from (f"  recipe   {step}" for step in plan.recipe)
    yield f"  packages {', '.join(plan.packages)}"
    found = f"{plan.image_id}, unless its inputs have changed" if plan.image_id else "to be baked"
    yield f"  image    {found}"


def _table(seconds: Mapping[str, float]) -> None:
    if not seconds:
        output.words("Nothing was baked: the image was there")
        return
    rows = [(phase, f"{took:8.3f} s") for phase, took in seconds.items()]
    rows.append(("all", f"{sum(seconds.values()):8.3f} s"))
    output.table(("phase", "took"), rows)
