"""A group whose commands are imported when they are asked for.

`ovenbird release list` imports neither boto nor the workflow engine nor the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group of commands that live in other modules.

    Args:
        places: Name of a command → ``module:attribute``.
    """

    places: Mapping[str, str] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of their places, those of this module last."""
        return [*self.places, *(n for n in super().list_commands(ctx) if n not in self.places)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.places[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
