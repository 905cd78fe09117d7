"""Measurements against peers: `python -m bench [NAME] [OPTIONS]`, see `NAMES`.

Without a name all are run, with what they do by default.
"""

from __future__ import annotations

import runpy
import sys

NAMES = (
    "packaging",
    "repositories",
    "upload",
    "baking",
    "judging",
    "never_dark",
    "rollouts",
    "retries",
)


def main() -> None:
    """Run what was asked for."""
    words = sys.argv[1:]
    names, rest = (words[:1], words[1:]) if words and words[0] in NAMES else (NAMES, words)
    if len(names) > 1 and rest:
        sys.exit(f"error: `{rest[0]}`: options follow one of {', '.join(NAMES)}")
    for name in names:
        sys.argv = [name, *rest]
        runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
