"""One look at a canary: alarms first, then the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import Judge
from ovenbird.domain.verdicts import Outcome, Sample
from ovenbird.stages.judge import look
from tests.unit.domain.clusters_model import (
    NOW,
    Shape,
    cluster,
    environment,
    name,
    rollout,
)


@dataclass
class Metrics:
    """A canary of which some answers are errors, beside a group without any."""

    errors: float = 0.0
    fires: str = ""
    asked: list[tuple[datetime, datetime, float]] = field(default_factory=list)

    def samples(
        self, names: Sequence[ServerGroupName], *, since: datetime, until: datetime, slow_s: float
    ) -> tuple[Sample, ...]:
        self.asked.append((since, until, slow_s))
        return tuple(
            Sample(
                name=one, since=since, until=until, requests=100.0, slow=0.0,
                errors=self.errors if one == name(2) else 0.0,
            )
            for one in names
        )  # fmt: skip

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(alarms, self.fires) if self.fires else {}


class Still:
    """A clock that stands still in the middle of the step."""

    def now(self) -> datetime:
        return NOW + timedelta(seconds=90)

    def sleep(self, seconds: float) -> None:
        raise AssertionError("one look does not wait; the workflow does")


def judge() -> Judge:
    actions = rollout(cluster(Shape(weight=100)), environment()).actions
    return next(action for action in actions if isinstance(action, Judge))


def test_an_alarm_fails_the_canary_before_anything_is_counted() -> None:
    metrics = Metrics(fires="it is red")

    verdict = look(judge(), since=NOW, metrics=metrics, clock=Still())

    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons == ("Alarm `hello-prod-v002-5xx` fires: it is red",)
    assert metrics.asked == []


def test_a_look_counts_from_the_begin_of_the_step_to_now() -> None:
    metrics = Metrics()

    verdict = look(judge(), since=NOW, metrics=metrics, clock=Still())

    assert verdict.outcome is Outcome.PASS
    assert metrics.asked == [(NOW, Still().now(), judge().policy.slow_s)]
    assert (verdict.canary, verdict.baseline) != (None, None)


def test_a_look_in_the_middle_must_be_surer_than_the_last_one() -> None:
    """6 errors of 100: enough at the end of the step, too few at half of it."""
    metrics = Metrics(errors=6.0)

    middle = look(judge(), since=NOW, metrics=metrics, clock=Still())
    end = look(judge(), since=NOW - timedelta(seconds=90), metrics=metrics, clock=Still())

    assert (middle.outcome, end.outcome) == (Outcome.MARGINAL, Outcome.FAIL)
