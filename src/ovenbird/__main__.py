"""The program: the product's commands, and the sandbox's beside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from ovenbird.cli import app


class Program(app.Program):
    """All commands."""

    places = {**app.NOUNS, "sandbox": "ovenbird.sandbox.cli:group"}  # noqa: RUF012 - a constant


program: click.Group = Program(
    name="ovenbird", callback=None, help=app.program.help, params=list(app.program.params)
)


def main(argv: Sequence[str] | None = None, *, obj: object = None) -> int:
    """Run the command line and return the process's exit status.

    Args:
        argv: Words after the program's name; the process's own by default.
        obj: Makes an installation from a settings file; tests give their own.
    """
    status = app.invoke(program, sys.argv[1:] if argv is None else argv, obj=obj)
    if _has_left_threads():
        # Interrupted work goes on in another process: here its threads end with this one.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _has_left_threads() -> bool:
    """Tell whether workflows still run in this process; without the engine none do."""
    work = sys.modules.get("ovenbird.operations.work")
    return work is not None and bool(work.has_left_threads())


if __name__ == "__main__":
    sys.exit(main())
