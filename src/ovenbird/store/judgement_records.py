"""The records of the judge: each look with what it found and what it was given.

judgements   a step that was judged: who, beside whom, since when, by which policy
verdicts     its looks, each with the samples that the looks before it had not seen
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from ovenbird.domain.judgements import (
    JudgementKept,
    Look,
    LookKept,
    Samples,
    joined,
    news,
    samples_of,
    sums_of,
)
from ovenbird.domain.releases import VerdictGiven
from ovenbird.domain.verdicts import MetricVerdict, Outcome
from ovenbird.store import tables as t
from ovenbird.store.database import Database, Row


class JudgementRecords(Database):
    """The part of the store that knows what was judged."""

    def put_judgement(self, kept: JudgementKept) -> None:
        """Write that a step is judged, or write it over; its looks stand apart."""
        columns = {column.name for column in t.JUDGEMENTS.c}
        self.put(t.JUDGEMENTS, {name: getattr(kept, name) for name in columns})

    def put_look(
        self, rollout_id: str, *, action: int, number: int, step_percent: int, look: Look
    ) -> None:
        """Write what one look was given and what it found."""
        verdict = look.verdict
        row = {
            "rollout_id": rollout_id,
            "action": action,
            "look": number,
            "step_percent": step_percent,
            "outcome": verdict.outcome.value,
            "observed_s": look.seconds,
            "reasons": list(verdict.reasons),
            "canary": sums_of(verdict.canary),
            "baseline": sums_of(verdict.baseline),
            "metrics": [asdict(metric) for metric in verdict.metrics],
            "samples": self._news(rollout_id, action, number, look),
            "instances": dict(look.instances),
            "score": verdict.score,
            "observed": look.observed,
            "is_final": verdict.is_final,
        }
        self.put(t.VERDICTS, row)

    def list_judgements(self, rollout_id: str) -> tuple[JudgementKept, ...]:
        """Return all steps of a rollout that were judged, with their looks, in order."""
        query = select(t.JUDGEMENTS).where(t.JUDGEMENTS.c.rollout_id == rollout_id)
        kept = {row["action"]: row for row in self.rows(query)}
        looks: dict[int, list[Row]] = {}
        for row in self._looks(rollout_id):
            looks.setdefault(row["action"], []).append(row)
        return tuple(
            _judgement(rollout_id, action, kept.get(action), looks.get(action, []))
            for action in sorted(kept.keys() | looks.keys())
        )

    def list_instances_seen(
        self, rollout_id: str, *, action: int, before: int
    ) -> tuple[Mapping[str, str], ...]:
        """Return the states of instances that the looks before one saw, oldest first."""
        rows = self._looks(rollout_id, action=action, before=before)
        return tuple(row["instances"] for row in rows if row["instances"])

    def last_verdicts(self, rollout_id: str) -> tuple[VerdictGiven, ...]:
        """Return the last verdict of each step of a rollout."""
        last = {row["action"]: row for row in self._looks(rollout_id)}
        return tuple(
            VerdictGiven(
                step_percent=row["step_percent"],
                outcome=row["outcome"],
                canary_requests=(row["canary"] or {}).get("requests", 0.0),
                observed_s=row["observed_s"],
                reasons=tuple(row["reasons"]),
                metrics=_metrics(row),
                score=row["score"],
            )
            for row in last.values()
        )

    def _looks(
        self, rollout_id: str, *, action: int | None = None, before: int | None = None
    ) -> tuple[Row, ...]:
        query = select(t.VERDICTS).where(t.VERDICTS.c.rollout_id == rollout_id)
        if action is not None:
            query = query.where(t.VERDICTS.c.action == action)
        if before is not None:
            query = query.where(t.VERDICTS.c.look < before)
        return self.rows(query.order_by(t.VERDICTS.c.action, t.VERDICTS.c.look))

    def _news(self, rollout_id: str, action: int, number: int, look: Look) -> Samples | None:
        if look.pairs is None:
            return None
        before = _known(self._looks(rollout_id, action=action, before=number))
        return news(before, samples_of(look.pairs))


def _known(rows: Iterable[Row]) -> Samples:
    known: Samples = {}
    for row in rows:
        known = joined(known, row["samples"] or {})
    return known


def _judgement(
    rollout_id: str, action: int, kept: Row | None, rows: Iterable[Row]
) -> JudgementKept:
    looks: list[LookKept] = []
    known: Samples = {}
    for row in rows:
        known = joined(known, row["samples"] or {})
        looks.append(_look(row, None if row["samples"] is None else known))
    facts: Mapping[str, Any] = kept or _guessed(looks)
    names = ("canary", "baseline", "since", "observe_s", "steps", "policy")
    return JudgementKept(
        rollout_id=rollout_id,
        action=action,
        looks=tuple(looks),
        **{name: facts[name] for name in names},
    )


def _guessed(looks: Iterable[LookKept]) -> dict[str, Any]:
    """Return what is known of a step that an older version judged."""
    measured = next((look for look in looks if look.canary and look.baseline), None)
    return {
        "canary": measured.canary["name"] if measured and measured.canary else "",
        "baseline": measured.baseline["name"] if measured and measured.baseline else "",
        "since": None,
        "observe_s": 0.0,
        "steps": 1,
        "policy": None,
    }


def _look(row: Row, samples: Samples | None) -> LookKept:
    return LookKept(
        number=row["look"],
        step_percent=row["step_percent"],
        outcome=row["outcome"],
        reasons=tuple(row["reasons"]),
        metrics=_metrics(row),
        score=row["score"],
        is_final=bool(row["is_final"]),
        observed=1.0 if row["observed"] is None else row["observed"],
        seconds=row["observed_s"],
        samples=samples,
        canary=row["canary"],
        baseline=row["baseline"],
        instances=row["instances"] or {},
    )


def _metrics(row: Row) -> tuple[MetricVerdict, ...]:
    return tuple(
        MetricVerdict(**{**one, "outcome": Outcome(one["outcome"])}) for one in row["metrics"] or ()
    )
