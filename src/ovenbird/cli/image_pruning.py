"""`ovenbird image prune`: images that nothing uses go, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from ovenbird.cli import output
from ovenbird.cli.catalog_pages import several
from ovenbird.cli.options import change, confirm, opened
from ovenbird.domain.image_retention import ImageChoice, Step
from ovenbird.operations import image_retention

WORDS = {
    Step.REMOVE: "Removed with their snapshots",
    Step.DISABLE: "Disabled: nobody can launch them",
    Step.DEPRECATE: "Deprecated: they can still be launched",
    Step.RESTORE: "Restored",
}


@click.command()
@click.option("--app", help="Only images of this app.")
@click.option("--keep-last", type=click.IntRange(min=1), help="Newest images kept of each app.")
@click.option("--keep-days", type=click.FloatRange(min=1), help="What is younger stays.")
@change
def prune(
    *,
    app: str | None,
    keep_last: int | None,
    keep_days: float | None,
    as_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Let images go that nothing uses: deprecate, days later disable, later still remove.

    What a server group, an instance, a launch template, a parameter or a release under way
    needs stays, in all environments; then the newest images of each app and the young ones,
    as `retention.images` in the settings says, and what has the tag `ovenbird:keep`. What is
    used again while it goes is restored. Start it daily.

    Example: `ovenbird image prune --keep-last 5 --dry-run`
    """
    with opened() as installation:
        limits = image_retention.limits_of(
            installation.settings, keep_last=keep_last, keep_days=keep_days
        )
        choices = image_retention.plan_retirement(installation, limits, app=app)
        if not as_json:
            for line in _lines(choices, whole=dry_run):
                click.echo(line)
        goes = [one for one in choices if one.step is not Step.STAY]
        if goes and not dry_run:
            confirm(f"Change {several(len(goes), 'image')}?", yes=yes)
            choices = image_retention.retire(
                installation, choices, limits, app=app, progress=output.words
            )
        if as_json:
            output.answer({"images": [_data(choice) for choice in choices]})


def _lines(choices: Sequence[ImageChoice], *, whole: bool) -> Iterator[str]:
    """Say what changes, and what stays; the latter only by number unless *whole*."""
    counts = Counter(choice.step for choice in choices)
    for step, words in WORDS.items():
        if counts[step]:
            yield f"{words} ({counts[step]})"
            yield from (_line(choice) for choice in choices if choice.step is step)
    yield f"Stay ({counts[Step.STAY]})"
    if whole:
        yield from (_line(choice) for choice in choices if choice.step is Step.STAY)


def _line(choice: ImageChoice) -> str:
    image = choice.image
    return f"  {image.image_id}  {image.app} {image.version}: {choice.reason}"


def _data(choice: ImageChoice) -> dict[str, str]:
    image = choice.image
    return {
        "image_id": image.image_id,
        "name": image.name,
        "app": image.app,
        "version": image.version,
        "state": image.state,
        "step": choice.step.value,
        "reason": choice.reason,
    }
