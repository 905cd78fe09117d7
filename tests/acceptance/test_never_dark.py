"""Worker, machine and load balancer are killed while a rollout runs: nobody notices the rollout.

What fails is what was killed itself: requests to a dead machine until its health check finds
it, and those that a dead proxy had in hand. All other requests are answered.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Branch, Kept

pytestmark = [pytest.mark.acceptance, pytest.mark.chaos, pytest.mark.timeout(600)]

FOUND_WITHIN_S = 14  # two checks in a row, each after 5 s with 2 s to answer
PROXY_BACK_WITHIN_S = 4
Row = tuple[int, str, str, int]  # second, version, outcome, requests


def test_killing_worker_machine_and_proxy_loses_nothing_to_the_rollout(
    kept: Kept, branch: Branch
) -> None:
    ref = branch("shaken", {"hello/greeting.py": ("!", "?!")})
    begun = time.time()
    hurt: set[int] = set()
    with loaded(kept, begun) as out:
        words = ("release", "start", "--app", str(kept.app), "--ref", ref, "--yes")
        killed = kept.try_run(*words, OVENBIRD_DIE_AFTER="prod/set_weights")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        hurt |= window(begun, FOUND_WITHIN_S)
        kill(machine_of(kept, "hello-prod"))
        killed = kept.try_run("release", "resume", OVENBIRD_DIE_AFTER="prod/look")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        hurt |= window(begun, PROXY_BACK_WITHIN_S)
        kill(proxy_of(kept))
        kept.run("release", "resume")
        ended = int(time.time() - begun)
    answers: list[Row] = [tuple(row) for row in json.loads(out.read_text())["answers"]]

    (release,) = (r for r in kept.ask("release", "list") if r["ref"] == ref)
    assert release["phase"] == "promoted"
    lost = [row for row in answers if row[2] == "lost" and row[0] not in hurt]
    assert lost == []
    answered = {second for second, _, outcome, _ in answers if outcome == "ok"}
    assert set(range(2, ended - 1)) - answered - hurt == set()
    weights = [group["weight"] for group in kept.ask("cluster", "show", "hello-prod")["groups"]]
    assert max(weights) == sum(weights) == 100
    kept.run("cluster", "rollback", "hello-prod", "--to", "hello-prod-v001", "--yes")


@contextmanager
def loaded(kept: Kept, begun: float) -> Iterator[Path]:
    """Send 100 requests a second to production; yield where the answers are written."""
    out = kept.home / "shaken.json"
    url = kept.ask("sandbox", "status")["urls"]["prod"]
    argv = [sys.executable, "-m", "demo.load", "--url", url, "--rate", "100", "--seconds", "400"]
    argv += ["--header", "X-Hello-Version", "--start", str(begun), "--out", str(out)]
    with subprocess.Popen(argv, cwd=ROOT) as process:  # noqa: S603 - our own load
        try:
            yield out
        finally:
            process.terminate()


def window(begun: float, seconds: int) -> set[int]:
    """Return the seconds of the load from now on in which something may fail."""
    now = int(time.time() - begun)
    return set(range(now, now + seconds + 1))


def machine_of(kept: Kept, cluster: str) -> int:
    """Return pid 1 of a machine of the group that has most of the traffic."""
    groups = kept.ask("cluster", "show", cluster)["groups"]
    serving = max(groups, key=lambda group: int(group["weight"]))
    instance_id = serving["instances"][0]["instance_id"]
    (nspawn,) = processes(f"--machine={instance_id}", program="systemd-nspawn")
    return int(Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()[0])


def proxy_of(kept: Kept) -> int:
    """Return the newest proxy of production in the kept sandbox."""
    return processes(f"{kept.home}/sandbox/balancer/222222222222/", program="haproxy")[-1]


def processes(word: str, *, program: str) -> list[int]:
    """Return the processes of a program that have a word in their command line, by pid."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if word in line and line.startswith(program):
            found.append(int(path.parent.name))
    return sorted(found)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
