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

from ovenbird.config.settings import cache_home, load_settings
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, Places

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
    boot(json.loads(sandbox("env", "--json").stdout))
    os.kill(server_pid(places), signal.SIGKILL)
    before = pids(places)
    sandbox("status", status=3)

    up = sandbox("up")

    assert len(before) >= 3  # two balancers and a machine outlived the server
    assert "left-overs" in up.stderr
    assert before & pids(places) == set()
    assert [line for line in left(places) if "/machines/" in line or "/disks/" in line] == []

    sandbox("down")

    assert left(places) == []


def boot(variables: dict[str, str]) -> None:
    """Launch a machine of the base image and wait until it runs."""
    code = """
import boto3
ec2 = boto3.client("ec2")
(image,) = ec2.describe_images(Owners=["self"])["Images"]
made = ec2.run_instances(ImageId=image["ImageId"], MinCount=1, MaxCount=1)
ids = [made["Instances"][0]["InstanceId"]]
ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
"""
    subprocess.run(  # noqa: S603 - our own lines
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **variables},
        timeout=60,
        check=True,
    )


def pids(places: Places) -> set[int]:
    """Return the processes that were started in the sandbox's home, but the server."""
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {int(entry.name) for entry in entries if f"{places.home}/" in _argv(entry)}
    return found - {server_pid(places)}
