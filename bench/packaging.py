"""Packaging an app: ours, with all that it does, against nfpm alone, dpkg-deb, rpmbuild and fpm.

Each makes the same package turn by turn, so that what else the machine does meets all of them;
a first turn is not counted. Goals: within 10 % of nfpm alone, twice as fast as fpm. The time
of processors (ours and that of programs we start) says how much work it is, also on a busy
machine; seconds say how long one waits.

    python -m bench packaging --sizes small,60mb --rounds 7 --json FILE
    python -m bench packaging --large                                   (1 GB too; 5 GB of disk)

A peer that is not installed is `not run`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import described, versions
from bench.packagers import ALONE, FPM, OURS, PEERS, Job, Make, packagers, stage
from bench.trees import SIZES, make
from ovenbird.domain.errors import OvenbirdError

LARGE_ROUNDS = 3  # of 1 GB

Result = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one package took: seconds, and seconds of processors."""

    seconds: float
    processor_s: float


def main() -> int:
    """Measure, and print the tables."""
    asked = _asked()
    results: list[Result] = []
    try:
        for size in asked.sizes:
            results += measured(size, asked)
    except OvenbirdError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_status
    found = {"machine": described(), "versions": versions(), "results": results}
    print(f"{found['machine']}\n\n{table(results)}\n\n{summary(results)}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench packaging")
    parser.add_argument("--sizes", default="small,60mb", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--formats", default="deb,rpm", help="deb, rpm")
    parser.add_argument("--rounds", type=int, default=7, help="how often each one packages")
    parser.add_argument("--large", action="store_true", help="1 GB too, three times each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all seconds as JSON too")
    parser.add_argument("--work", type=Path, help="directory for trees and packages")
    asked = parser.parse_args()
    asked.sizes = [*asked.sizes.split(","), *(["1gb"] if asked.large else [])]
    asked.formats = asked.formats.split(",")
    unknown = {*asked.sizes} - {*SIZES} | {*asked.formats} - {*PEERS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return asked


def measured(size: str, asked: argparse.Namespace) -> list[Result]:
    """Package one tree in each format; nothing is left behind."""
    rounds = min(asked.rounds, LARGE_ROUNDS) if size == "1gb" else asked.rounds
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.work) as name:
        work = Path(name)
        print(f"{size}: making the tree", file=sys.stderr)
        tree = make(size, work)
        staged = stage(tree, work)
        results = []
        for kind in asked.formats:
            job = Job(tree=tree, kind=kind, staged=staged, work=work)
            results.append(_timed(job, rounds))
    return results


def _timed(job: Job, rounds: int) -> Result:
    makers = dict(packagers(job))
    sizes: dict[str, int] = {}
    taken: dict[str, list[Taken]] = {}
    for name, maker in makers.items():
        try:
            sizes[name] = _once(maker, job.work)[1]
            taken[name] = []
        except OvenbirdError as error:
            print(f"{name}: {error}: {error.facts.get('stderr', '')}", file=sys.stderr)
    for number in range(rounds):
        print(f"{job.tree.name} {job.kind}: round {number + 1} of {rounds}", file=sys.stderr)
        for name, found in taken.items():
            found.append(_once(makers[name], job.work)[0])
    return {
        "size": job.tree.name,
        "format": job.kind,
        "bytes": sizes,
        "seconds": {name: [each.seconds for each in found] for name, found in taken.items()},
        "processor_s": {
            name: [each.processor_s for each in found] for name, found in taken.items()
        },
    }


def _once(maker: Make, work: Path) -> tuple[Taken, int]:
    """Return what it took, and the size of the package."""
    out = Path(tempfile.mkdtemp(prefix="out-", dir=work))
    try:
        begun, worked = time.perf_counter(), _worked()
        path = maker(out)
        taken = Taken(seconds=time.perf_counter() - begun, processor_s=_worked() - worked)
        return taken, path.stat().st_size
    finally:
        shutil.rmtree(out)


HEAD = ("tree", "packager", "fastest", "median", "processors", "times nfpm alone", "package")


def _worked() -> float:
    """Return seconds of processors that this process and the programs that ended have had."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def table(results: list[Result]) -> str:
    """Return a table in Markdown: seconds, and how many times nfpm alone by each of them."""
    lines: list[list[str]] = [[*HEAD], ["---", "---", *["--:"] * 5]]
    for result in results:
        place = f"{result['size']} {result['format']}"
        names = (OURS, *PEERS[result["format"]])
        lines += [[place, name, *_cells(result, name)] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(result: Result, name: str) -> list[str]:
    if not result["seconds"].get(name):
        return ["not run", *[""] * 4]
    return [
        *(f"{value:.3f} s" for value in figures(result, name)),
        " · ".join(f"{value:.2f}" for value in ratios(result, name, ALONE)),
        f"{result['bytes'][name] / 1e6:,.3f} MB",
    ]


def figures(result: Result, name: str) -> tuple[float, float, float]:
    """Return seconds: the fastest, the median, and the median of processors' time."""
    seconds, worked = result["seconds"][name], result["processor_s"][name]
    return min(seconds), statistics.median(seconds), statistics.median(worked)


def ratios(result: Result, name: str, other: str) -> list[float]:
    """Return how many times as long one takes as another, by each figure."""
    pairs = zip(figures(result, name), figures(result, other), strict=True)
    return [one / max(two, 0.001) for one, two in pairs]


def summary(results: list[Result]) -> str:
    """Return what the table says about the goals."""
    lines = []
    for result in results:
        place = f"{result['size']} {result['format']}"
        fastest, median, worked = ratios(result, OURS, ALONE)
        extra = min(result["seconds"][OURS]) - min(result["seconds"][ALONE])
        lines.append(
            f"{place}: times nfpm alone: {fastest:.2f} by the fastest ({extra * 1000:+.0f} ms), "
            f"{median:.2f} by medians, {worked:.2f} by processors; goal: 1.10"
        )
        if result["seconds"].get(FPM):
            lines.append(f"{place}: fpm takes {1 / ratios(result, OURS, FPM)[0]:.1f} times ours")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
