"""`make demo`: the main job as far as it goes today, in the sandbox.

    git ─▶ package ─▶ signed repository ─▶ bake (only the changed blocks) ─▶ share with production

for three versions of the example app (or an app of your own), and the first one baked
twice from scratch, which must give the same bits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from demo.report import Findings, show
from demo.way import Way
from ovenbird.domain.errors import CommandFailed, OvenbirdError
from ovenbird.sandbox.endpoint import running
from ovenbird.sandbox.places import cache_home

ROOT = Path(__file__).resolve().parent.parent
REFS = "v1.0.0,v1.1.0,v1.2.0"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make demo ARGS=...", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON too")
    parser.add_argument("--app", metavar="URL_OR_DIR", help="an app of your own with ovenbird.yaml")
    parser.add_argument("--refs", default=REFS, help="its versions, in order: A,B,C")
    return parser.parse_args()


def example(directory: Path) -> str:
    """Make the example app's git repository and return its directory."""
    script = ROOT / "examples/hello/make_repository.py"
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, script, directory], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandFailed(f"`{script.name}` failed", stderr=done.stderr[-2000:])
    return str(directory)


def tell(chosen: argparse.Namespace, home: Path, console: Console) -> Findings:
    """Go the whole way for each version and return what was measured."""
    begun, findings = time.monotonic(), Findings()
    app = chosen.app or example(home / "hello")
    with running(home, cache=cache_home()) as endpoint:
        way = Way(endpoint, home=home, app=app, console=console)
        findings.setup_s = time.monotonic() - begun
        for ref in [ref.strip() for ref in chosen.refs.split(",") if ref.strip()]:
            findings.releases.append(way.go(ref))
        findings.identical = way.again_from_scratch()
        findings.api_calls = way.api_calls()
    findings.seconds = time.monotonic() - begun
    return findings


def main() -> int:
    """Run the demo; 0 when every version became an image and the bits were the same."""
    chosen, console = options(), Console(stderr=True, highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="ovenbird-demo-") as home:
            findings = tell(chosen, Path(home), console)
    except OvenbirdError as error:
        console.print(str(error.facts.get("stderr", "")), markup=False)
        console.print(f"error: {error}\nhint: {error.hint}", markup=False)
        return error.exit_status
    show(findings, Console())
    if chosen.json:
        chosen.json.write_text(json.dumps(findings.to_json(), indent=2) + "\n")
    return 0 if findings.identical else 1


if __name__ == "__main__":
    sys.exit(main())
