"""`ovenbird release`: what is asked about releases; commands that change are in `releasing`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.lazy import LazyGroup
from ovenbird.cli.narration import log_line
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.domain.releases import Release, Report, Rollout
from ovenbird.operations import releases
from ovenbird.system.clock import SystemClock

CHANGES = "ovenbird.cli.releasing"


class _Group(LazyGroup):
    places = {  # noqa: RUF012 - a constant
        name: f"{CHANGES}:{name}" for name in ("start", "resume", "approve", "reject", "abort")
    }


@click.group("release", cls=_Group)
@settings_option
def group() -> None:
    """Take a commit through all its environments, and see how it goes.

    RELEASE is a release's id, a unique beginning of it, or `latest`.
    """


@group.command("list")
@click.option("--app", help="Only releases of this app.")
@query
def list_(*, app: str | None, as_json: bool) -> None:
    """Show the releases, newest first.

    Example: `ovenbird release list --app hello`
    """
    with opened() as installation:
        found = releases.list_releases(installation.store, app)
    if as_json:
        output.answer([release_data(release) for release in found])
        return
    output.table(("release", "version", "phase", "commit", "by", "started", "took"), _rows(found))


@group.command()
@click.argument("release", default=releases.LATEST)
@query
def show(*, release: str, as_json: bool) -> None:
    """Show one release: stages, rollouts with their actions, verdicts, and what went wrong.

    Example: `ovenbird release show latest`
    """
    with opened() as installation:
        report = releases.get_report(installation.store, release)
        waits_for = releases.waits_for(installation.store, report.release.release_id)
    if as_json:
        output.answer(report_data(report, waits_for=waits_for))
        return
    for line in _lines(report, waits_for):
        click.echo(line)


@group.command()
@click.argument("release", default=releases.LATEST)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until it has ended.")
@query
def logs(*, release: str, follow: bool, as_json: bool) -> None:
    """Show what happened, event by event; RELEASE may also be another change of a cluster.

    With --json and --follow each line is a JSON document of its own.

    Example: `ovenbird release logs --follow hello-3f2a91c-1`
    """
    with opened() as installation:
        store = installation.store
        subject = releases.subject_of(store, release)
        if not follow:
            events = releases.list_events(store, subject)
            if as_json:
                output.answer(events)
            else:
                click.echo("\n".join(map(log_line, events)))
            return
        for event in releases.follow(store, subject, clock=SystemClock()):
            click.echo(output.line(event) if as_json else log_line(event))


def release_data(release: Release) -> dict[str, Any]:
    """Return a release for ``--json``."""
    ended = release.ended_at
    seconds = (ended - release.started_at).total_seconds() if ended else None
    return {**output.to_data(release), "seconds": seconds}


def report_data(report: Report, *, waits_for: str) -> dict[str, Any]:
    """Return all that is known of a release for ``--json``."""
    return {
        **release_data(report.release),
        "waits_for": waits_for,
        "stages": output.to_data(report.stages),
        "rollouts": output.to_data(report.rollouts),
    }


def _rows(found: tuple[Release, ...]) -> Iterator[tuple[str, ...]]:
    for release in found:
        yield (
            release.release_id,
            release.version or "-",
            output.spoken(release.phase),
            release.commit[:7],
            release.actor,
            output.at(release.started_at),
            output.lasted(release.started_at, release.ended_at),
        )


def _lines(report: Report, waits_for: str) -> Iterator[str]:
    release = report.release
    yield f"Release {release.release_id}: {output.spoken(release.phase)}"
    if waits_for:
        command = f"ovenbird release approve {release.release_id}"
        yield f"  waits    for approval of {waits_for}: {command}"
    yield f"  app      {release.app} {release.version} ({release.ref}, commit {release.commit[:7]})"
    yield (
        f"  started  {output.at(release.started_at)} by {release.actor},"
        f" took {output.lasted(release.started_at, release.ended_at)}"
    )
    if release.image_id:
        blocks = f"{release.blocks_uploaded} of {release.blocks_total} blocks uploaded"
        yield f"  image    {release.image_id} ({blocks})"
    if release.error:
        yield f"  error    {release.error}"
        yield from [f"  hint     {release.hint}"] if release.hint else []
    yield from ["", "Stages"]
    yield from (f"  {stage.name:<14} {stage.seconds:8.1f} s" for stage in report.stages)
    for rollout in report.rollouts:
        yield from ["", *rollout_lines(rollout)]


def rollout_lines(rollout: Rollout) -> Iterator[str]:
    """Say what a rollout did, and what the judge said."""
    title = f"Rollout on {rollout.cluster} in {rollout.environment}"
    took = output.lasted(rollout.started_at, rollout.ended_at)
    yield f"{title}: {rollout.state}, took {took}"
    yield from (f"  {done.seconds:7.1f} s  {done.text}" for done in rollout.actions)
    for verdict in rollout.verdicts:
        yield (
            f"  verdict at {verdict.step_percent} %: {output.spoken(verdict.outcome)},"
            f" {verdict.canary_requests:g} requests in {verdict.observed_s:g} s"
        )
        yield from (f"      {reason}" for reason in verdict.reasons)
