"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

HEAD = """\
# Commands

Written by `make docs` from the commands themselves; a test fails when it is stale.

{about}

An error as JSON is `{{"error": CLASS, "message": ..., "hint": ..., "facts": {{...}}}}`.
`release logs --follow --json` prints one document on each line.
Errors of any kind also come as two lines on stderr, `error:` and `hint:`.
`--settings FILE` stands anywhere after `ovenbird`, but not with `package` and `sandbox`.
"""
EVERYWHERE = {"help", "settings", "version"}


def page(program: click.Group) -> str:
    """Return the whole page, in Markdown."""
    context = click.Context(program, info_name="ovenbird")
    about = _paragraphs(program.help or "")
    parts = [HEAD.format(about="\n\n".join(about[1:]))]
    for command, path in leaves(program, context):
        if isinstance(command, click.Group):
            parts.append(f"## `{path}`\n\n" + "\n\n".join(_paragraphs(command.help or "")) + "\n")
        else:
            parts.append("\n".join(_command(command, path)))
    return "\n".join(parts)


def leaves(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, str]]:
    """Yield every command with its whole name; groups come before what is in them."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        path = f"{context.command_path} {name}"
        yield command, path
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            yield from leaves(command, inner)


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from [f"{'#' * len(path.split())} `{path}`", "", f"    {path} {pieces}".rstrip(), ""]
    for paragraph in _paragraphs(command.help or ""):
        yield from [paragraph, ""]
    options = [one for one in command.params if isinstance(one, click.Option)]
    for option in options:
        if option.name not in EVERYWHERE:
            yield f"- {_names(option)}: {option.help or ''}"
    if any(option.name not in EVERYWHERE for option in options):
        yield ""


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return names if option.is_flag else f"{names} {option.make_metavar(click.Context(_NOBODY))}"


_NOBODY = click.Command("nobody")


def _paragraphs(text: str) -> list[str]:
    """Return a help text's paragraphs, each on one line."""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
