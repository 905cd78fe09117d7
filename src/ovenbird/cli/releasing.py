"""`ovenbird release start | resume | approve | reject | abort`, told live as they happen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import click

from ovenbird.cli import output
from ovenbird.cli.narration import Narrator, narrating
from ovenbird.cli.options import (
    change,
    confirm,
    dry_run_option,
    is_interactive,
    opened,
    query,
    turn_options,
)
from ovenbird.cli.plans import plan_data, plan_lines
from ovenbird.cli.release import report_data
from ovenbird.domain import preflight
from ovenbird.domain.errors import Aborted, NotFound
from ovenbird.domain.releases import Phase
from ovenbird.operations import preparing, releases, releasing
from ovenbird.operations.opening import Installation, person
from ovenbird.operations.queueing import Turn
from ovenbird.operations.work import Result


def values_of(given: tuple[str, ...]) -> dict[str, str]:
    """Return ``NAME=VALUE`` words as values; the last one of a name counts.

    Raises:
        BadParameter: One has no `=`.
    """
    for word in given:
        if "=" not in word:
            raise click.BadParameter(f"`{word}` is not NAME=VALUE", param_hint="--set")
    return {name: value for name, _, value in (word.partition("=") for word in given)}


@click.command()
@click.option("--app", default=".", help="Git URL or directory; the current one by default.")
@click.option("--ref", default="HEAD", help="Branch, tag or commit.")
@click.option("--fresh", is_flag=True, help="Bake anew, also if the same was baked before.")
@click.option(
    "--confirm",
    "confirmed",
    multiple=True,
    metavar="CLUSTER",
    help="Destroy all other server groups of this cluster afterwards, as `highlander` says.",
)
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value of the machines' environment, over the manifest's; may be given again.",
)
@turn_options
@change
def start(  # noqa: PLR0913 - click's options, by name
    *,
    app: str,
    ref: str,
    fresh: bool,
    confirmed: tuple[str, ...],
    values: tuple[str, ...],
    queue: bool,
    supersede: bool,
    as_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Release a commit: build, publish, bake, share, and roll out in each environment.

    It runs here, until it has ended or waits for an approval. What dead processes left
    unfinished goes on first. On a terminal the plan is shown and confirmed.

    What is --set is in /etc/ovenbird/environment on the machines of this release, and can be
    read by whoever sees the release: secrets do not belong there.

    Example: `ovenbird release start --app ~/hello --ref v1.1.0 --set LOG_LEVEL=debug`
    """
    with opened() as installation:
        prepared = preparing.prepare(
            installation, app=app, ref=ref, confirmed=confirmed, values=values_of(values)
        )
        asks = is_interactive() and not yes
        if dry_run or asks:
            seen = preparing.preview(installation, prepared, fresh=fresh)
            if dry_run and as_json:
                output.answer(_preview_data(prepared, seen))
            else:
                _show(prepared, seen, err=not dry_run)
            for planned in seen.rollouts:
                preflight.refuse(planned.environment, planned.problems)
        if dry_run:
            return
        confirm("Release it?", yes=not asks)
        with told() as tell:
            result = releasing.start(
                installation, prepared, fresh=fresh, actor=person(), tell=tell,
                turn=Turn(queue=queue, supersede=supersede),
            )  # fmt: skip
        conclude(installation, result, as_json=as_json)


@click.command()
@click.argument("release", default="")
@dry_run_option
@query
def resume(*, release: str, dry_run: bool, as_json: bool) -> None:
    """Go on with releases and changes whose process died; with all of them, or with one.

    Example: `ovenbird release resume`
    """
    with opened() as installation:
        if dry_run:
            _would(releasing.left_unfinished(installation, release), as_json=as_json)
            return
        if release:
            subject = releases.subject_of(installation.store, release)
            with told() as tell:
                result = releasing.resume(installation, subject, tell)
            conclude(installation, result, as_json=as_json)
            return
        with told(several=True) as tell:
            results = releasing.resume_all(installation, tell)
        if as_json:
            output.answer([_data(installation, result) for result in results])
        for result in results:
            _say(installation, result, as_json=as_json)
        if not results:
            output.words("Nothing was left unfinished")
        for error in (result.error for result in results if result.error):
            raise error


@click.command()
@click.argument("release", default=releases.LATEST)
@click.option("--environment", default="", help="Which approval; the awaited one by default.")
@dry_run_option
@query
def approve(*, release: str, environment: str, dry_run: bool, as_json: bool) -> None:
    """Let a release that waits go on; it runs here, unless another process works on it.

    Example: `ovenbird release approve hello-3f2a91c-1`
    """
    with opened() as installation:
        release_id = releases.release_id_of(installation.store, release)
        if dry_run:
            found = releasing.awaited(installation.store, release_id, environment)
            _would({release_id: f"would roll out in `{found}`"}, as_json=as_json)
            return
        with told() as tell:
            result = releasing.approve(
                installation, release_id, environment=environment, actor=person(), tell=tell
            )
        conclude(installation, result, as_json=as_json)


@click.command()
@click.argument("release", default=releases.LATEST)
@click.option("--environment", default="", help="Which approval; the awaited one by default.")
@dry_run_option
@query
def reject(*, release: str, environment: str, dry_run: bool, as_json: bool) -> None:
    """End a release that waits for an approval; what was rolled out before stays.

    Example: `ovenbird release reject hello-3f2a91c-1`
    """
    with opened() as installation:
        release_id = releases.release_id_of(installation.store, release)
        if dry_run:
            found = releasing.awaited(installation.store, release_id, environment)
            _would({release_id: f"would be rejected before `{found}`"}, as_json=as_json)
            return
        with told() as tell:
            result = releasing.reject(
                installation, release_id, environment=environment, actor=person(), tell=tell
            )
        conclude(installation, result, as_json=as_json, wanted=Phase.REJECTED)


@click.command()
@click.argument("release", default=releases.LATEST)
@dry_run_option
@query
def abort(*, release: str, dry_run: bool, as_json: bool) -> None:
    """End a release, or another change, at its next step; a canary is taken back first.

    Example: `ovenbird release abort hello-3f2a91c-1`
    """
    with opened() as installation:
        subject = releases.subject_of(installation.store, release)
        if dry_run:
            releasing.refuse_ended(installation.store, subject)
            going = releasing.going_rollouts(installation.store, subject)
            back = f", and {', '.join(f'`{one}`' for one in going)} taken back" if going else ""
            _would({subject: f"would be ended{back}"}, as_json=as_json)
            return
        with told() as tell:
            result = releasing.abort(installation, subject, actor=person(), tell=tell)
        conclude(installation, result, as_json=as_json, wanted=Phase.ABORTED)


def _would(found: Mapping[str, str], *, as_json: bool) -> None:
    """Say what would be done."""
    if as_json:
        output.answer(found)
        return
    for subject, text in found.items():
        click.echo(f"`{subject}` {text}")
    if not found:
        output.words("Nothing is left unfinished")


@contextmanager
def told(*, several: bool = False) -> Iterator[Narrator]:
    """Tell what happens; an interrupted person learns that nothing is lost."""
    try:
        with narrating(several=several) as narrator:
            yield narrator
    except KeyboardInterrupt as error:
        raise Aborted(
            "Interrupted: what was under way is not lost, it only stands still",
            hint="Go on with `ovenbird release resume`, or end it with `ovenbird release abort`",
        ) from error


def conclude(
    installation: Installation,
    result: Result,
    *,
    as_json: bool,
    wanted: Phase | None = None,
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Say where something stands, and raise what ended it unless that was wanted.

    Args:
        installation: Where it is.
        result: Of the command that worked on it.
        as_json: Print one document.
        wanted: The phase that a person asked for, however it came.
        more: Further facts for the document.
    """
    if as_json:
        output.answer({**_data(installation, result), **more})
    _say(installation, result, as_json=as_json)
    if result.error is not None and releases.phase_of(installation.store, result.subject) != wanted:
        raise result.error


def _say(installation: Installation, result: Result, *, as_json: bool) -> None:
    subject = result.subject
    if result.elsewhere:
        output.words(f"Another process works on `{subject}`; follow it with")
        output.words(f"  ovenbird release logs --follow {subject}")
    if wait := result.wait:
        what = f"approval of `{wait.environment}`" if wait.environment else "a person"
        output.words(f"`{subject}` waits for {what}; go on with")
        output.words(f"  {wait.command} {wait.rollout_id or subject}")
        if wait.rollout_id:
            output.words("Until then no process looks at its alarms, unless one goes on with it")
    if not as_json:
        click.echo(_summary(installation, subject))


def _summary(installation: Installation, subject: str) -> str:
    """Return one line about a release, or about another change."""
    try:
        release = installation.store.get_release(subject)
    except NotFound:
        return f"{subject}  {output.spoken(releases.phase_of(installation.store, subject))}"
    words = (subject, output.spoken(release.phase), release.version, release.image_id)
    return "  ".join(word for word in words if word)


def _data(installation: Installation, result: Result) -> dict[str, object]:
    store = installation.store
    try:
        found = report_data(store.get_report(result.subject), waits_for=result.waits_for)
    except NotFound:
        found = output.to_data(store.get_rollout(result.subject))
    return {**found, "elsewhere": result.elsewhere}


def _show(prepared: preparing.Prepared, seen: preparing.Preview, *, err: bool) -> None:
    source, spec = prepared.source, prepared.spec
    image = f"{seen.image_id}, unless its inputs have changed" if seen.image_id else "to be baked"
    what = f"{spec.app} {prepared.version} ({source.ref}, commit {source.short_commit})"
    lines = [
        f"Release {seen.release_id}: {what} of {source.url}",
        f"  build    {spec.build.command or 'nothing to build'}",
        f"  bake     {spec.package.name} {prepared.version} on {spec.image.base}: image {image}",
    ]
    for planned in seen.rollouts:
        approval = ", after an approval" if planned.approval else ""
        lines += ["", f"Rollout on {planned.cluster} in {planned.environment}{approval}"]
        lines += [f"  changed by hand: {one.text}" for one in planned.by_hand]
        lines += plan_lines(planned.plan)
        lines += [f"  cannot work: {problem}" for problem in planned.problems]
    click.echo("\n".join(lines), err=err)


def _preview_data(prepared: preparing.Prepared, seen: preparing.Preview) -> dict[str, object]:
    return {
        "release_id": seen.release_id,
        "app": prepared.spec.app,
        "version": prepared.version,
        "source": output.to_data(prepared.source),
        "image_id": seen.image_id,
        "rollouts": [
            {
                "environment": planned.environment,
                "cluster": planned.cluster,
                "approval": planned.approval,
                "changed_by_hand": output.to_data(planned.by_hand),
                "problems": output.to_data(planned.problems),
                **plan_data(planned.plan),
            }
            for planned in seen.rollouts
        ],
    }
