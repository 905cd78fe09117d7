"""`ovenbird package`: build an app's packages from a commit, look into them, judge them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from ovenbird.cli import output
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.cli.package_files import inspect, lint, wanted_options
from ovenbird.domain.catalog import PackageFacts, RepositoryState
from ovenbird.domain.packages import Package
from ovenbird.operations import packages
from ovenbird.operations.opening import person


@click.group()
@settings_option
def package() -> None:
    """Build packages from a commit and its ovenbird.yaml, and look into them."""


@package.command()
@wanted_options
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("packages"),
    help="Directory that receives the packages and the build's log.",
)
@click.option("--sign", is_flag=True, help="Sign the packages with the repository's key.")
@click.option("--publish", is_flag=True, help="Sign, and publish to the repository.")
@click.option("--channel", default="", help="Publish to this channel; `candidate` by default.")
@query
def build(
    *, wanted: packages.Wanted, into: Path, sign: bool, publish: bool, channel: str, as_json: bool
) -> None:
    """Build the packages of one commit, and check them; publish them if that is asked for.

    The build runs in a clean checkout of the commit, never as root; the same commit gives
    the same bytes. A second time changes nothing.

    Example: `ovenbird package build --app ~/hello --ref v1.0.0`
    """
    if channel and not publish:
        raise click.UsageError("`--channel` says where to publish: add `--publish`")
    into = into.absolute()
    state = None
    with opened() as installation:
        if publish:
            built, state = packages.build_and_publish(
                installation,
                wanted,
                into=into,
                channel=channel,
                actor=person(),
                progress=output.words,
            )
        else:
            built = packages.build_packages(
                installation, wanted, into=into, progress=output.words, sign=sign
            )
    if as_json:
        output.answer(_data(built, state))
        return
    for one, facts in zip(built.packages, built.facts, strict=True):
        click.echo(_line(one, facts))


def _line(one: Package, facts: PackageFacts) -> str:
    signed = f", signed by {one.signed_by[-16:]}" if one.signed_by else ""
    found = "".join(
        f", {number} {level}{'' if number == 1 else 's'}"
        for level, number in sorted(Counter(one.level for one in facts.findings).items())
    )
    return f"{one.path}  {one.size_bytes} bytes  sha256 {one.digest_sha256}{signed}{found}"


def _data(built: packages.Built, state: RepositoryState | None) -> dict[str, object]:
    return {
        "packages": [
            {**output.to_data(one), "findings": output.to_data(facts.findings)}
            for one, facts in zip(built.packages, built.facts, strict=True)
        ],
        "source": output.to_data(built.source),
        "state": output.to_data(state),
    }


for command in (inspect, lint):
    package.add_command(command)
