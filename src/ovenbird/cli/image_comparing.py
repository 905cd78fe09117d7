"""`ovenbird image diff`: two images side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from ovenbird.cli import output
from ovenbird.cli.options import opened, query
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.image_differences import by_directory
from ovenbird.domain.images import Image
from ovenbird.domain.package_differences import Change, FileChange
from ovenbird.operations.image_comparison import ImageComparison, compare_images

SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "~"}
MOST_FILES = 40  # more of them are counted by directory
DIGEST_CHARS = 12


@click.command()
@click.argument("first")
@click.argument("second", required=False)
@click.option("--base", is_flag=True, help="Compare FIRST with the base image it was made from.")
@click.option("--text", is_flag=True, help="Show what changed in files below /etc, line by line.")
@click.option("--files", "all_files", is_flag=True, help="List every file, however many.")
@query
def diff(
    *, first: str, second: str | None, base: bool, text: bool, all_files: bool, as_json: bool
) -> None:
    """Show what is different between two images: packages, files, blocks, facts.

    FIRST and SECOND are ids, unique beginnings of them, names, or APP@VERSION. Images with
    evidence are compared without reading their disks.

    Example: `ovenbird image diff hello@1.0.0 hello@1.1.0 --text`
    """
    if base == (second is not None):
        raise InvalidRequest("A second image is needed, or `--base`", hint="Name one of the two")
    with opened() as installation:
        found = compare_images(installation, first, second, texts=text, progress=output.words)
    if as_json:
        output.answer(found)
        return
    for line in _lines(found):
        click.echo(line)
    if packages := found.differences.packages:
        click.echo("\nPackages")
        rows = ((SIGNS[p.change], p.name, p.before or "-", p.after or "-", p.direction)
                for p in packages)  # fmt: skip
        output.table(("", "package", "before", "after", ""), rows)
    _tell_files(found.differences.files, whole=all_files)
    for line in _texts(found):
        click.echo(line)


def _lines(found: ImageComparison) -> Iterator[str]:
    different = found.differences
    yield f"- {_titled(found.before)}"
    yield f"+ {_titled(found.after)}"
    blocks = "not known" if different.blocks is None else str(different.blocks)
    counts = f"{len(different.files)} files, {len(different.packages)} packages"
    yield f"  {blocks} blocks of 512 KiB differ, {counts}"
    for one in different.settings:
        yield f"~ {one.name}: {one.before or 'none'} -> {one.after or 'none'}"


def _titled(image: Image) -> str:
    return f"{image.image_id} {image.name}"


def _tell_files(files: tuple[FileChange, ...], *, whole: bool) -> None:
    if not files:
        return
    click.echo("\nFiles")
    if whole or len(files) <= MOST_FILES:
        for line in map(_file, files):
            click.echo(line)
        return
    output.table(("directory", "added", "removed", "changed"), by_directory(files))
    click.echo("`--files` lists them all")


def _file(one: FileChange) -> str:
    aspects = (
        f"{name} {_short(name, old)} -> {_short(name, new)}"
        for name, (old, new) in one.aspects.items()
    )
    return f"{SIGNS[one.change]} {one.path}  {', '.join(aspects)}".rstrip()


def _short(name: str, value: str) -> str:
    return (value[:DIGEST_CHARS] if name == "digest" else value) or "none"


def _texts(found: ImageComparison) -> Iterable[str]:
    for one in found.differences.texts:
        yield from ["", f"{SIGNS[one.change]} {one.name}"]
        yield from (f"    {line}" for line in one.unified)
