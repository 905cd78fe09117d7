"""What the bakes took, as tables: for each package, and beside the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

DIRECT, OWN, INSTANCE = "ovenbird direct", "ovenbird direct, own process", "ovenbird instance"
COLD, WHOLE = "ovenbird direct, cold base", "whole image uploaded"
EBS, SURROGATE = "packer amazon-ebs", "packer amazon-ebssurrogate"
GOALS = {"1mb": (18, 0.7), "60mb": (155, 2.0)}  # changed blocks, our own seconds
FASTER = 8.0
HEAD = ("package", "baker", "median", "fastest", "changed blocks", "API calls", "times ours")

Row = dict[str, Any]
"""One baker and one package: what each run took; empty lists, and why, when it did not run."""


def table(rows: list[Row]) -> str:
    """Return a table in Markdown."""
    lines = [[*HEAD], ["---", "---", *["--:"] * 5]]
    lines += [_cells(row, rows) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row, rows: list[Row]) -> list[str]:
    if not row["seconds"]:
        return [row["size"], row["baker"], "not run", "", "", "", ""]
    median = statistics.median(row["seconds"])
    return [
        row["size"],
        row["baker"],
        f"{median:.2f} s",
        f"{min(row['seconds']):.2f} s",
        f"{statistics.median(row['blocks']):.0f}",
        f"{statistics.median(row['calls']):.0f}",
        f"{median / ours:.1f}" if (ours := _median(rows, row)) else "",
    ]


def _median(rows: list[Row], row: Row) -> float:
    """Return what ours takes for the same; for four at once, four of ours at once."""
    at_once = row["baker"].partition(", 4")[1:]
    wanted = DIRECT + "".join(at_once)
    found = [one for one in rows if (one["size"], one["baker"]) == (row["size"], wanted)]
    return statistics.median(found[0]["seconds"]) if found and found[0]["seconds"] else 0.0


def summary(rows: list[Row]) -> str:
    """Say for each size what the goals are, and what was reached."""
    return "\n".join(line for row in rows if row["baker"] == DIRECT for line in _lines(row, rows))


def _lines(row: Row, rows: list[Row]) -> Iterator[str]:
    if not row["seconds"]:
        return
    size, own = row["size"], statistics.median(row["own_s"])
    most, within_s = GOALS.get(size, (None, None))
    blocks = statistics.median(row["blocks"])
    yield f"{size}: {blocks:.0f} changed blocks{f' (goal: {most})' if most else ''}"
    goal = f" (goal: {within_s} s)" if within_s else ""
    yield f"{size}: {own:.2f} s of ours without the package manager's own run{goal}"
    phases = ", ".join(f"{phase} {took:.2f}" for phase, took in row["phases"].items())
    yield f"{size}: phases of the last bake, in seconds: {phases}"
    for other in rows:
        if other["size"] == size and other["baker"] == EBS and other["seconds"]:
            times = statistics.median(other["seconds"]) / statistics.median(row["seconds"])
            goal = f" (goal: {FASTER:.0f})" if size == "1mb" else ""
            yield f"{size}: {times:.1f} times as fast as Packer's amazon-ebs{goal}"
