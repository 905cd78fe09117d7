"""Verdicts by Kayenta's method: scores, groups, critical metrics, too few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.analysis.kayenta import compared, score_of
from ovenbird.analysis.ranks import can_tell, lies_above, shift
from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.judging import Counts, Direction, Method, MetricSpec, NanStrategy, Pair, Value
from ovenbird.domain.judging import PrometheusSource as Source
from ovenbird.domain.verdicts import Outcome

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICY = JudgePolicy(method=Method.COMPARE, confidence=0.98)
CPU = MetricSpec(name="cpu", source=Source(query="cpu"), tolerance=0.1)
LOW = tuple(10 + i % 7 for i in range(40))
SAME = tuple(10 + i % 6 for i in range(40))
HIGH = tuple(20 + i % 7 for i in range(40))


def values(numbers: Sequence[float]) -> tuple[Value, ...]:
    return tuple(
        Value(at=NOW + timedelta(minutes=i), value=number) for i, number in enumerate(numbers)
    )


def pair(spec: MetricSpec, canary: Sequence[float], baseline: Sequence[float] = LOW) -> Pair:
    return Pair(spec=spec, canary=values(canary), baseline=values(baseline))


def named(name: str, *, group: str = "all") -> MetricSpec:
    return replace(CPU, name=name, group=group)


def test_the_score_is_what_passed() -> None:
    pairs = [pair(named(str(i)), SAME) for i in range(3)] + [pair(named("bad"), HIGH)]

    verdict = compared(pairs, POLICY)

    assert (verdict.score, verdict.outcome) == (75.0, Outcome.MARGINAL)
    assert [m.outcome for m in verdict.metrics] == [Outcome.PASS] * 3 + [Outcome.FAIL]
    assert compared(pairs, replace(POLICY, marginal_score=80)).outcome is Outcome.FAIL
    assert compared(pairs, replace(POLICY, pass_score=75)).outcome is Outcome.PASS


def test_groups_have_weights_and_the_others_share_the_rest() -> None:
    a, b, c = (named(name, group=name) for name in "abc")
    found = [(a, Outcome.FAIL), (b, Outcome.PASS), (c, Outcome.NOT_ENOUGH_DATA)]

    assert score_of(found, {"a": 60}) == 40.0
    assert score_of(found, {"b": 60}) == 80.0
    assert score_of(found, {}) == pytest.approx(66.67)


def test_a_critical_metric_fails_the_whole() -> None:
    pairs = [pair(named(str(i)), SAME) for i in range(30)]
    pairs.append(pair(replace(CPU, is_critical=True), HIGH))

    verdict = compared(pairs, POLICY)

    assert (verdict.score, verdict.outcome) == (0.0, Outcome.FAIL)


def test_a_critical_effect_may_be_larger_than_a_failing_one() -> None:
    pairs = [pair(named(str(i)), SAME) for i in range(30)]
    pairs.append(pair(replace(CPU, is_critical=True, critical=(1.0, 3.0)), HIGH))

    verdict = compared(pairs, POLICY)

    assert (verdict.score, verdict.outcome) == (96.77, Outcome.PASS)
    assert verdict.metrics[-1].outcome is Outcome.FAIL


def test_nothing_measured_is_told_and_fails_only_what_must_have_data() -> None:
    nothing = [math.nan] * 5

    shrug = compared([pair(CPU, nothing)], POLICY)
    fail = compared([pair(replace(CPU, must_have=True), nothing)], POLICY)

    assert shrug.outcome is Outcome.NOT_ENOUGH_DATA
    assert shrug.metrics[0].reason == "cpu: nothing was measured"
    assert fail.outcome is Outcome.FAIL
    zeros = replace(CPU, must_have=True, nan=NanStrategy.REPLACE)
    assert compared([pair(zeros, nothing, LOW)], POLICY).outcome is Outcome.FAIL
    assert compared([pair(zeros, nothing, nothing)], POLICY).outcome is Outcome.FAIL


def test_too_few_numbers_to_show_anything_are_not_a_pass() -> None:
    verdict = compared([pair(CPU, HIGH[:3], LOW[:3])], POLICY)

    assert verdict.outcome is Outcome.NOT_ENOUGH_DATA
    assert verdict.reasons == (
        (
            "cpu: 21 on average in 3 periods of the canary, 11 in 3 of the baseline;"
            " too few to tell (not_enough_data)"
        ),
    )
    assert compared([pair(CPU, HIGH[:8], LOW[:8])], POLICY).outcome is Outcome.FAIL


def test_it_looks_at_the_end_only() -> None:
    verdict = compared([pair(CPU, HIGH)], POLICY, observed=0.5)

    assert verdict.outcome is Outcome.NOT_ENOUGH_DATA
    assert verdict.reasons[0] == "50% of the time is over; `compare` looks at the end"


def test_a_shift_within_the_tolerance_passes() -> None:
    slightly = tuple(number * 1.08 + 0.01 * i for i, number in enumerate(LOW))
    tight, loose = replace(CPU, tolerance=0.0), replace(CPU, tolerance=0.2)
    more = tuple(v * 4 for v in slightly)

    assert compared([pair(tight, more)], POLICY).outcome is Outcome.FAIL
    assert compared([pair(loose, slightly)], POLICY).outcome is Outcome.PASS


def test_shares_are_compared_by_period_and_empty_periods_are_left_out() -> None:
    share = MetricSpec(name="errors", source=Source(query="e"), is_share=True, tolerance=0.01)

    def counts(bad: float) -> tuple[Counts, ...]:
        totals = (100.0, 0.0) * 10
        return tuple(
            Counts(
                at=NOW + timedelta(minutes=i), total=total, bad=bad * total + i % 3 * bool(total)
            )
            for i, total in enumerate(totals)
        )

    bad = compared([Pair(spec=share, canary=counts(0.1), baseline=counts(0.01))], POLICY)

    assert bad.outcome is Outcome.FAIL
    assert bad.metrics[0].numbers["canary_events"] == 10


numbers = st.lists(st.integers(0, 50).map(float), min_size=5, max_size=25)


@given(numbers, numbers)
def test_sides_may_be_swapped(ours: list[float], theirs: list[float]) -> None:
    a, b = np.array(ours), np.array(theirs)
    one, other = shift(a, b, confidence=0.95), shift(b, a, confidence=0.95)

    scale = 1e-4 * (1 + abs(one.high) + abs(one.low))
    assert one.low == pytest.approx(-other.high, abs=scale)
    assert one.estimate == pytest.approx(-other.estimate, abs=scale)
    assert not (lies_above(a, b, 0, confidence=0.95) and lies_above(b, a, 0, confidence=0.95))


@given(numbers, numbers, st.integers(1, 20), st.integers(-30, 30))
def test_units_do_not_matter(ours: list[float], theirs: list[float], by: int, to: int) -> None:
    a, b = np.array(ours), np.array(theirs)

    plain = lies_above(a, b, 0, confidence=0.95)
    assert lies_above(a * by + to, b * by + to, 0, confidence=0.95) is plain


def test_ten_numbers_can_show_a_shift_and_two_cannot() -> None:
    assert can_tell(10, 10, confidence=0.98)
    assert not can_tell(2, 2, confidence=0.98)


@pytest.mark.parametrize(
    ("direction", "outcome"),
    [
        (Direction.INCREASE, Outcome.FAIL),
        (Direction.EITHER, Outcome.FAIL),
        (Direction.DECREASE, Outcome.PASS),
    ],
)
def test_only_the_wrong_direction_fails(direction: Direction, outcome: Outcome) -> None:
    assert compared([pair(replace(CPU, direction=direction), HIGH)], POLICY).outcome is outcome
