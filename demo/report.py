"""What the demo found, as tables and a small chart, and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

BIN_S = 4  # seconds that one line of the chart stands for
WIDTH = 50  # characters of a full bar
# One for each version, so that the chart reads without colour too.
INKS = (("█", "green"), ("▒", "blue"), ("#", "magenta"), ("=", "cyan"), ("+", "yellow"))


@dataclass(kw_only=True)
class Findings:
    """Everything the demo measured.

    Args:
        releases: What ``release start --json`` printed, in order, each with ``seconds``.
        rollback_s: Seconds that the rollback by command took.
        answers: Rows of (second, version, outcome, requests) from the load.
    """

    releases: list[dict[str, Any]] = field(default_factory=list)
    rollback_s: float = 0.0
    answers: list[tuple[int, str, str, int]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    api_calls: int = 0
    setup_s: float = 0.0
    seconds: float = 0.0
    marks: list[tuple[int, str]] = field(default_factory=list)

    def count(self, *outcomes: str) -> int:
        """Return the number of requests with one of these outcomes; all without any."""
        return sum(n for _, _, outcome, n in self.answers if not outcomes or outcome in outcomes)

    def to_json(self) -> dict[str, Any]:
        """Return the findings in the shape that `make demo ARGS="--json FILE"` promises."""
        return {
            "releases": [_release(release) for release in self.releases],
            "rollback": {"seconds": self.rollback_s},
            "requests_sent": self.count(),
            "requests_failed": self.count("failed"),
            "requests_lost": self.count("lost"),
            "requests_before_first_release": self.count("none"),
            "losses": self.losses,
            "api_calls": self.api_calls,
            "setup_seconds": self.setup_s,
            "seconds": self.seconds,
        }


def _release(release: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("version", "seconds", "stages", "blocks_uploaded", "blocks_total", "rollouts")
    return {"outcome": release["phase"], **{key: release.get(key) for key in kept}}


def show(findings: Findings, console: Console) -> None:
    """Print the tables and the chart."""
    console.print()
    console.print(_stages(findings.releases))
    console.print(_steps(findings.releases))
    for line in refusals(findings.releases):
        console.print(line, markup=False, highlight=False)
    console.print(f"\n[bold]Who answered[/bold], a line for every {BIN_S} seconds")
    for line in chart(findings.answers, findings.marks):
        console.print(line, highlight=False)
    console.print(_totals(findings))
    for loss in findings.losses[:10]:
        console.print(f"[red]lost[/red] {loss}")


def _stages(releases: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("release", "outcome", "stage", "seconds", "blocks uploaded / in image")
    for release in releases:
        blocks = f"{release.get('blocks_uploaded')} / {release.get('blocks_total')}"
        for index, stage in enumerate(release.get("stages") or []):
            head = (release["version"], release["phase"]) if index == 0 else ("", "")
            mine = blocks if stage["name"] == "bake" else ""
            table.add_row(*head, stage["name"], f"{stage['seconds']:.1f}", mine)
        table.add_row("", "", "[bold]all[/bold]", f"{release['seconds']:.1f}", "")
        table.add_section()
    return table


def _steps(releases: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("release", "canary step", "verdict", "canary's requests", "seconds observed")
    for version, verdict in _verdicts(releases):
        table.add_row(
            version,
            f"{verdict['step_percent']} %",
            str(verdict["outcome"]),
            f"{verdict['canary_requests']:.0f}",
            f"{verdict['observed_s']:.1f}",
        )
    return table


def refusals(releases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words why canaries were not promoted."""
    return [
        f"{version} at {verdict['step_percent']} %: {reason}"
        for version, verdict in _verdicts(releases)
        if verdict["outcome"] != "pass"
        for reason in verdict["reasons"]
    ]


def _verdicts(releases: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for release in releases:
        for rollout in release.get("rollouts") or []:
            for verdict in rollout.get("verdicts") or []:
                yield release["version"], verdict


def chart(
    answers: Sequence[tuple[int, str, str, int]], marks: Sequence[tuple[int, str]] = ()
) -> list[str]:
    """Return one line for each stretch of time: who answered, as a bar of shares.

    Args:
        answers: Rows of (second, version, outcome, requests).
        marks: (second, what began then), shown beside the bar.
    """
    bins: dict[int, Counter[str]] = defaultdict(Counter)
    for second, version, _, count in answers:
        bins[second // BIN_S][version] += count
    versions = sorted({version for _, version, _, _ in answers if version != "-"})
    inks = {version: INKS[place % len(INKS)] for place, version in enumerate(versions)}
    lines = []
    for index in sorted(bins):
        said = [text for second, text in marks if second // BIN_S == index]
        lines.append(_line(index * BIN_S, bins[index], inks) + (f"  {said[-1]}" if said else ""))
    legend = "  ".join(f"[{colour}]{glyph * 3}[/] {v}" for v, (glyph, colour) in inks.items())
    return [*lines, f"{'':>7}{legend}  ··· nobody: no app is deployed"]


def _line(second: int, counts: Counter[str], inks: Mapping[str, tuple[str, str]]) -> str:
    total, drawn, bar = sum(counts.values()), 0, ""
    for version in sorted(counts, key=lambda name: (name == "-", name)):
        width = min(max(1, round(WIDTH * counts[version] / total)), WIDTH - drawn)
        drawn += width
        glyph, colour = inks.get(version, ("·", "default"))
        bar += f"[{colour}]{glyph * width}[/]"
    return f"{second:>4} s {bar}{' ' * (WIDTH - drawn)}"


def _totals(findings: Findings) -> Table:
    table = Table(show_header=False)
    lost = findings.count("lost")
    table.add_row("requests sent", str(findings.count()))
    table.add_row("answered by the balancer before the first release", str(findings.count("none")))
    table.add_row("failed (the app's own 5xx)", str(findings.count("failed")))
    table.add_row("lost", f"[{'red' if lost else 'green'}]{lost}[/]")
    table.add_row("rollback by command, seconds", f"{findings.rollback_s:.1f}")
    table.add_row("AWS API calls", str(findings.api_calls))
    table.add_row("sandbox up, seconds", f"{findings.setup_s:.1f}")
    table.add_row("whole demo, seconds", f"{findings.seconds:.1f}")
    return table
