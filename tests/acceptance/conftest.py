"""The demo, run once and kept: its sandbox is what all acceptance tests look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLI = Path(sys.executable).with_name("ovenbird")
LONGEST_S = 280

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the demo left.

    Args:
        findings: What it wrote as JSON.
        said: What it printed.
        app: The example's git repository.
        cluster: Production's, as it was when the demo had ended.
    """

    home: Path
    status: int
    findings: dict[str, Any]
    said: str
    app: Path
    cluster: dict[str, Any]

    def run(self, *words: str, status: int = 0, **variables: str) -> Done:
        """Run `ovenbird`, and hold its exit status to what is expected."""
        done = self.try_run(*words, **variables)
        assert done.returncode == status, f"{words} exited with {done.returncode}:\n{done.stderr}"
        return done

    def try_run(self, *words: str, **variables: str) -> Done:
        """Run `ovenbird`, however it ends."""
        return subprocess.run(  # noqa: S603 - our own program
            [CLI, *words],
            env={**os.environ, "OVENBIRD_HOME": str(self.home), **variables},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )

    def ask(self, *words: str) -> Any:
        """Return what a query prints as JSON."""
        return json.loads(self.run(*words, "--json").stdout)


@pytest.fixture(scope="package")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    home = tmp_path_factory.mktemp("acceptance")
    environment = {**os.environ, "OVENBIRD_HOME": str(home)}
    written = home / "findings.json"
    down = [str(CLI), "sandbox", "down"]
    try:
        done = subprocess.run(  # noqa: S603 - our own demo
            [sys.executable, "-m", "demo", "--keep", "--json", written],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S,
            check=False,
        )  # fmt: skip
        assert written.exists(), done.stdout + done.stderr
        found = Kept(
            home=home,
            status=done.returncode,
            findings=json.loads(written.read_text()),
            said=done.stdout + done.stderr,
            app=home / "hello",
            cluster={},
        )
        yield replace(found, cluster=found.ask("cluster", "show", "hello-prod"))
    finally:
        subprocess.run(down, env=environment, timeout=60, check=True)  # noqa: S603


@pytest.fixture
def load(kept: Kept) -> Iterator[None]:
    """Send 100 requests a second to production, for six minutes at most."""
    url = kept.ask("sandbox", "status")["urls"]["prod"]
    argv = [sys.executable, "-m", "demo.load", "--url", url, "--rate", "100", "--seconds", "360"]
    argv += ["--header", "X-Hello-Version", "--start", str(time.time())]
    out = kept.home / "load.json"
    with subprocess.Popen([*argv, "--out", str(out)], cwd=ROOT) as process:  # noqa: S603
        yield
        process.terminate()
    lost = [row for row in json.loads(out.read_text())["answers"] if row[2] == "lost"]
    assert lost == []


Branch = Callable[[str, dict[str, tuple[str, str]]], str]


@pytest.fixture
def branch(kept: Kept) -> Branch:
    """Make a branch of the example on which some files differ; return its name."""

    def make(name: str, changes: dict[str, tuple[str, str]]) -> str:
        _git(kept.app, "checkout", "--quiet", "-B", name, "v1.1.0")
        for path, (old, new) in changes.items():
            text = (kept.app / path).read_text()
            assert old in text
            (kept.app / path).write_text(text.replace(old, new))
        _git(kept.app, "commit", "--quiet", "--all", "--message", name)
        _git(kept.app, "checkout", "--quiet", "main")
        return name

    return make


def _git(directory: Path, *words: str) -> None:
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["/usr/bin/git", "-C", directory, *who, *words], check=True)  # noqa: S603
