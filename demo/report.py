"""What the demo found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version's way.

    Args:
        stages: (stage, seconds), in order.
        bake_phases: Part of the bake → seconds.
        blocks_uploaded: 512 KiB blocks.
        blocks_total: 512 KiB blocks of the whole image that hold data.
    """

    version: str
    image_id: str
    stages: tuple[tuple[str, float], ...]
    bake_phases: Mapping[str, float]
    blocks_uploaded: int
    blocks_total: int

    @property
    def seconds(self) -> float:
        """All stages together."""
        return sum(seconds for _, seconds in self.stages)


@dataclass(kw_only=True)
class Findings:
    """Everything the demo measured.

    Args:
        identical: Whether the second bake from scratch gave the same bits.
        setup_s: Seconds until the first version could begin.
    """

    releases: list[Release] = field(default_factory=list)
    identical: bool = False
    api_calls: int = 0
    setup_s: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the findings in the shape that `make demo ARGS="--json FILE"` writes."""
        return {
            "releases": [
                {
                    "version": release.version,
                    "outcome": "shared",
                    "image_id": release.image_id,
                    "seconds": release.seconds,
                    "stages": [{"name": name, "seconds": s} for name, s in release.stages],
                    "bake": dict(release.bake_phases),
                    "blocks_uploaded": release.blocks_uploaded,
                    "blocks_total": release.blocks_total,
                }
                for release in self.releases
            ],
            "identical_bits": self.identical,
            "api_calls": self.api_calls,
            "setup_seconds": self.setup_s,
            "seconds": self.seconds,
        }


def show(findings: Findings, console: Console) -> None:
    """Print what was measured."""
    table = Table("version", "stage", "seconds", "blocks uploaded / in image", "image")
    for release in findings.releases:
        for name, seconds in release.stages:
            first = name == release.stages[0][0]
            bake = name == "bake"
            table.add_row(
                release.version if first else "",
                name,
                f"{seconds:.1f}",
                f"{release.blocks_uploaded} / {release.blocks_total}" if bake else "",
                release.image_id if bake else "",
            )
        table.add_row("", "all", f"{release.seconds:.1f}", "", "", style="bold")
        table.add_section()
    console.print(table)
    totals = Table(show_header=False)
    totals.add_row("a second bake from scratch gives the same bits", _yes(findings.identical))
    totals.add_row("AWS API calls", str(findings.api_calls))
    totals.add_row("sandbox and base image ready, seconds", f"{findings.setup_s:.1f}")
    totals.add_row("whole demo, seconds", f"{findings.seconds:.1f}")
    console.print(totals)


def _yes(value: bool) -> str:  # noqa: FBT001 - a word for a value
    return "[green]yes[/]" if value else "[red]no[/]"
