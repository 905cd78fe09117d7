"""Baking an image: ours, Packer unmodified, and a whole-image upload, on one sandbox.

All bake the same package (1 MB in 60 files, 60 MB or 500 MB in 4,000) from one signed apt
repository on the same base image; in the sandbox machines boot in a second, so that builders
by instances look better here than on EC2, where a launch and a snapshot take minutes. They
take turns, so that what else the machine does meets all of them; a first turn is not counted.
Goals: at least 8 times as fast as Packer's amazon-ebs for 1 MB; at most 18 and 155 changed
blocks for 1 MB and 60 MB; under 0.7 and 2 s without the package manager's own run.

    python -m bench baking --sizes 1mb,60mb --runs 5 --json FILE

Packer is Debian's package, installed when it is missing; without it its rows are `not run`.
Needs root.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench import bake_report, bakers
from bench.bake_packages import SIZES, Publisher
from bench.bake_report import Row, summary, table
from bench.bake_sandbox import BenchSandbox, inside, sandbox
from bench.bakers import Baker, Bakery, Loaf, changed_blocks
from bench.machine import described
from bench.repositories import install_peers
from ovenbird.aws.images import Ec2Images
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.images import Image, PackagePin

AT_ONCE = 4
NOT_OURS = frozenset({"install"})  # phases that are the package manager's own
CONTENDERS: dict[str, Baker] = {
    bake_report.DIRECT: bakers.direct,
    bake_report.COLD: bakers.cold,
    bake_report.OWN: bakers.own_process,
    bake_report.INSTANCE: bakers.by_instance,
    bake_report.EBS: bakers.packer("amazon-ebs"),
    bake_report.SURROGATE: bakers.packer("amazon-ebssurrogate"),
    bake_report.WHOLE: bakers.whole,
}


def main() -> int:
    """Measure, and print the tables."""
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # take the sandbox down, too
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.work) as name:
            rows = measured(asked, Path(name))
    except OvenbirdError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_status
    found = {"machine": described(), "rows": rows}
    print(f"{found['machine']}\n\n{table(rows)}\n\n{summary(rows)}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench baking")
    parser.add_argument("--sizes", default="1mb,60mb", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--runs", type=int, default=5, help="how often each one bakes")
    parser.add_argument("--at-once", action="store_true", help=f"{AT_ONCE} bakes at once, too")
    parser.add_argument("--only", default="", help="a part of the names of those that bake")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers as JSON too")
    parser.add_argument("--work", type=Path, help="directory for packages, disks and the sandbox")
    asked = parser.parse_args()
    asked.sizes = asked.sizes.split(",")
    if unknown := {*asked.sizes} - {*SIZES}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return asked


def measured(asked: argparse.Namespace, work: Path) -> list[Row]:
    """Bake each size by each of them; nothing is left behind."""
    install_peers({"packer": "packer"})
    _say("making packages")
    publisher = Publisher(asked.sizes, work)
    first = publisher.publish()
    with ExitStack() as parts:
        found = parts.enter_context(sandbox(work))
        words, base = parts.enter_context(inside(found, first.directory)), _base(found)
        bakery = Bakery(sandbox=found, published=first, base=base, work=work, inside=words)
        rows = []
        for size in asked.sizes:
            chosen = {name: baker for name, baker in CONTENDERS.items() if asked.only in name}
            rows += list(_taking_turns(bakery, publisher, size, chosen, asked.runs))
            if asked.at_once:
                rows += list(_at_once(bakery, size, chosen))
        return rows


def _taking_turns(
    bakery: Bakery, publisher: Publisher, size: str, chosen: dict[str, Baker], runs: int
) -> Iterator[Row]:
    pin = bakery.published.pins[size]
    rows: dict[str, Row] = {name: _row(size, name) for name in chosen}
    for turn in range(runs + 1):
        for name, baker in chosen.items():
            row = rows[name]
            if row["failed"]:
                continue
            _say(f"{size}: turn {turn} of {runs}: {name}")
            fresh = replace(bakery, published=publisher.publish())
            before = bakery.sandbox.calls()
            try:
                loaf = baker(fresh, pin, _name(size, name, turn))
            except OvenbirdError as error:
                row["failed"] = _why(name, error)
                continue
            if turn:
                row["calls"].append(bakery.sandbox.calls() - before)
                _take_down(row, bakery, [loaf])
    yield from rows.values()


def _at_once(bakery: Bakery, size: str, chosen: dict[str, Baker]) -> Iterator[Row]:
    """Let four bakes run at once; their time is that of all of them together."""
    pin = bakery.published.pins[size]
    for name in (bake_report.DIRECT, bake_report.INSTANCE, bake_report.EBS):
        if name not in chosen:
            continue
        _say(f"{size}: {AT_ONCE} at once: {name}")
        row = _row(size, f"{name}, {AT_ONCE} at once")
        before, begun = bakery.sandbox.calls(), time.perf_counter()
        try:
            loaves = _together(bakery, pin, chosen[name], _name(size, name, -1))
        except OvenbirdError as error:
            row["failed"] = _why(name, error)
        else:
            row["calls"].append(bakery.sandbox.calls() - before)
            seconds = time.perf_counter() - begun
            _take_down(row, bakery, loaves)
            row["seconds"] = [seconds]
        yield row


def _together(bakery: Bakery, pin: PackagePin, baker: Baker, name: str) -> list[Loaf]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = [pool.submit(baker, bakery, pin, f"{name}-{n}") for n in range(AT_ONCE)]
        return [one.result() for one in begun]


def _row(size: str, name: str) -> Row:
    return {
        "size": size, "baker": name, "seconds": [], "own_s": [], "blocks": [], "calls": [],
        "phases": {}, "failed": "",
    }  # fmt: skip


def _take_down(row: Row, bakery: Bakery, loaves: list[Loaf]) -> None:
    for loaf in loaves:
        row["seconds"].append(loaf.seconds)
        row["blocks"].append(changed_blocks(bakery, loaf.image_id))
        if loaf.phases:
            not_ours = sum(took for phase, took in loaf.phases.items() if phase in NOT_OURS)
            row["own_s"].append(loaf.seconds - not_ours)
            row["phases"] = dict(loaf.phases)


def _why(name: str, error: OvenbirdError) -> str:
    if name.startswith("packer") and shutil.which("packer") is None:
        return "not installed"
    print(f"{name}: {error}: {error.facts.get('stderr', '')}", file=sys.stderr)
    return str(error)


def _base(found: BenchSandbox) -> Image:
    images = Ec2Images(found.account)
    (source,) = found.settings.base_images.values()
    image = images.find_by_name(source.name or "")
    if image is None:
        raise OvenbirdError("The sandbox has no base image")
    return image


def _name(size: str, name: str, turn: int) -> str:
    words = name.replace(",", "").replace(" ", "-")
    return f"{words}-{size}-{turn if turn >= 0 else 'at-once'}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
