"""`make demo`: git to production traffic and back, in the sandbox, under load."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from demo.report import Findings, show
from demo.story import Story
from ovenbird.domain.errors import OvenbirdError

ROOT = Path(__file__).resolve().parent.parent
REFS = "v1.0.0,v1.1.0,v1.2.0"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make demo ARGS=...", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON too")
    parser.add_argument("--keep", action="store_true", help="leave the sandbox up at the end")
    parser.add_argument("--app", metavar="URL_OR_DIR", help="an app of your own with ovenbird.yaml")
    parser.add_argument("--refs", default=REFS, help="its versions, in order: A,B,C")
    parser.add_argument("--rate", type=float, default=120.0, help="requests a second (100 or more)")
    parser.add_argument(
        "--version-header",
        default="X-Hello-Version",
        help="the header with which the app names its version on each answer",
    )
    return parser.parse_args()


@contextmanager
def state(*, keep: bool) -> Iterator[Path]:
    """Give the demo a home of its own; nothing of it outlives the demo unless *keep*."""
    home = Path(os.environ.get("OVENBIRD_HOME") or Path(tempfile.gettempdir()) / "ovenbird-demo")
    os.environ["OVENBIRD_HOME"] = str(home)
    try:
        yield home
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def main() -> int:
    """Run the story and tell what was found; 0 when nothing was lost and all went as it must."""
    chosen, console, begun = options(), Console(stderr=True), time.monotonic()
    findings = Findings()
    with state(keep=chosen.keep) as home:
        story = Story(home=home, chosen=chosen, console=console, findings=findings)
        try:
            story.tell()
        except OvenbirdError as error:
            console.print(f"[red]error:[/red] {error}\n{error.facts.get('stderr', '')}")
            console.print(f"hint: {error.hint}")
            return error.exit_status
        finally:
            findings.seconds = time.monotonic() - begun
        show(findings, Console())
        if chosen.json:
            chosen.json.write_text(json.dumps(findings.to_json(), indent=2) + "\n")
        wrong = story.wrong()
        for sentence in wrong:
            console.print(f"[red]{sentence}[/red]")
        if chosen.keep:
            console.print(f"The sandbox stays up: `export OVENBIRD_HOME={home}`")
            console.print("Look around with `.venv/bin/ovenbird cluster list`; end it with")
            console.print("`.venv/bin/ovenbird sandbox down`")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
