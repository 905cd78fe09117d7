"""`ovenbird catalog`: which packages there are, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.image import uses_lines
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.domain.catalog import CatalogEntry
from ovenbird.operations import catalog


@click.group("catalog")
@settings_option
def group() -> None:
    """See which packages there are, from which commit, by whom, and where they run."""


@group.command("list")
@click.argument("name", required=False)
@query
def list_(*, name: str | None, as_json: bool) -> None:
    """Show the packages, newest first; NAME is a package or an app.

    Example: `ovenbird catalog list hello`
    """
    with opened() as installation:
        found = catalog.list_catalog(installation, name)
    if as_json:
        output.answer([entry_data(entry) for entry in found])
        return
    output.table(
        ("package", "version", "format", "commit", "ref", "by", "published", "state"),
        (_row(entry) for entry in found),
    )


@group.command()
@click.argument("name")
@click.argument("version", default="")
@query
def show(*, name: str, version: str, as_json: bool) -> None:
    """Show where a package came from, and what runs where; VERSION may be a commit.

    Example: `ovenbird catalog show hello 1.1.0`
    """
    with opened() as installation:
        found = catalog.trace(installation, name, version)
    if as_json:
        output.answer([_data(one) for one in found])
        return
    click.echo("\n\n".join("\n".join(_lines(one)) for one in found))


def entry_data(entry: CatalogEntry) -> dict[str, Any]:
    """Return an entry for ``--json``."""
    data: dict[str, Any] = output.to_data(entry)
    return data


def _row(entry: CatalogEntry) -> tuple[str, ...]:
    package = entry.package
    return (
        package.name,
        package.version,
        package.format.value,
        entry.source.short_commit,
        entry.source.ref,
        entry.published_by,
        output.at(entry.published_at),
        f"{entry.channel}-{entry.state_number}",
    )


def _data(found: catalog.Provenance) -> dict[str, Any]:
    images = [
        {"image_id": one.image.image_id, "name": one.image.name, "runs": output.to_data(one.runs)}
        for one in found.images
    ]
    return {**entry_data(found.entry), "images": images}


def _lines(found: catalog.Provenance) -> Iterator[str]:
    entry, package = found.entry, found.entry.package
    yield f"Package {package.name} {package.version} ({package.format.value}) of app {package.app}"
    yield f"  source   {entry.source.url} at {entry.source.commit} ({entry.source.ref})"
    yield (
        f"  channel  {entry.channel}-{entry.state_number}, published"
        f" {output.at(entry.published_at)} by {entry.published_by}"
    )
    yield f"  sha256   {package.digest_sha256} ({package.size_bytes} bytes)"
    if not found.images:
        yield "  image    none"
    for one in found.images:
        yield f"  image    {one.image.image_id} {one.image.name}"
        yield from uses_lines(one.runs)
