"""`ovenbird sandbox` as a person uses it: up, asked, killed, up again, down without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovenbird.config.settings import load_settings
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, Places, cache_home

pytestmark = pytest.mark.boot

Sandbox = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(home=tmp_path / "sandbox", cache=cache_home())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    environment = {
        **os.environ,
        "OVENBIRD_HOME": str(tmp_path),
        "OVENBIRD_CACHE": str(cache_home()),
    }

    def ask(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "ovenbird.sandbox.cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    yield ask
    ask("down")


def server_pid(places: Places) -> int:
    return int(places.pid.read_text())


def left(places: Places) -> list[str]:
    """Everything of this sandbox that the kernel still has."""
    loops = Path("/sys/block").glob("loop*/loop/backing_file")
    texts = [Path("/proc/self/mountinfo").read_text(), *(path.read_text() for path in loops)]
    lines = [line for text in texts for line in text.splitlines() if str(places.home) in line]
    argvs = [_argv(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    named = [path.name for path in Path("/run").glob(f"netns/*{places.token}*")]
    return [*lines, *(argv for argv in argvs if f"{places.home}/" in argv), *named]


def _argv(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def test_up_is_safe_to_repeat_and_down_leaves_nothing(sandbox: Sandbox, places: Places) -> None:
    sandbox("up")
    first = server_pid(places)
    again = sandbox("up")

    assert "already up" in again.stderr
    assert server_pid(places) == first
    assert load_settings(places.settings).environment("dev").account_id == DEVELOPMENT

    sandbox("down")

    assert left(places) == []
    assert [path.name for path in places.home.iterdir()] == ["server.log"]
    assert "not running" in sandbox("down").stderr


def test_the_status_says_what_there_is(sandbox: Sandbox, places: Places) -> None:
    missing = sandbox("status", status=3)
    sandbox("up")
    found = json.loads(sandbox("status", "--json").stdout)

    assert "hint: Run `ovenbird sandbox up`" in missing.stderr
    assert found["accounts"] == [DEVELOPMENT, PRODUCTION]
    assert found["pid"] == server_pid(places)
    assert {b["account_id"] for b in found["load_balancers"]} == {DEVELOPMENT, PRODUCTION}
    assert "ready at" in sandbox("logs").stdout


def test_an_unmodified_client_finds_the_base_image_by_the_environment(sandbox: Sandbox) -> None:
    sandbox("up")
    variables = json.loads(sandbox("env", "--json").stdout)
    code = "import boto3; print(boto3.client('ec2').describe_images(Owners=['self'])['Images'])"
    done = subprocess.run(  # noqa: S603 - our own line
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "debian-12-amd64-" in done.stdout
    assert f"'OwnerId': '{DEVELOPMENT}'" in done.stdout


def test_up_after_a_crash_removes_what_was_left(sandbox: Sandbox, places: Places) -> None:
    sandbox("up")
    os.kill(server_pid(places), signal.SIGKILL)
    leave_behind(places)
    assert len(left(places)) == 3  # mount, loop device, namespace
    sandbox("status", status=3)

    up = sandbox("up")

    assert "left-overs" in up.stderr
    assert left(places) == [line for line in left(places) if "ovenbird.sandbox.process" in line]


def leave_behind(places: Places) -> None:
    """Leave what machines would: a loop mount and a namespace with a process in it."""
    disk, where = places.disks / "snap-1.raw", places.disks / "snap-1"
    where.mkdir(parents=True)
    name = places.namespace(DEVELOPMENT)
    lines: tuple[list[str | Path], ...] = (
        ["truncate", "-s", "8M", disk],
        ["mke2fs", "-q", "-t", "ext4", disk],
        ["mount", "-o", "loop,ro,noload", disk, where],
        ["ip", "netns", "add", name],
    )
    for line in lines:
        subprocess.run(line, check=True)  # noqa: S603 - fixed lines
    subprocess.Popen(  # noqa: S603
        ["/usr/bin/nsenter", f"--net=/run/netns/{name}", "sleep", "300"]
    ).returncode = 0  # it is killed by `up`, not by us
