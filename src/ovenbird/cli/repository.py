"""`ovenbird repository`: the package repository, how machines use it, its making and repair."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ovenbird.cli import output
from ovenbird.cli.options import change, confirm, opened, query, settings_option
from ovenbird.operations import repository
from ovenbird.operations.repository import ChannelView, RepositoryChange, RepositoryView

NOT_MADE = "not made yet: the first publish makes it"
channel_option = click.option("--channel", default="", help="Only this channel.")


@click.group("repository")
@settings_option
def group() -> None:
    """See the package repository and the lines with which machines use it; make it, repair it."""


@group.command()
@channel_option
@query
def show(*, channel: str, as_json: bool) -> None:
    """Show the channels, who signs them, and the lines for apt and dnf.

    Example: `ovenbird repository show --channel release`
    """
    with opened() as installation:
        found = repository.get_repository(installation, channel=channel)
    if as_json:
        output.answer(found)
        return
    click.echo("\n".join(_head(found)))
    if found.channels:
        click.echo()
        output.table(("channel", "state", "packages", ""), map(_row, found.channels))
    for line in _lines(found):
        click.echo(line)


@group.command()
@change
def create(*, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Make the bucket or the directory of the settings, unless it is there.

    A bucket is made closed to the public and encrypted.

    Example: `ovenbird repository create --yes`
    """
    with opened() as installation:
        proposed = repository.plan_create(installation)
        _change(proposed, nothing="It is there already", as_json=as_json, dry_run=dry_run, yes=yes)


@group.command()
@channel_option
@change
def repair(*, channel: str, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Do what killed publishers left undone; the next publish would do it, too.

    Example: `ovenbird repository repair --channel candidate`
    """
    with opened() as installation:
        proposed = repository.plan_repair(installation, channel=channel)
        _change(proposed, nothing="Nothing is published", as_json=as_json, dry_run=dry_run, yes=yes)


@group.command()
@channel_option
@change
def rebuild(*, channel: str, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Make a new state of each channel, with its packages, its index files made anew.

    It is signed by the keys that sign now, as a rotation of keys needs it; and it is whole where
    index files of the newest state are lost or damaged.

    Example: `ovenbird repository rebuild --channel release`
    """
    with opened() as installation:
        proposed = repository.plan_rebuild(installation, channel=channel)
        _change(proposed, nothing="Nothing is published", as_json=as_json, dry_run=dry_run, yes=yes)


def _change(
    proposed: RepositoryChange, *, nothing: str, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Show what would be done; then do it, if it is confirmed."""
    if dry_run and as_json:
        output.answer({"actions": proposed.words})
        return
    for sentence in proposed.words:
        click.echo(f"- {sentence}", err=not dry_run)
    if not proposed.words:
        output.words(nothing)
    if dry_run:
        return
    if proposed.words:
        confirm("Do it?", yes=yes)
    there = proposed.act()
    if as_json:
        output.answer({"there": there})
    else:
        click.echo("\n".join(there))


def _head(found: RepositoryView) -> Iterator[str]:
    yield f"Repository {found.name}"
    yield f"  place    {found.url}"
    if found.access.url not in {"", found.url}:
        yield f"  address  {found.access.url}"
    yield f"  signed   by {', '.join(found.keys) or f'a key that is {NOT_MADE}'}"


def _row(channel: ChannelView) -> tuple[object, ...]:
    counted = ", ".join(f"{number} {format_}" for format_, number in channel.packages.items())
    left = ", ".join(map(str, channel.unserved))
    words = f"not served yet: {left}; `ovenbird repository repair`" if left else ""
    return channel.name, channel.number or "-", counted or "-", words


def _lines(found: RepositoryView) -> Iterator[str]:
    """Yield the lines that machines need, and where they go."""
    if not found.channels:
        yield "\nNothing is published yet: `ovenbird package build --publish`"
        return
    if not found.access.url:
        yield f"\n{repository.NO_ADDRESS}"
        return
    if not found.access.is_here:
        yield "\nOn each machine, the public keys:"
        yield f"  apt  {found.access.apt_key}, from `ovenbird key export`"
        yield f"  dnf  {found.access.yum_key}, from `ovenbird key export --armor`"
    for one in found.channels:
        name = f"ovenbird-{found.name}-{one.name}"
        if one.apt:
            yield f"\n/etc/apt/sources.list.d/{name}.list\n  {one.apt}"
        if one.yum:
            text = one.yum.replace("\n", "\n  ")
            yield f"\n/etc/yum.repos.d/{name}.repo\n  {text}"
