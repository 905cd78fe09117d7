"""`ovenbird sandbox`: a local AWS that boots.

Nothing of moto or boto is imported here: `status` answers at once.
"""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from ovenbird.cli.app import invoke
from ovenbird.domain.errors import NotFound
from ovenbird.sandbox import lifecycle
from ovenbird.sandbox.places import default_places
from ovenbird.sandbox.settings_file import client_environment
from ovenbird.system.clock import SystemClock

FOLLOW_EVERY_S = 0.3


@click.group("sandbox")
def group() -> None:
    """Run a local AWS that boots real machines; no AWS account is needed."""


@group.command()
def up() -> None:
    """Start the sandbox, or say that it is up; safe to repeat.

    Example: `ovenbird sandbox up`
    """
    running, started = lifecycle.up(default_places(), _say)
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
    """Show what there is in the sandbox.

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
        click.echo(json.dumps(found, indent=2))
        return
    for line in _lines(found):
        click.echo(line)


@group.command()
@click.option("--json", "as_json", is_flag=True, help="Print the variables as JSON.")
def env(*, as_json: bool) -> None:
    """Print shell lines that point AWS clients and Ovenbird at the sandbox.

    Example: `eval "$(ovenbird sandbox env)"; aws ec2 describe-images --owners self`
    """
    places = default_places()
    found = client_environment(places, lifecycle.get(places).endpoint_url)
    if as_json:
        click.echo(json.dumps(found, indent=2))
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
    clock = SystemClock()
    with path.open(errors="replace") as file:
        for line in file.readlines()[-lines:] if lines > 0 else []:
            click.echo(line, nl=False)
        file.seek(0, 2)
        while follow:
            click.echo(file.read(), nl=False)
            clock.sleep(FOLLOW_EVERY_S)


def _lines(found: dict[str, Any]) -> list[str]:
    """Return the status for people."""
    lines = [
        f"endpoint   {found['endpoint_url']} (process {found['pid']})",
        f"settings   {found['settings']}",
        f"API calls  {found['api_calls']}",
    ]
    lines += [f"{name:<9}  {url}" for name, url in found["urls"].items()]
    lines += [
        f"balancer   {b['account_id']} {b['name']} {b['dns_name']}" for b in found["load_balancers"]
    ]
    lines += [
        f"machine    {m['account_id']} {m['instance_id']} {m['state']} {m['private_ip']}"
        for m in found["machines"]
    ]
    return lines


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    sys.exit(invoke(group, sys.argv[1:]))
