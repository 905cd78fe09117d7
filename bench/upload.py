"""Blocks to and from EBS: connections of our own against boto3, by the product's own code.

Every contender uploads (or downloads) the same blocks, turn by turn, to an endpoint in another
process on this machine (`bench/block_server.py`) that answers at once, or 40 ms later as EBS may.
Time is that of the whole call, from StartSnapshot to completed. `no quota` is ours without AWS's
1,000 blocks a second, to see what the client could do.

    python -m bench.upload --mib 1024 --rounds 5 --latencies 0,40
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import machine
from ovenbird.aws import block_calls, block_transports
from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.images import SnapshotId
from ovenbird.system.clock import SystemClock, await_true
from ovenbird.system.commands import end_group, spawn

BLOCKS_PER_MIB = 2**20 // BLOCK_BYTES
DISTINCT = 64
NEVER = 10**9
GOAL_MIB_S, GOAL_CORES = 500, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to carry blocks.

    Args:
        threads: Of boto3; 0 for ours.
        per_s: Blocks that are carried in a second at most.
    """

    name: str
    threads: int = 0
    per_s: float = block_calls.PER_S


CONTENDERS = (
    Contender(name="ovenbird"),
    Contender(name="ovenbird, no quota", per_s=1e6),
    Contender(name="boto3, 16 threads", threads=16),
    Contender(name="boto3, 32 threads", threads=32),
    Contender(name="boto3, 64 threads", threads=64),
)


class Repeated(Mapping[int, bytes]):
    """Many blocks that take little memory."""

    def __init__(self, count: int) -> None:
        self._count, self._blocks = count, [os.urandom(BLOCK_BYTES) for _ in range(DISTINCT)]

    def __getitem__(self, index: int) -> bytes:
        return self._blocks[index % DISTINCT]

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    def __len__(self) -> int:
        return self._count


@contextmanager
def serving(*, latency_ms: float, blocks: int, place: Path) -> Iterator[str]:
    """Run the endpoint in a process of its own; yield its URL."""
    said = place / "port"
    argv = [sys.executable, "-m", "bench.block_server", "--latency-ms", str(latency_ms)]
    with said.open("wb") as output:
        server = spawn([*argv, "--blocks", str(blocks)], output=output, cwd=Path.cwd())
    try:
        await_true(lambda: said.read_text().endswith("\n"), within=timedelta(seconds=30))
        yield f"http://127.0.0.1:{said.read_text().split()[0]}"
    finally:
        server.terminate()
        server.wait(10)
        end_group(server)


def account_at(url: str, place: Path) -> Account:
    """Return an account whose AWS is the endpoint."""
    credentials = place / "credentials"
    credentials.write_text("[bench]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = x\n")
    return open_account(
        AccountAccess(
            account_id="1" * 12, region="eu-west-1", endpoint_url=url,
            credentials_file=str(credentials), profile="bench",
        )
    )  # fmt: skip


@contextmanager
def chosen(contender: Contender) -> Iterator[None]:
    """Let the product carry blocks in one way."""
    changes: tuple[tuple[Any, str, Any], ...] = (
        (block_transports, "DIRECT_FROM", NEVER if contender.threads else 1),
        (block_transports.BotoBlocks, "threads", contender.threads),
        (block_calls, "PER_S", contender.per_s),
    )
    before = [getattr(thing, name) for thing, name, _ in changes]
    for thing, name, value in changes:
        setattr(thing, name, value)
    try:
        yield
    finally:
        for (thing, name, _), value in zip(changes, before, strict=True):
            setattr(thing, name, value)


def measured(do: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of waiting and of this process's processor time."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    do()
    took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, used


def turns(
    kind: str, asked: argparse.Namespace, latency_ms: float
) -> dict[str, list[tuple[float, float]]]:
    """Let everybody do it, turn by turn; the first turn is not counted."""
    count = asked.mib * BLOCKS_PER_MIB
    blocks = Repeated(count)
    results: dict[str, list[tuple[float, float]]] = {one.name: [] for one in CONTENDERS}
    with (
        tempfile.TemporaryDirectory(dir=asked.work) as made,
        serving(latency_ms=latency_ms, blocks=count, place=Path(made)) as url,
    ):
        account = account_at(url, Path(made))
        for turn in range(asked.rounds + 1):
            for contender in CONTENDERS:
                with chosen(contender):
                    do = _doing(kind, account, blocks, Path(made) / f"{turn} {contender.name}")
                    result = measured(do)
                if turn:
                    results[contender.name].append(result)
    return results


def _doing(kind: str, account: Account, blocks: Repeated, cache: Path) -> Callable[[], object]:
    snapshots = EbsSnapshots(account, cache=cache, clock=SystemClock(), cache_gib=1 / 1024)
    if kind == "download":

        def download() -> None:
            snapshots.download(SnapshotId("snap-00000000000000000")).unlink()

        return download

    def upload() -> None:
        snapshots.upload(blocks, parent=None, size_gib=64, token=cache.name, tags={})

    return upload


def table(
    kind: str, mib: int, results: Mapping[float, Mapping[str, list[tuple[float, float]]]]
) -> str:
    """Return a table for people: one row for each contender and latency."""
    columns = ("endpoint", "MiB/s", "fastest", "times boto3", "processor s/GiB", "processors busy")
    lines = [f"| {kind}, {mib} MiB | {' | '.join(columns)} |", "| --- | --- |" + " --: |" * 5]
    for latency_ms, by_name in results.items():
        boto3 = max(_speed(mib, rounds) for name, rounds in by_name.items() if "boto3" in name)
        for name, rounds in by_name.items():
            speed = _speed(mib, rounds)
            fastest = mib / min(took for took, _ in rounds)
            used = statistics.median(used for _, used in rounds)
            busy = statistics.median(used / took for took, used in rounds)
            lines.append(
                f"| {name} | {latency_ms:g} ms | {speed:.0f} | {fastest:.0f} | "
                f"{speed / boto3:.1f} | {used / mib * 1024:.2f} | {busy:.2f} |"
            )
    return "\n".join(lines)


def _speed(mib: int, rounds: list[tuple[float, float]]) -> float:
    return mib / statistics.median(took for took, _ in rounds)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="bench upload", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latencies", default="0,40", help="milliseconds")
    parser.add_argument("--kinds", default="upload,download")
    parser.add_argument("--work", type=Path, help="where downloads go; the system's choice")
    parser.add_argument("--json", type=Path, help="all numbers, in this file")
    asked = parser.parse_args()
    latencies = [float(word) for word in asked.latencies.split(",")]
    numbers = {}
    for kind in asked.kinds.split(","):
        results = {latency: turns(kind, asked, latency) for latency in latencies}
        numbers[kind] = results
        print(table(kind, asked.mib, results), end="\n\n", flush=True)
    print(f"Goal: {GOAL_MIB_S} MiB/s at 40 ms with at most {GOAL_CORES:g} processor busy.")
    print(machine.described())
    if asked.json:
        asked.json.write_text(json.dumps(numbers))


if __name__ == "__main__":
    main()
