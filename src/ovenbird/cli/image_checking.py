"""`ovenbird image verify | boot-check`: what an image comes from, and whether it boots."""

from __future__ import annotations

import click

from ovenbird.cli import output
from ovenbird.cli.options import opened, query
from ovenbird.domain.errors import OvenbirdError
from ovenbird.operations.image_booting import boot_image
from ovenbird.operations.image_verification import Chain, verify_image


@click.command()
@click.argument("image")
@click.option("--environment", help="As this environment's account sees it, with its tags.")
@click.option("--deep", is_flag=True, help="Read the disk again: its blocks and every file.")
@query
def verify(*, image: str, environment: str | None, deep: bool, as_json: bool) -> None:
    """Check the chain from an image to the commit that it comes from.

    IMAGE is an id, a unique beginning of it, a name, APP@VERSION, or the name of a server
    group. Each link is looked at anew: tags, the signed statement, the lists of files and
    packages, the boot check, the packages' records, the commit. The exit status is 1 when one
    does not hold.

    Example: `ovenbird image verify hello-prod-v012 --deep`
    """
    with opened() as installation:
        found = verify_image(
            installation, image, environment=environment, deep=deep, progress=output.words
        )
    if as_json:
        output.answer({**output.to_data(found), "broken": [link.name for link in found.broken]})
    else:
        click.echo(f"Image {found.image.image_id}: {found.image.name}")
        rows = ((link.name, link.standing, link.text) for link in found.links)
        output.table(("link", "is", "found"), rows)
    _refuse(found)


def _refuse(found: Chain) -> None:
    """End with status 1 when a link does not hold.

    Raises:
        OvenbirdError: One does not.
    """
    if found.broken:
        names = ", ".join(f"`{link.name}`" for link in found.broken)
        raise OvenbirdError(
            f"The chain of `{found.image.image_id}` is broken at {names}",
            hint="Bake and release the commit again, and look who changed it",
            image_id=found.image.image_id,
        )


@click.command("boot-check")
@click.argument("image")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="The app's port.")
@click.option("--path", default="/healthz", help="Of the app's health, with --port.")
@query
def boot_check(*, image: str, port: int, path: str, as_json: bool) -> None:
    """Boot an image once, whatever was known of it, and write down what came of it.

    IMAGE is an id, a unique beginning of it, a name, or APP@VERSION. No unit may fail, and with
    --port the app must answer. An image that is not fit is tagged so, and no bake returns it.

    Example: `ovenbird image boot-check hello@1.1.0 --port 80`
    """
    with opened() as installation:
        found = boot_image(installation, image, port=port, path=path, progress=output.words)
    if as_json:
        output.answer({"image_id": found.image_id, "name": found.name, "boot_check": "passed"})
        return
    click.echo(f"{found.image_id} has booted: {found.name}")
