"""The program."""

from __future__ import annotations

import sys

from ovenbird.cli.app import invoke, program


def main() -> int:
    """Run the command line and return the process's exit status."""
    return invoke(program, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
