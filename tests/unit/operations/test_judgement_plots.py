"""What a look saw, drawn."""

from __future__ import annotations

from ovenbird.domain.verdicts import Outcome, Verdict
from ovenbird.operations.judging import Seen, drawn
from tests.unit.analysis.simulated import seconds, shares


def test_each_metric_of_a_look_is_drawn() -> None:
    verdict = Verdict(outcome=Outcome.NOT_ENOUGH_DATA, reasons=())
    pairs = (shares([1] * 5, [1] * 5), seconds(1, 1.0))
    look = Seen(number=1, seconds=60, was="", verdict=verdict, pairs=pairs, ends=False)

    lines = drawn(look, width=80)

    assert [line for line in lines if not line.startswith(" ")] == ["errors", "latency"]
    assert max(map(len, lines)) <= 80
