"""`ovenbird rollout`: what is asked about rollouts; commands that change are in `rolling`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ovenbird.cli import output
from ovenbird.cli.lazy import LazyGroup
from ovenbird.cli.narration import narrating
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.cli.release import rollout_lines
from ovenbird.domain.releases import Rollout
from ovenbird.operations import driving, releases
from ovenbird.operations.opening import Installation
from ovenbird.system.clock import SystemClock

CHANGES = "ovenbird.cli.rolling"
NAMES = ("plan", "start", "pause", "continue", "promote", "abort")


class _Group(LazyGroup):
    places = {  # noqa: RUF012 - a constant
        name: f"{CHANGES}:{'continue_' if name == 'continue' else name}" for name in NAMES
    }


@click.group("rollout", cls=_Group)
@settings_option
def group() -> None:
    """Bring an image that is there onto a cluster, and drive rollouts by hand.

    ROLLOUT is a rollout's id, a unique beginning of it, the id of its release, the name of
    its cluster as `hello-prod` for the newest there, or `latest`.
    """


@group.command("list")
@click.option("--cluster", help="Only rollouts of this cluster.")
@click.option("--environment", help="Only rollouts in this environment.")
@query
def list_(*, cluster: str | None, environment: str | None, as_json: bool) -> None:
    """Show the rollouts, newest first, and who waits for a turn.

    Example: `ovenbird rollout list --cluster hello-prod`
    """
    with opened() as installation:
        store = installation.store
        found = driving.list_rollouts(store, cluster=cluster, environment=environment)
        queued = () if cluster or environment else releases.list_queued(store)
    if as_json:
        releases_queued = [{"release_id": one.release_id, "app": one.app} for one in queued]
        output.answer({"rollouts": output.to_data(found), "releases_queued": releases_queued})
        return
    head = ("rollout", "cluster", "environment", "version", "state", "by", "started", "took")
    output.table(head, _rows(found))
    for release in queued:
        output.words(f"Release `{release.release_id}` waits for its turn on {release.app}")


@group.command()
@click.argument("rollout", default=releases.LATEST)
@query
def show(*, rollout: str, as_json: bool) -> None:
    """Show one rollout: its actions, its verdicts, what it waits for, and what went wrong.

    Example: `ovenbird rollout show hello-prod`
    """
    with opened() as installation:
        found = driving.find(installation.store, rollout)
    if as_json:
        output.answer(driven_data(found))
        return
    for line in _lines(found):
        click.echo(line)


@group.command()
@click.argument("subject", metavar="[ROLLOUT|RELEASE]", default=releases.LATEST)
@query
def watch(*, subject: str, as_json: bool) -> None:
    """Follow a rollout or a release, whoever works on it, until it has ended.

    The exit status says how it ended: 0 promoted, 6 taken back, 130 ended by a person. With
    --json each line is a JSON document of its own.

    Example: `ovenbird rollout watch hello-prod`
    """
    with opened() as installation:
        store = installation.store
        meant = _subject(installation, subject)
        with narrating() as tell:
            for event in releases.follow(store, meant, clock=SystemClock()):
                if as_json:
                    click.echo(output.line(event))
                else:
                    tell(event)
        ending = releases.ending_of(store, meant)
        if not as_json:
            click.echo(f"{meant}  {output.spoken(ending.phase)}")
        if error := releases.error_of(ending):
            raise error


def driven_data(found: driving.Driven) -> dict[str, object]:
    """Return a rollout for ``--json``."""
    wait = output.to_data(found.wait)
    return {**output.to_data(found.rollout), "subject": found.subject, "waits": wait}


def _subject(installation: Installation, text: str) -> str:
    """Return the release or the rollout that is meant; a cluster means its newest rollout."""
    store = installation.store
    if any(text in {one.rollout_id, one.cluster} for one in driving.list_rollouts(store)):
        return driving.find(store, text).subject
    return releases.subject_of(store, text)


def _rows(found: tuple[Rollout, ...]) -> Iterator[tuple[str, ...]]:
    for one in found:
        yield (
            one.rollout_id,
            one.cluster,
            one.environment,
            one.version or "-",
            one.state,
            one.actor,
            output.at(one.started_at),
            output.lasted(one.started_at, one.ended_at),
        )


def _lines(found: driving.Driven) -> Iterator[str]:
    one = found.rollout
    yield f"Rollout {one.rollout_id}: {one.state}"
    yield from [f"  release  {one.release_id}"] if one.release_id else []
    if found.wait:
        yield f"  waits    {found.wait.why}"
        yield f"           {found.wait.command} {one.rollout_id}"
    yield f"  image    {one.image_id}, version {one.version}"
    yield f"  started  {output.at(one.started_at)} by {one.actor}"
    if one.error:
        yield f"  error    {one.error}"
        yield from [f"  hint     {one.hint}"] if one.hint else []
    yield from ["", *rollout_lines(one)]
