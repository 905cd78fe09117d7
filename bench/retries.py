"""A crowd that asks for more than AWS takes: botocore's ways to wait against ours.

So many threads with a client each read a listener's rules again and again, from the sandbox,
which throttles with AWS's published numbers (a burst of 40, then 10 a second). Who fails,
how many calls are refused, and how long does it take?

    python -m bench.retries --threads 40 --calls 10
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.rollouts import access, counted, networks, serving
from ovenbird.aws.clients import open_account
from ovenbird.sandbox.places import REGION
from ovenbird.system.clock import SystemClock

Ask = Callable[[], object]
FULL_S = 6.0  # until a bucket of 40 is full again


def botos(mode: str, url: str, work: Path, listener: str) -> Callable[[], Ask]:
    """Return what makes clients of botocore's own, six attempts for each call."""
    key = [line.split(" = ")[1] for line in (work / "credentials").read_text().split("\n")[1:3]]

    def make() -> Ask:
        retries: Any = {"mode": mode, "max_attempts": 6}
        client = boto3.Session().client(
            "elbv2",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            config=Config(retries=retries),
        )
        return lambda: client.describe_rules(ListenerArn=listener)

    return make


def ours(url: str, work: Path, listener: str, quotas: str) -> Callable[[], Ask]:
    """Return what makes clients of ours, with the buckets of a directory, or without."""

    def make() -> Ask:
        account = open_account(access(url, work, quotas=quotas))
        return lambda: account.elbv2.describe_rules(ListenerArn=listener)

    return make


def crowd(make: Callable[[], Ask], asked: argparse.Namespace) -> tuple[int, float]:
    """Let all ask at once; return how many calls failed, and seconds."""
    clients = [make() for _ in range(asked.threads)]

    def one(ask: Ask) -> int:
        failed = 0
        for _ in range(asked.calls):
            try:
                ask()
            except ClientError:
                failed += 1
        return failed

    begun = time.perf_counter()
    with ThreadPoolExecutor(asked.threads) as pool:
        failed = sum(pool.map(one, clients))
    return failed, time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=40)
    parser.add_argument("--calls", type=int, default=10)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as made,
        serving(work := Path(made), 1.0) as (url, throttle),
    ):
        (network,) = networks(open_account(access(url, work)), 1)
        listener = network.listener_arn
        ways = {
            "botocore standard": botos("standard", url, work, listener),
            "botocore adaptive": botos("adaptive", url, work, listener),
            "ovenbird, no buckets": ours(url, work, listener, ""),
            "ovenbird": ours(url, work, listener, str(work / "quotas")),
        }
        lines = ["| way | calls | failed | refused | seconds |", "| --- | --: | --: | --: | --: |"]
        throttle()
        for name, make in ways.items():
            SystemClock().sleep(FULL_S)
            before = counted(url)[1].total()
            failed, seconds = crowd(make, asked)
            refused = counted(url)[1].total() - before
            total = asked.threads * asked.calls
            lines.append(f"| {name} | {total} | {failed} | {refused} | {seconds:.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
