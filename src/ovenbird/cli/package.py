"""`ovenbird package`: build an app's packages from a commit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from ovenbird.cli.package_files import inspect, lint
from ovenbird.operations.packages import build_packages


@click.group()
def package() -> None:
    """Build packages from a commit and its ovenbird.yaml."""


@package.command()
@click.option("--app", default=".", help="Git URL or directory; the current one by default.")
@click.option("--ref", default="HEAD", help="Branch, tag or commit.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("packages"),
    help="Directory that receives the packages and the build's log.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the packages as JSON.")
def build(*, app: str, ref: str, into: Path, as_json: bool) -> None:
    """Build the packages of one commit.

    The build runs in a clean checkout of the commit, never as root; the same commit gives
    the same bytes.

    Example: `ovenbird package build --app ~/hello --ref v1.0.0`
    """
    packages = build_packages(
        app, ref, into=into.absolute(), progress=lambda line: click.echo(line, err=True)
    )
    if as_json:
        click.echo(json.dumps([asdict(package) for package in packages], indent=2))
        return
    for built in packages:
        click.echo(f"{built.path}  {built.size_bytes} bytes  sha256 {built.digest_sha256}")


for command in (inspect, lint):
    package.add_command(command)
