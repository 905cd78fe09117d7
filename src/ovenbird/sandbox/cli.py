"""`ovenbird sandbox`: a local AWS that boots.

Nothing of moto or boto is imported here: `status` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.app import invoke
from ovenbird.domain.errors import NotFound
from ovenbird.sandbox import lifecycle
from ovenbird.sandbox.places import default_places
from ovenbird.sandbox.settings_file import client_environment
from ovenbird.system.clock import SystemClock

FOLLOW_EVERY_S = 0.3
Listing = tuple[Sequence[str], Sequence[Sequence[object]]]


@click.group("sandbox")
def group() -> None:
    """Run a local AWS that boots real machines; no AWS account is needed."""


@group.command()
@click.option(
    "--faults", is_flag=True, help="Throttle some calls, and let new snapshots be unknown at first."
)
@click.option(
    "--throttle", is_flag=True, help="Refuse calls that come faster than AWS's published limits."
)
@click.option(
    "--machineless", is_flag=True, help="For load tests: instances run and are healthy, unbooted."
)
def up(**switches: bool) -> None:
    """Start the sandbox, or say that it is up; safe to repeat.

    Example: `ovenbird sandbox up`
    """
    running, started = lifecycle.up(
        default_places(), _say, switches=[name for name, chosen in switches.items() if chosen]
    )
    _say("The sandbox is up" if started else "The sandbox is already up")
    click.echo(f"settings  {running.settings}")
    click.echo(f"endpoint  {running.endpoint_url}")
    for name, url in running.urls:
        click.echo(f"{name:<8}  {url}")


@group.command()
def down() -> None:
    """Stop the sandbox and remove all it made, but its log and the product's state.

    Example: `ovenbird sandbox down`
    """
    was_up = lifecycle.down(default_places(), _say)
    _say("The sandbox is down" if was_up else "The sandbox was not running")


@group.command()
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(*, as_json: bool) -> None:
    """Show machines, load balancers with their healthy targets, memory and API calls.

    Example: `ovenbird sandbox status --json`
    """
    running = lifecycle.get(default_places())
    found = {
        "pid": running.pid,
        "endpoint_url": running.endpoint_url,
        "settings": str(running.settings),
        "urls": dict(running.urls),
        **lifecycle.status(running),
    }
    if as_json:
        output.answer(found)
        return
    for line in _lines(found):
        click.echo(line)
    for header, rows in (_balancers(found), _machines(found)):
        if rows:
            click.echo()
            output.table(header, rows)


@group.command()
@click.option("--json", "as_json", is_flag=True, help="Print the variables as JSON.")
def env(*, as_json: bool) -> None:
    """Print shell lines that point AWS clients and Ovenbird at the sandbox.

    Example: `eval "$(ovenbird sandbox env)"; aws ec2 describe-images --owners self`
    """
    places = default_places()
    found = client_environment(places, lifecycle.get(places).endpoint_url)
    if as_json:
        output.answer(found)
        return
    for name, value in found.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@group.command()
@click.option("--lines", default=50, show_default=True, help="How many of the last lines.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
def logs(*, lines: int, follow: bool) -> None:
    """Show the server's log; it stays after `down`.

    Example: `ovenbird sandbox logs --follow`
    """
    path = default_places().log
    if not path.exists():
        raise NotFound("The sandbox has no log", hint="Run `ovenbird sandbox up`")
    data = path.read_bytes()
    for line in data.splitlines(keepends=True)[-lines:] if lines > 0 else []:
        click.echo(line, nl=False)
    clock, at = SystemClock(), len(data)
    while follow:
        clock.sleep(FOLLOW_EVERY_S)
        text, at = _written_since(path, at)
        click.echo(text, nl=False)


def _lines(found: dict[str, Any]) -> list[str]:
    """Return what there is once, for people."""
    machines_mib = sum(machine["memory_mib"] for machine in found["machines"])
    return [
        f"endpoint   {found['endpoint_url']} (process {found['pid']})",
        f"settings   {found['settings']}",
        f"up         {timedelta(seconds=int(found['up_s']))}",
        f"memory     {found['memory_mib']:.0f} MiB, machines {machines_mib:.0f} MiB",
        f"API calls  {found['api_calls']}",
        *(f"{name:<9}  {url}" for name, url in found["urls"].items()),
    ]


def _balancers(found: dict[str, Any]) -> Listing:
    """Return a line for each target group that takes traffic, or could."""
    rows = [
        (b["account_id"], b["name"], group["name"], f"{group['healthy']}/{group['total']}")
        for b in found["load_balancers"]
        for group in b["target_groups"]
    ]
    return ("account", "balancer", "target group", "healthy"), rows


def _machines(found: dict[str, Any]) -> Listing:
    """Return a line for each machine, those of a server group together."""
    machines = sorted(
        found["machines"], key=lambda m: (m["account_id"], m["server_group"] or "", m["private_ip"])
    )
    rows = [
        (
            m["account_id"],
            m["server_group"] or "-",
            m["instance_id"],
            m["private_ip"],
            m["state"],
            f"{m['memory_mib']:.0f} MiB",
        )
        for m in machines
    ]
    return ("account", "server group", "machine", "address", "state", "memory"), rows


def _written_since(path: Path, at: int) -> tuple[bytes, int]:
    """Return what was written from a place on, and the next place; 0 in a log begun anew."""
    try:
        with path.open("rb") as file:
            file.seek(at if file.seek(0, os.SEEK_END) >= at else 0)
            return file.read(), file.tell()
    except FileNotFoundError:  # between two logs
        return b"", 0


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    sys.exit(invoke(group, sys.argv[1:]))
