"""`ovenbird image`: the images that bakes made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.lazy import LazyGroup
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.domain.images import (
    BLOCKS_TOTAL_TAG,
    BLOCKS_UPLOADED_TAG,
    COMMIT_TAG,
    RELEASE_TAG,
    Image,
)
from ovenbird.operations import images


class _Group(LazyGroup):
    places = {  # noqa: RUF012 - a constant
        "bake": "ovenbird.cli.image_baking:bake",
        "prune": "ovenbird.cli.image_pruning:prune",
        "outdated": "ovenbird.cli.image_rebaking:outdated",
        "rebake": "ovenbird.cli.image_rebaking:rebake",
        "boot-check": "ovenbird.cli.image_checking:boot_check",
        "diff": "ovenbird.cli.image_comparing:diff",
        "verify": "ovenbird.cli.image_checking:verify",
        "share": "ovenbird.cli.image_sharing:share",
        "unshare": "ovenbird.cli.image_sharing:unshare",
    }


@click.group("image", cls=_Group)
@settings_option
def group() -> None:
    """Bake images, see what is in them and where they run, and let old ones go."""


@group.command("list")
@click.option("--app", help="Only images of this app.")
@click.option("--environment", help="As this environment's account sees them.")
@query
def list_(*, app: str | None, environment: str | None, as_json: bool) -> None:
    """Show the baked images, newest first.

    Example: `ovenbird image list --app hello`
    """
    with opened() as installation:
        found = images.list_images(installation, app=app, environment=environment)
    if as_json:
        output.answer([_data(image) for image in found])
        return
    output.table(
        ("image", "app", "version", "commit", "uploaded", "made"), (_row(image) for image in found)
    )


@group.command()
@click.argument("image")
@query
def show(*, image: str, as_json: bool) -> None:
    """Show one baked image: its inputs, its blocks, and which server groups run it.

    IMAGE is an id, a unique beginning of it, a name, or APP@VERSION.

    Example: `ovenbird image show ami-0c2f9e1b7d3a45860`
    """
    with opened() as installation:
        view = images.get_image(installation, image)
    if as_json:
        output.answer({**_data(view.image), "runs": output.to_data(view.runs)})
        return
    for line in _lines(view):
        click.echo(line)


def _row(image: Image) -> tuple[str, ...]:
    return (
        image.image_id,
        image.app,
        image.version,
        image.tags.get(COMMIT_TAG, "")[:7] or "-",
        _blocks(image),
        output.at(image.created_at),
    )


def _blocks(image: Image) -> str:
    uploaded, total = image.tags.get(BLOCKS_UPLOADED_TAG), image.tags.get(BLOCKS_TOTAL_TAG)
    return f"{uploaded} of {total} blocks" if uploaded and total else "-"


def _data(image: Image) -> dict[str, Any]:
    return {**output.to_data(image), "app": image.app, "version": image.version}


def _lines(view: images.ImageView) -> Iterator[str]:
    image = view.image
    yield f"Image {image.image_id}: {image.name}"
    yield f"  app      {image.app} {image.version}, commit {image.tags.get(COMMIT_TAG, '-')[:7]}"
    yield f"  made     {output.at(image.created_at)} by release {image.tags.get(RELEASE_TAG, '-')}"
    yield f"  disk     {image.size_gib} GiB, {_blocks(image)} uploaded, {image.root_snapshot_id}"
    yield f"  boots    {image.architecture} {image.boot_mode}".rstrip()
    yield from uses_lines(view.runs)
    yield from ["", "Tags"]
    yield from (f"  {key:<26} {value}" for key, value in sorted(image.tags.items()))


def uses_lines(runs: tuple[images.Use, ...]) -> Iterator[str]:
    """Say which server groups run an image."""
    if not runs:
        yield "  runs     nowhere"
    for use in runs:
        share = f"{use.weight} % of the traffic" if use.weight else "rests"
        yield (
            f"  runs     {use.server_group} in {use.environment}: {share},"
            f" {use.instances} instance{'s' if use.instances != 1 else ''}"
        )
