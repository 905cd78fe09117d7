"""`ovenbird init`: write an app's first ovenbird.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from ovenbird.cli import output
from ovenbird.cli.options import query
from ovenbird.operations.starting import first_manifest, write_manifest


@click.command("init")
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an ovenbird.yaml that is there.")
@click.option("--dry-run", is_flag=True, help="Print the manifest, and write nothing.")
@query
def init(*, directory: Path, force: bool, dry_run: bool, as_json: bool) -> None:
    """Look at an app's directory and write an ovenbird.yaml for it.

    Known are Python (pyproject.toml, setup.py, requirements.txt), Node (package.json), Go,
    Maven and Gradle, a Makefile, and a static site; a Procfile and a Dockerfile are read for
    the start command and the port. Nothing of the app is run.

    DIRECTORY is the current one by default.

    Example: `ovenbird init ~/hello`
    """
    manifest = first_manifest(directory.absolute())
    if not dry_run:
        write_manifest(manifest, replacing=force)
    if as_json:
        output.answer({**output.to_data(manifest), "written": not dry_run})
        return
    if dry_run:
        click.echo(manifest.text, nl=False)
        return
    click.echo(manifest.path)
    output.words(f"App `{manifest.app}`, built as `{manifest.kind}`, by {manifest.found}")
    for note in manifest.notes:
        output.words(f"Look at this: {note}")
    output.words("Next: read it, commit it, then `ovenbird package build`")
