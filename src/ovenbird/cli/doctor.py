"""`ovenbird doctor`: what is missing on this machine, and what to do."""

from __future__ import annotations

import click

from ovenbird.cli import output
from ovenbird.cli.options import opened, query
from ovenbird.domain.errors import InvalidRequest
from ovenbird.operations.doctor import Finding, examine


@click.command()
@click.option("--disks", is_flag=True, help="Read the kept disks of base images, too.")
@query
def doctor(*, disks: bool, as_json: bool) -> None:
    """Look for what is needed on this machine, and whether the settings lead anywhere.

    Example: `ovenbird doctor`
    """
    with opened() as installation:
        findings = examine(installation, disks=disks)
    if as_json:
        output.answer(findings)
    else:
        for finding in findings:
            click.echo(_line(finding))
    if missing := [finding.what for finding in findings if finding.needed and not finding.ok]:
        raise InvalidRequest(
            f"Missing: {', '.join(missing)}",
            hint="The lines above say what to do; `make setup` installs what Debian has",
        )


def _line(finding: Finding) -> str:
    mark = "ok" if finding.ok else "missing" if finding.needed else "not yet"
    return f"{mark:<7}  {finding.what}" + (f"  ({finding.hint})" if not finding.ok else "")
