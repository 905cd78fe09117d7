"""Feed the readers of manifests and repositories with what nobody should write, and count.

    python -m bench.fuzz --seconds 300 [--target manifest] [--seed 7]

Each input is understood, or refused by an error of ours; anything else is a mistake, which is
printed with its input, made as small as it can be. Exit status 1 when there was one.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky, HypothesisWarning

from tests.fuzzing import Target, targets

ROUND = 200  # inputs of one target at a time, so that all get their turn
SHOWN_LINES, SHOWN_CHARS = 20, 300  # of a mistake, and of each line

QUIET = settings(
    max_examples=ROUND,
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def main() -> int:
    """Feed until the time is over, and tell what happened."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--target", default="", help="only those whose name has this word")
    parser.add_argument("--seed", type=int, default=None, help="to get the same inputs again")
    asked = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    warnings.simplefilter("ignore", HypothesisWarning)  # of large inputs, when one is shown
    counts: dict[str, Counter[str]] = {}
    mistakes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        chosen = [found for found in targets(Path(name)) if asked.target in found.name]
        end = time.monotonic() + asked.seconds
        for target, number in _turns(chosen, first):
            if time.monotonic() > end:
                break
            counted = counts.setdefault(target.name, Counter())
            if said := fed(target, number, counted):
                mistakes.setdefault(f"{target.name}, seed {number}", said)
    print(table(counts, first))
    for place, said in mistakes.items():
        print(f"\n{place}:\n{said}")
    return 1 if mistakes else 0


def _turns(chosen: list[Target], first: int) -> Iterator[tuple[Target, int]]:
    """Yield each target again and again, with a number that no turn before had."""
    number = first
    while chosen:
        for target in chosen:
            yield target, number
            number += 1


def fed(target: Target, number: int, counted: Counter[str]) -> str:
    """Feed one target for a while; return what is wrong, or nothing.

    Args:
        target: Who is fed.
        number: Decides what is drawn.
        counted: Takes how many inputs were understood, refused, or met a mistake.
    """

    @seed(number)
    @QUIET
    @given(target.inputs)
    def feed(data: Any) -> None:
        try:
            answer = target.feed(data)
        except Exception:
            counted["mistaken"] += 1
            raise
        counted[answer] += 1

    try:
        feed()
    except (Exception, Flaky) as error:  # noqa: BLE001 - every kind is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        lines = [f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"]
        if error.__context__ is not None:
            lines.append(f"while handling {type(error.__context__).__name__}: {error.__context__}")
        lines += getattr(error, "__notes__", [])
        shown = "\n".join(lines).splitlines()[:SHOWN_LINES]
        return "\n".join(line[:SHOWN_CHARS] for line in shown)
    return ""


def table(counts: dict[str, Counter[str]], first: int) -> str:
    """Return how many inputs were tried, by target, as a table in Markdown."""
    kinds = ("understood", "refused", "mistaken")
    lines = [["target", "inputs", *kinds], ["---", *["--:"] * 4]]
    total: Counter[str] = Counter()
    for name, counted in counts.items():
        total += counted
        lines.append([name, *_cells(counted, kinds)])
    lines.append([f"all (seed {first})", *_cells(total, kinds)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(counted: Counter[str], kinds: tuple[str, ...]) -> list[str]:
    return [f"{counted.total():,}", *(f"{counted[kind]:,}" for kind in kinds)]


if __name__ == "__main__":
    sys.exit(main())
