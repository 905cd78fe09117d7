"""The story that the demo tells, in the words of the CLI.

sandbox up -> load on -> release A, B, C -> cluster rollback -> load off -> sandbox down
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.report import Findings
from ovenbird.domain.errors import CommandFailed

ROOT = Path(__file__).resolve().parent.parent
CLI = Path(sys.executable).with_name("ovenbird")
LONGEST_S = 1500.0  # the whole demo; nothing of it runs longer
ROLLED_BACK = 6  # exit status of a release that the judge refused


class Story:
    """One run of the demo."""

    def __init__(
        self, *, home: Path, chosen: argparse.Namespace, console: Console, findings: Findings
    ) -> None:
        self.home, self.chosen, self.console, self.findings = home, chosen, console, findings
        self.start = time.time()
        self.refs = [ref.strip() for ref in chosen.refs.split(",") if ref.strip()]

    def tell(self) -> None:
        """Run everything, and stop what was started whatever happens."""
        with self.sandbox() as url:
            app = self.chosen.app or self.example()
            self.start = time.time()
            with self.load(url):
                for ref in self.refs:
                    self.release(app, ref)
                self.rollback()
                time.sleep(4)  # noqa: TID251 - the load shows who answers after the rollback
            status = json.loads(self.cli("sandbox", "status", "--json").stdout)
            self.findings.api_calls = status["api_calls"]

    def wrong(self) -> list[str]:
        """Return what did not go as it must; only the example's outcomes are known."""
        found = []
        if lost := self.findings.count("lost"):
            found.append(f"{lost} requests were lost")
        if not self.chosen.app and self.chosen.refs == "v1.0.0,v1.1.0,v1.2.0":
            outcomes = [release["phase"] for release in self.findings.releases]
            if outcomes != ["promoted", "promoted", "rolled_back"]:
                found.append(f"the releases ended as {outcomes}")
            last = max((row[0] for row in self.findings.answers), default=0)
            tail = {version for second, version, _, _ in self.findings.answers if second > last - 2}
            if tail != {"1.0.0"}:
                found.append(f"after the rollback {sorted(tail)} answered")
        return found

    @contextmanager
    def sandbox(self) -> Iterator[str]:
        """Start the sandbox and yield production's address."""
        begun = time.monotonic()
        self.say("Starting the sandbox: a local AWS that boots")
        self.cli("sandbox", "down", ok=(0, 3))
        try:
            self.cli("sandbox", "up")
            self.findings.setup_s = time.monotonic() - begun
            status = json.loads(self.cli("sandbox", "status", "--json").stdout)
            yield status["urls"]["prod"]
        finally:
            if not self.chosen.keep:
                self.cli("sandbox", "down", ok=(0, 1, 3))

    def example(self) -> str:
        """Make the example app's git repository."""
        directory = self.home / "hello"
        script = ROOT / "examples/hello/make_repository.py"
        done = subprocess.run(  # noqa: S603
            [sys.executable, script, directory], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CommandFailed(f"`{script}` failed", stderr=done.stderr[-2000:])
        return str(directory)

    @contextmanager
    def load(self, url: str) -> Iterator[None]:
        """Send a steady load for as long as the block runs, and keep its tally."""
        out = self.home / "load.json"
        options = ["--url", url, "--rate", str(self.chosen.rate), "--seconds", str(LONGEST_S)]
        options += ["--header", self.chosen.version_header, "--out", str(out)]
        options += ["--start", str(self.start)]
        self.say(f"Sending {self.chosen.rate:g} requests a second to production at {url}")
        argv = [sys.executable, "-m", "demo.load", *options]
        with subprocess.Popen(argv, cwd=ROOT) as process:  # noqa: S603
            try:
                yield
            finally:
                process.terminate()
                process.wait(60)
                if out.exists():
                    tally = json.loads(out.read_text())
                    self.findings.answers = [tuple(row) for row in tally["answers"]]
                    self.findings.losses = tally["losses"]

    def release(self, app: str, ref: str) -> None:
        """Release one version and keep what the CLI says of it."""
        self.say(f"Releasing {ref}")
        self.findings.marks.append((int(time.time() - self.start), f"release {ref}"))
        begun = time.monotonic()
        argv = ("release", "start", "--app", app, "--ref", ref, "--yes", "--json")
        done = self.cli(*argv, ok=(0, ROLLED_BACK))
        found: dict[str, Any] = json.loads(done.stdout)
        found["seconds"] = time.monotonic() - begun
        self.findings.releases.append(found)

    def rollback(self) -> None:
        """Return production to the version that served before."""
        cluster = f"{self.findings.releases[0]['app']}-prod"
        self.say(f"Rolling {cluster} back by command")
        self.findings.marks.append((int(time.time() - self.start), "rollback by command"))
        begun = time.monotonic()
        self.cli("cluster", "rollback", cluster, "--yes")
        self.findings.rollback_s = time.monotonic() - begun

    def cli(self, *words: str, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run one `ovenbird` command; its narration goes to the terminal."""
        done = subprocess.run(  # noqa: S603
            [CLI, *words], stdout=subprocess.PIPE, text=True, timeout=LONGEST_S, check=False
        )
        if done.returncode not in ok:
            raise CommandFailed(
                f"`ovenbird {' '.join(words)}` exited with status {done.returncode}",
                hint="The lines above say why",
                stderr=done.stdout[-2000:],
            )
        return done

    def say(self, sentence: str) -> None:
        """Tell the person what comes now."""
        self.console.print(f"[bold]== {sentence}[/bold]")
