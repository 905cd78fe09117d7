"""A sandbox as a person runs it, what the kernel has of it, and a fleet that serves in it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovenbird.config.settings import cache_home
from ovenbird.sandbox.places import Places
from tests.boot.conftest import until

if TYPE_CHECKING:
    from ovenbird.aws.clients import Account
    from ovenbird.sandbox.endpoint import Endpoint

PORT = 8000
SERVES = f"#!/bin/sh\nsystemd-run --unit web python3 -m http.server {PORT}\n"


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The sandbox of one home.

    Args:
        root: What ``OVENBIRD_HOME`` is set to.
    """

    root: Path

    @property
    def places(self) -> Places:
        return Places(home=self.root.resolve() / "sandbox", cache=cache_home())

    @property
    def pid(self) -> int:
        """Of the server."""
        return int(self.places.pid.read_text())

    def __call__(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        with self.begin(*words) as program:
            out, err = program.communicate(timeout=240)
        assert program.returncode == status, err
        return subprocess.CompletedProcess(words, status, out, err)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start ``ovenbird sandbox`` and do not wait for it."""
        known = {"OVENBIRD_HOME": str(self.root), "OVENBIRD_CACHE": str(cache_home())}
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "ovenbird.sandbox.cli", *words],
            env={**os.environ, **known},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*words, "--json").stdout)
        return found

    def endpoint(self) -> Endpoint:
        from ovenbird.sandbox.endpoint import Endpoint  # noqa: PLC0415 - moto is slow to import

        url = self.ask("status")["endpoint_url"]
        return Endpoint(url=url, credentials_file=self.places.credentials)

    def processes(self, program: str = "") -> set[int]:
        """Return the processes that have a path in the home on their command line."""
        found = {pid for pid, argv in _argvs() if self._owns(argv) and program in argv[0]}
        return found - {os.getpid()}

    def left(self) -> list[str]:
        """Return everything of this sandbox that the kernel has."""
        token = self.places.token
        loops = Path("/sys/block").glob("loop*/loop/backing_file")
        texts = [Path("/proc/self/mountinfo").read_text(), *map(_text, loops)]
        lines = [line for text in texts for line in text.splitlines()]
        named = [
            *Path("/run/netns").glob(f"*{token}*"),
            *Path("/sys/class/net").glob(f"*{token}*"),
            *Path("/sys/fs/cgroup").glob(f"**/*{token}*"),
        ]
        return [
            *(line for line in lines if f"{self.places.home}/" in line),
            *(" ".join(argv) for _, argv in _argvs() if self._owns(argv)),
            *map(str, named),
        ]

    def _owns(self, argv: list[str]) -> bool:
        home = str(self.places.home)
        return any(word == home or f"{home}/" in word for word in argv)


def _argvs() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (argv := _text(entry / "cmdline").split("\0")) != [""]:
            yield int(entry.name), argv


def _text(path: Path) -> str:
    with suppress(OSError):  # it went while we looked
        return path.read_text(errors="replace")
    return ""


def fleet(account: Account, *, instances: int) -> str:
    """Let so many machines serve behind the account's load balancer; return its address."""
    (image,) = account.ec2.describe_images(Owners=["self"])["Images"]
    (balancer,) = account.elbv2.describe_load_balancers()["LoadBalancers"]
    group_arn = account.elbv2.create_target_group(
        Name="fleet",
        Protocol="HTTP",
        Port=PORT,
        VpcId=balancer["VpcId"],
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    (listener,) = account.elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])[
        "Listeners"
    ]
    account.elbv2.modify_listener(
        ListenerArn=listener["ListenerArn"],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group_arn}],
    )
    account.ec2.create_launch_template(
        LaunchTemplateName="fleet",
        LaunchTemplateData={
            "ImageId": image["ImageId"],
            "InstanceType": "t3.micro",
            "UserData": base64.b64encode(SERVES.encode()).decode(),
        },
    )
    account.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="fleet",
        LaunchTemplate={"LaunchTemplateName": "fleet", "Version": "$Latest"},
        MinSize=instances,
        MaxSize=instances,
        VPCZoneIdentifier=",".join(zone["SubnetId"] for zone in balancer["AvailabilityZones"]),
        TargetGroupARNs=[group_arn],
        HealthCheckType="ELB",
        HealthCheckGracePeriod=60,
    )

    def healthy() -> int:
        found = account.elbv2.describe_target_health(TargetGroupArn=group_arn)
        states = [one["TargetHealth"]["State"] for one in found["TargetHealthDescriptions"]]
        return states.count("healthy")

    until(lambda: healthy() == instances, within_s=60, every_s=0.2)
    return balancer["DNSName"]
