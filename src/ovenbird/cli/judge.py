"""`ovenbird judge`: what the judge saw and said, and what it would say by another policy."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.operations import judging
from ovenbird.operations.judging import Judged, Seen
from ovenbird.operations.releases import LATEST

PLOT_WIDTH = 90  # characters


@click.group("judge")
@settings_option
def group() -> None:
    """See what canaries were judged by, look by look, and judge them again.

    RELEASE is a release's id, a unique beginning of it, or `latest`.
    """


@group.command()
@click.argument("release", default=LATEST)
@click.option("--environment", default="", help="Only the rollout in this environment.")
@click.option("--plot", is_flag=True, help="Draw what was measured, and what was known when.")
@query
def show(*, release: str, environment: str, plot: bool, as_json: bool) -> None:
    """Show each step that was judged: its looks, and the reason for each metric of the last.

    Example: `ovenbird judge show latest --plot`
    """
    with opened() as installation:
        found = judging.steps_judged(installation.store, release, environment=environment)
    if as_json:
        output.answer([_data(step) for step in found])
        return
    for step in found:
        click.echo("\n".join(_lines(step, all_reasons=False)))
        if plot:
            width = shutil.get_terminal_size().columns
            click.echo("\n".join(judging.drawn(step.looks[-1], width=width)) + "\n")


@group.command()
@click.argument("release", default=LATEST)
@click.option("--environment", default="", help="Only the rollout in this environment.")
@click.option(
    "--with",
    "with_",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with what stands below `judge` in a manifest, to judge by that instead.",
)
@query
def replay(*, release: str, environment: str, with_: Path | None, as_json: bool) -> None:
    """Judge each look again from its stored samples, by the same or another policy.

    Nothing is asked of AWS, and nothing is changed.

    Example: `ovenbird judge replay latest --with judge.yaml`
    """
    policy = judging.read_policy(with_) if with_ else None
    with opened() as installation:
        found = judging.steps_replayed(
            installation.store, release, environment=environment, policy=policy
        )
    if as_json:
        output.answer([_data(step) for step in found])
        return
    for step in found:
        click.echo("\n".join(_lines(step, all_reasons=True)))


def _lines(step: Judged, *, all_reasons: bool) -> Iterator[str]:
    who = f"{step.canary} beside {step.baseline}, {step.policy.method.value}"
    yield f"{step.environment}, {step.step_percent} %: {who}"
    yield from (f"  note: {note}" for note in step.notes)
    last = step.looks[-1]
    for look in step.looks:
        yield f"  {_headline(look)}"
        if all_reasons or look is last:
            yield from (f"      {reason}" for reason in look.verdict.reasons)
        if all_reasons and (look.ends or look is last):
            yield from (f"      {line}" for line in judging.drawn(look, width=PLOT_WIDTH))
    yield ""


def _headline(look: Seen) -> str:
    said = output.spoken(look.verdict.outcome)
    was = "" if look.was == look.verdict.outcome else f" (was: {output.spoken(look.was)})"
    score = "" if look.verdict.score is None else f", score {look.verdict.score:.0f}"
    end = "; the step ends here" if look.ends else ""
    return f"look {look.number:<3} {look.seconds:7.1f} s  {said}{was}{score}{end}"


def _data(step: Judged) -> dict[str, Any]:
    return {
        "rollout_id": step.rollout_id,
        "environment": step.environment,
        "step_percent": step.step_percent,
        "canary": step.canary,
        "baseline": step.baseline,
        "method": step.policy.method.value,
        "notes": list(step.notes),
        "looks": [_look(look) for look in step.looks],
    }


def _look(look: Seen) -> dict[str, Any]:
    verdict = look.verdict
    return {
        "number": look.number,
        "seconds": look.seconds,
        "was": look.was,
        "outcome": verdict.outcome.value,
        "is_final": verdict.is_final,
        "ends": look.ends,
        "score": verdict.score,
        "reasons": list(verdict.reasons),
        "metrics": _finite(output.to_data(verdict.metrics)),
        "samples": {pair.spec.name: _series(pair.canary, pair.baseline) for pair in look.pairs},
    }


def _series(canary: Sequence[Any], baseline: Sequence[Any]) -> dict[str, Any]:
    return {
        "canary": _finite(output.to_data(canary)),
        "baseline": _finite(output.to_data(baseline)),
    }


def _finite(data: Any) -> Any:
    """Return data without numbers that JSON has not."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
