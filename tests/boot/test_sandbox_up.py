"""`ovenbird sandbox` as a person uses it: up, asked, down without a trace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovenbird.config.settings import load_settings
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION
from tests.boot.sandboxes import Sandbox, fleet

pytestmark = pytest.mark.boot


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(root=tmp_path)
    yield sandbox
    sandbox("down")


def test_up_is_safe_to_repeat_and_down_leaves_nothing(sandbox: Sandbox) -> None:
    sandbox("up")
    first = sandbox.pid
    again = sandbox("up")

    assert "already up" in again.stderr
    assert sandbox.pid == first
    assert load_settings(sandbox.places.settings).environment("dev").account_id == DEVELOPMENT

    down = sandbox("down")

    assert down.stderr == "The sandbox is down\n"
    assert sandbox.left() == []
    assert [path.name for path in sandbox.places.home.iterdir()] == ["server.log"]
    assert "not running" in sandbox("down").stderr


def test_the_status_says_what_there_is(sandbox: Sandbox) -> None:
    missing = sandbox("status", status=3)
    sandbox("up")
    address = fleet(sandbox.endpoint().development, instances=2)
    found = sandbox.ask("status")
    said = sandbox("status").stdout

    assert "hint: Run `ovenbird sandbox up`" in missing.stderr
    assert found["accounts"] == [DEVELOPMENT, PRODUCTION]
    assert found["pid"] == sandbox.pid
    assert {b["account_id"] for b in found["load_balancers"]} == {DEVELOPMENT, PRODUCTION}
    assert "ready at" in sandbox("logs").stdout
    assert [m["server_group"] for m in found["machines"]] == ["fleet", "fleet"]
    assert all(0 < machine["memory_mib"] < 40 for machine in found["machines"])
    (balancer,) = [b for b in found["load_balancers"] if b["dns_name"] == address]
    assert balancer["target_groups"] == [{"name": "fleet", "healthy": 2, "total": 2}]
    assert re.search(rf"{DEVELOPMENT} +ovenbird +fleet +2/2\n", said)
    assert re.search(rf"{DEVELOPMENT} +fleet +i-[0-9a-f]+ +172\.31\..* +running +\d+ MiB\n", said)


def test_an_unmodified_client_finds_the_base_image_by_the_environment(sandbox: Sandbox) -> None:
    sandbox("up")
    variables = sandbox.ask("env")
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
