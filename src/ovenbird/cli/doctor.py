"""`ovenbird doctor`: what is missing on this machine, and what to do."""

from __future__ import annotations

import json
import sys

import click

from ovenbird.domain.errors import InvalidRequest
from ovenbird.operations.doctor import Finding, examine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(*, as_json: bool) -> None:
    """Look for what builds and bakes need on this machine.

    Example: `ovenbird doctor`
    """
    findings = examine()
    if as_json:
        found = [{"what": f.what, "ok": f.ok, "hint": f.hint} for f in findings]
        click.echo(json.dumps(found, indent=2))
    else:
        for finding in findings:
            click.echo(_line(finding))
    if missing := [finding.what for finding in findings if not finding.ok]:
        sys.stdout.flush()
        raise InvalidRequest(
            f"Missing: {', '.join(missing)}", hint="Run `make setup`, or install them with apt"
        )


def _line(finding: Finding) -> str:
    mark = "ok     " if finding.ok else "missing"
    return f"{mark}  {finding.what}" + (f"  ({finding.hint})" if not finding.ok else "")
