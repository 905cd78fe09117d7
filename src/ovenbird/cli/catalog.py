"""`ovenbird catalog`: which packages there are, what is in them, where each came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.catalog_pages import comparison_lines, file_line, package_lines
from ovenbird.cli.lazy import LazyGroup
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.package_terms import Found, Match
from ovenbird.domain.packages import PackageFormat
from ovenbird.operations import catalog, catalog_sync, package_comparison

SEARCH_LIMIT = 50
LISTED = ("package", "version", "format", "arch", "commit", "ref", "by", "published", "state")

format_option = click.option(
    "--format",
    "format_",
    type=click.Choice([format_.value for format_ in PackageFormat]),
    callback=lambda _context, _option, value: PackageFormat(value) if value else None,
    help="Only the package of this format.",
)


class _Group(LazyGroup):
    places = {  # noqa: RUF012 - a constant
        "verify": "ovenbird.cli.retention:verify",
        "prune": "ovenbird.cli.retention:prune",
    }


@click.group("catalog", cls=_Group)
@settings_option
def group() -> None:
    """See which packages there are, what is in them, where they come from and where they run."""


@group.command("list")
@click.argument("name", required=False)
@click.option("--channel", help="Only what this channel of the repository has now.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@query
def list_(*, name: str | None, channel: str | None, limit: int | None, as_json: bool) -> None:
    """Show the packages, newest first; NAME is a package or an app.

    Example: `ovenbird catalog list hello --channel release --limit 10`
    """
    with opened() as installation:
        found = catalog.list_catalog(installation, name, channel=channel, limit=limit)
    if as_json:
        output.answer([entry_data(entry) for entry in found])
        return
    output.table(
        LISTED,
        (_row(entry) for entry in found),
    )


@group.command()
@click.argument("name")
@click.argument("version", default="")
@format_option
@click.option("--files", "part", flag_value="files", help="Print its files and nothing else.")
@click.option("--sbom", "part", flag_value="sbom", help="Print its bill of materials.")
@click.option("--log", "part", flag_value="log", help="Print what its build said.")
@query
def show(
    *, name: str, version: str, format_: PackageFormat | None, part: str | None, as_json: bool
) -> None:
    """Show where a package came from, what is in it, and what runs where.

    VERSION may be a commit; without it the newest version is shown.

    Example: `ovenbird catalog show hello 1.1.0`
    """
    with opened() as installation:
        if part:
            entries = catalog.find_entries(installation, name, version, format_=format_)
            _show_part(entries, part, as_json=as_json)
            return
        found = catalog.trace(installation, name, version, format_=format_)
    if as_json:
        output.answer([_data(one) for one in found])
        return
    click.echo("\n\n".join("\n".join(package_lines(one)) for one in found))


@group.command()
@click.argument("text")
@click.option(
    "--limit", type=click.IntRange(min=1), default=SEARCH_LIMIT, help="At most so many packages."
)
@query
def search(*, text: str, limit: int, as_json: bool) -> None:
    """Find packages, newest first, and say what matched.

    TEXT is a part of a package's or an app's name, the beginning of a version or a commit,
    the path of a file, the name of a dependency or of a component in the bill of materials,
    or the code of a check's finding. With `*` or `?` in it, it is a pattern.

    Example: `ovenbird catalog search '/opt/hello/*.toml'`
    """
    with opened() as installation:
        found = catalog.search_catalog(installation, text)
    if as_json:
        output.answer([output.to_data(one) for one in found[:limit]])
    else:
        output.table(
            ("package", "version", "format", "arch", "published", "state", "matches"),
            (_found_row(one) for one in found[:limit]),
        )
    if len(found) > limit:
        output.words(f"{limit} of {len(found)} packages; `--limit` shows more")


@group.command()
@click.argument("name")
@click.argument("old")
@click.argument("new")
@format_option
@query
def diff(*, name: str, old: str, new: str, format_: PackageFormat | None, as_json: bool) -> None:
    """Show what differs between two versions of a package, and the commits between.

    OLD and NEW are versions, or commits.

    Example: `ovenbird catalog diff hello 1.0.0 1.1.0`
    """
    with opened() as installation:
        found = package_comparison.compare(installation, name, old, new, format_=format_)
    if as_json:
        output.answer(_comparison_data(found))
        return
    click.echo("\n".join(comparison_lines(found)))


def entry_data(entry: CatalogEntry) -> dict[str, Any]:
    """Return an entry for ``--json``."""
    data: dict[str, Any] = output.to_data(entry)
    return data


@group.command()
@query
def sync(*, as_json: bool) -> None:
    """Take into the records what other machines published, as at the end of CI runs.

    Prints what is new here; nothing in the repository is changed.

    Example: `ovenbird catalog sync`
    """
    with opened() as installation:
        new = catalog_sync.sync(installation)
    if as_json:
        output.answer([entry_data(entry) for entry in new])
        return
    output.table(LISTED, map(_row, new))


def _row(entry: CatalogEntry) -> tuple[str, ...]:
    package = entry.package
    return (
        package.name,
        package.version,
        package.format.value,
        package.architecture,
        entry.source.short_commit,
        entry.source.ref,
        entry.published_by,
        output.at(entry.published_at),
        _state(entry),
    )


def _state(entry: CatalogEntry) -> str:
    return "withdrawn" if entry.withdrawn_at else f"{entry.channel}-{entry.state_number}"


def _found_row(found: Found) -> tuple[str, ...]:
    entry, package = found.entry, found.entry.package
    return (
        package.name,
        package.version,
        package.format.value,
        package.architecture,
        output.at(entry.published_at),
        _state(entry),
        "; ".join(map(_match, found.matches)),
    )


def _match(match: Match) -> str:
    more = f" and {match.count - 1} more" if match.count > 1 else ""
    return f"{match.kind} {match.detail}{more}"


def _data(found: catalog.Provenance) -> dict[str, Any]:
    images = [
        {"image_id": one.image.image_id, "name": one.image.name, "runs": output.to_data(one.runs)}
        for one in found.images
    ]
    return {
        **entry_data(found.entry),
        "publications": output.to_data(found.publications),
        "images": images,
        "images_not_known": found.unasked or None,
    }


def _show_part(entries: Sequence[CatalogEntry], part: str, *, as_json: bool) -> None:
    if part == "files":
        _show_files(entries, as_json=as_json)
    elif part == "log":
        _show_log(_only(entries), as_json=as_json)
    else:
        _show_sbom(_only(entries), as_json=as_json)


def _show_log(entry: CatalogEntry, *, as_json: bool) -> None:
    text = catalog.build_log(entry)
    if as_json:
        output.answer({"path": entry.facts.log_path, "text": text})
    else:
        click.echo(text, nl=False)


def _show_sbom(entry: CatalogEntry, *, as_json: bool) -> None:
    if not entry.facts.sbom:
        raise NotFound(f"No bill of materials of `{entry.key}` was recorded")
    if as_json:
        output.answer(json.loads(entry.facts.sbom))
    else:
        click.echo(entry.facts.sbom)


def _show_files(entries: Sequence[CatalogEntry], *, as_json: bool) -> None:
    if as_json:
        output.answer([file for entry in entries for file in entry.facts.files])
        return
    for entry in entries:
        if len(entries) > 1:
            click.echo(f"{entry.key}:")
        for file in entry.facts.files:
            click.echo(file_line(file))


def _only(entries: Sequence[CatalogEntry]) -> CatalogEntry:
    if len(entries) > 1:
        known = ", ".join(f"`{entry.key}`" for entry in entries)
        raise InvalidRequest(f"Several packages are meant: {known}", hint="Add `--format`")
    return entries[0]


def _comparison_data(found: package_comparison.Comparison) -> dict[str, Any]:
    data: dict[str, Any] = output.to_data(found)
    for side in ("before", "after"):
        del data[side]["facts"]
    return data
