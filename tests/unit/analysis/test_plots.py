"""Pairs as lines of text."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ovenbird.analysis.plots import plot
from ovenbird.domain.judging import Direction, Pair, Value
from tests.unit.analysis.simulated import ERRORS, NOW, counts, seconds, shares


def test_a_share_over_time_and_what_was_known_when() -> None:
    lines = plot(shares([1, 2, 3, 4, 5, 6, 7, 8] * 2, [1] * 16), width=80)

    assert lines[0] == "errors"
    assert lines[1] == "  canary   ▁▂▃▄▅▆▇█▁▂▃▄▅▆▇█  1.00% to 8.00%"
    assert lines[2] == "  baseline ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  1.00%"
    assert [line[2:8].strip() for line in lines[3:]] == ["25 %", "50 %", "75 %", "100 %"]
    assert all("points" in line and "|" in line and ":" in line for line in lines[3:])
    assert all(len(line) <= 80 for line in lines)


def test_intervals_get_narrower() -> None:
    lines = plot(shares([3] * 40, [1] * 40), width=100)

    drawn = [line.count("─") for line in lines[3:]]
    assert drawn == sorted(drawn, reverse=True)
    assert drawn[0] > drawn[-1]


def test_many_periods_fit_into_the_width() -> None:
    lines = plot(shares([1] * 500 + [9] * 500, [1] * 1000), width=60)

    assert lines[1].startswith("  canary   ▁▁▁▁▁▁▁▁▁▁▁▄███████████")
    assert max(map(len, lines)) <= 60


def test_gaps_stay_gaps_and_nothing_is_told() -> None:
    gap = Pair(spec=ERRORS, canary=counts([10, 0, 10], [1, 0, 2]), baseline=())

    assert plot(gap, width=80) == (
        "errors",
        "  canary   ▁ █  10.00% to 20.00%",
        "  baseline   nothing was measured",
    )
    assert plot(replace(gap, canary=()), width=80) == ("errors", "  nothing was measured")
    empty = (Value(at=NOW, value=math.nan),)
    assert plot(replace(gap, canary=empty), width=80)[1] == "  nothing was measured"


@pytest.mark.parametrize("direction", list(Direction))
def test_values_are_drawn_in_percent_of_the_baseline(direction: Direction) -> None:
    pair = seconds(3, 1.2, periods=12)

    lines = plot(replace(pair, spec=replace(pair.spec, direction=direction)), width=90)

    assert lines[-1].startswith("  100 %")
    assert "% to +" in lines[-1]
    assert lines[-1].count(":") == (2 if direction is Direction.EITHER else 1)
