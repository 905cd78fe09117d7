"""A sandbox that is killed at any moment: the next `up` or `down` leaves nothing of it."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.boot.conftest import until
from tests.boot.sandboxes import Sandbox, fleet

pytestmark = pytest.mark.boot


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(root=tmp_path)
    yield sandbox
    sandbox("down")
    assert sandbox.left() == []


class Traffic:
    """Requests without a pause, as long as the block runs."""

    def __init__(self, address: str) -> None:
        self.answers: Counter[int] = Counter()
        self._address, self._over = address, threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.answers[200] > 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._over.wait(0.002):
            connection = http.client.HTTPConnection(self._address, timeout=5)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                self.answers[answer.status] += 1
            except (OSError, http.client.HTTPException):
                self.answers[0] += 1
            finally:
                connection.close()


def test_up_sweeps_a_sandbox_that_was_killed_under_load(sandbox: Sandbox) -> None:
    sandbox("up")
    address = fleet(sandbox.endpoint().development, instances=2)
    with Traffic(address):
        os.kill(sandbox.pid, signal.SIGKILL)
    orphans = sandbox.processes()
    found = " ".join(sandbox.left())
    assert len(sandbox.processes("systemd-nspawn")) == 2
    assert len(sandbox.processes("haproxy")) == 2  # one for each account
    for left in ("/disks/", "/machines/", "/run/netns/", "/sys/fs/cgroup/"):
        assert left in found

    up = sandbox("up")

    assert "left-overs" in up.stderr
    assert sandbox.processes() & orphans == set()
    assert not any("/disks/" in one or "/machines/" in one for one in sandbox.left())
    assert fleet(sandbox.endpoint().development, instances=2) == address
    with Traffic(address) as traffic:
        pass
    assert traffic.answers.keys() == {200}

    down = sandbox("down")

    assert down.stderr == "The sandbox is down\n"  # and nothing of left-overs
    assert sandbox.left() == []


@pytest.mark.parametrize("moment", ["spawned", "starting"])
def test_up_sweeps_an_up_that_was_killed(sandbox: Sandbox, moment: str) -> None:
    reached = {
        "spawned": lambda: bool(sandbox.processes("python")),
        "starting": lambda: "Starting the API" in said(sandbox),
    }
    with sandbox.begin("up") as up:
        until(reached[moment], every_s=0.005)
        up.kill()
    orphans = sandbox.processes()

    sandbox("up")

    assert len(orphans) >= 1
    assert sandbox.processes() & orphans == set()
    assert len(sandbox.processes("python")) == 1
    assert sandbox("down").stderr == "The sandbox is down\n"


def test_a_server_that_is_killed_while_it_starts_leaves_nothing(sandbox: Sandbox) -> None:
    with sandbox.begin("up") as up:
        until(lambda: "Making networks" in said(sandbox), every_s=0.005)
        os.kill(sandbox.pid, signal.SIGKILL)
        up.communicate(timeout=60)

    assert up.returncode != 0
    assert sandbox.left() == []


def test_a_home_is_the_same_by_all_its_names(sandbox: Sandbox, tmp_path: Path) -> None:
    linked = Sandbox(root=tmp_path / "link")
    linked.root.symlink_to(tmp_path)
    linked("up")
    fleet(linked.endpoint().development, instances=1)
    os.kill(linked.pid, signal.SIGKILL)

    assert "left-overs" in sandbox("down").stderr
    assert linked.left() == []


def said(sandbox: Sandbox) -> str:
    path = sandbox.places.progress
    return path.read_text() if path.exists() else ""
