"""`ovenbird image outdated | rebake`: images on old base images, and new ones for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.options import change, confirm, is_interactive, opened, query
from ovenbird.cli.releasing import told
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.releases import Goal
from ovenbird.operations import outdated as looking
from ovenbird.operations import rebaking
from ovenbird.operations.opening import Installation, person
from ovenbird.operations.outdated import Standing
from ovenbird.operations.rebaking import Rebake, Rebaked


@click.command()
@click.option("--app", help="Only images of this app.")
@query
def outdated(*, app: str | None, as_json: bool) -> None:
    """Show images whose base image is no longer the one that the settings mean.

    Looked at is what serves in each environment, and the newest image of each other app.

    Example: `ovenbird image outdated`
    """
    with opened() as installation:
        found = looking.list_standings(installation, app)
    if as_json:
        output.answer([_standing_data(one) for one in found])
        return
    rows = [(one.app, one.version, one.image_id, _where(one), _state(one)) for one in found]
    output.table(("app", "version", "image", "serves in", "base image"), rows)
    for command in dict.fromkeys(one.command for one in found if one.command):
        output.words(f"  {command}")


@click.command()
@click.option("--app", "apps", multiple=True, help="This app, outdated or not; may be repeated.")
@click.option("--outdated", "is_outdated", is_flag=True, help="All apps that are outdated.")
@click.option("--scheduled", is_flag=True, help="As the settings say, when it is due; for timers.")
@change
def rebake(
    *,
    apps: Sequence[str],
    is_outdated: bool,
    scheduled: bool,
    as_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Release what serves again, on the base images that the settings mean now.

    The commit stays the same and goes through all that a release goes through, canaries and
    approvals too. Of an app that serves nowhere only an image is baked. With `--scheduled` it
    does nothing before it is due, and asks nobody.

    Example: `ovenbird image rebake --outdated --dry-run`
    """
    if (bool(apps), is_outdated, scheduled).count(True) != 1:
        raise InvalidRequest(
            "It is not said what is baked anew",
            hint="Add exactly one of `--app`, `--outdated` and `--scheduled`",
        )
    with opened() as installation:
        if scheduled:
            found = _due(installation, dry_run=dry_run)
        else:
            found = rebaking.plan_rebakes(installation, apps=apps, is_forced=bool(apps))
        if not as_json or not dry_run:
            for line in _lines(found):
                click.echo(line, err=not dry_run)
        done: list[Rebaked] = []
        if not dry_run and any(not one.refused for one in found):
            confirm("Release them?", yes=yes or scheduled or not is_interactive())
            with told(several=True) as tell:
                done = list(rebaking.carry_out(installation, found, actor=person(), tell=tell))
    _answer(found, done, as_json=as_json)


def _due(installation: Installation, *, dry_run: bool) -> tuple[Rebake, ...]:
    """Return what a scheduled look finds; nothing when it is not due."""
    due_at = rebaking.due_at(installation)
    if due_at is None:
        raise InvalidRequest(
            "The settings schedule nothing", hint="Add `rebake: {every_h: 24}` to them"
        )
    if due_at > installation.ports.clock.now():
        output.words(f"Not due before {output.at(due_at)}")
        return ()
    settings = installation.settings.rebake
    wanted = set(settings.apps or ()) if settings else set()
    found = tuple(
        one for one in rebaking.plan_rebakes(installation) if not wanted or one.app in wanted
    )
    if not dry_run:
        rebaking.note_begun(installation, found)
    return found


def _answer(found: Sequence[Rebake], done: Sequence[Rebaked], *, as_json: bool) -> None:
    """Say what became of each, and raise what ended the first that failed."""
    if as_json:
        output.answer({"rebakes": [output.to_data(one) for one in found], "done": _done(done)})
    for one in done:
        if one.result is not None and one.result.waits_for and not as_json:
            output.words(f"`{one.result.subject}` waits for approval of `{one.result.waits_for}`")
    for one in done:
        if one.error is not None:
            raise one.error


def _done(done: Sequence[Rebaked]) -> list[dict[str, Any]]:
    return [
        {
            "app": one.rebake.app,
            "release_id": one.result.subject if one.result else "",
            "waits_for": one.result.waits_for if one.result else "",
            "error": str(one.error) if one.error else "",
        }
        for one in done
    ]


def _lines(found: Sequence[Rebake]) -> Iterator[str]:
    if not found:
        yield "Nothing is to be baked anew"
    for one in found:
        how = "Release" if one.goal is Goal.ROLLOUT else "Bake"
        if one.refused:
            yield f"Not {one.app}: {one.refused}"
        else:
            yield f"{how} {one.app} at commit {one.commit[:7]}: {one.reason}"


def _state(one: Standing) -> str:
    if one.unknown:
        return f"not known: {one.unknown}"
    newer = f"; {one.newer_version} was published" if one.newer_version else ""
    return ("; ".join(one.reasons) or f"{one.base_name} is up to date") + newer


def _where(one: Standing) -> str:
    return ", ".join(one.serves_in) or "-"


def _standing_data(one: Standing) -> dict[str, Any]:
    return {**output.to_data(one), "is_outdated": one.is_outdated, "command": one.command}
