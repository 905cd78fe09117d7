"""A rollback to a version whose server group is gone: shown, confirmed, and rolled out."""

from __future__ import annotations

import click

from ovenbird.cli import output
from ovenbird.cli.options import confirm
from ovenbird.cli.plans import plan_data, plan_lines
from ovenbird.cli.releasing import conclude, told
from ovenbird.operations import rolling
from ovenbird.operations.opening import Installation, person
from ovenbird.operations.rolling import Wanted


def launch_again(
    installation: Installation, wanted: Wanted, *, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Show what it means to launch an old image again, and do it when it is confirmed."""
    seen = rolling.preview(installation, wanted)
    if as_json and dry_run:
        output.answer({"kind": "rollback", "cluster": str(wanted.cluster), **plan_data(seen.plan)})
        return
    head = f"Rollback on {wanted.cluster} in {wanted.environment}: its group is gone"
    lines = [f"{head}; {wanted.image.image_id} is launched again, by {wanted.source}"]
    click.echo("\n".join([*lines, *plan_lines(seen.plan)]), err=not dry_run)
    if dry_run:
        return
    confirm("Do it?", yes=yes)
    with told() as tell:
        result = rolling.start(installation, wanted, actor=person(), tell=tell)
    conclude(installation, result, as_json=as_json)
