"""Verdicts while a canary serves: as soon as it can be told, and otherwise what it takes."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.analysis.judging import judge
from ovenbird.analysis.sequential import rates_of
from ovenbird.domain.apps import JudgePolicy, metrics_of
from ovenbird.domain.judging import Direction, NanStrategy, Pair, Value
from ovenbird.domain.verdicts import MetricVerdict, Outcome, Verdict
from tests.unit.analysis.simulated import ERRORS, NOW, P90, counts, drawn, seconds, shares

POLICY = JudgePolicy()


def judged(*pairs: Pair, policy: JudgePolicy = POLICY, observed: float = 0.5) -> Verdict:
    return judge(pairs, policy, observed=observed)


def metric(pair: Pair, policy: JudgePolicy = POLICY) -> MetricVerdict:
    return judged(pair, policy=policy).metrics[0]


def test_a_bad_canary_is_failed_and_that_is_final() -> None:
    verdict = judged(shares([20] * 5, [1] * 5))

    assert (verdict.outcome, verdict.is_final) == (Outcome.FAIL, True)
    assert verdict.reasons[0].startswith(
        "errors: 20.00% of 500 requests of the canary, 1.00% of 500 of the baseline;"
        " the difference is between +1"
    )
    assert verdict.reasons[0].endswith("1 points more is allowed (fail)")


def test_a_good_canary_is_passed_before_the_time_is_over() -> None:
    verdict = judged(shares([0] * 10, [0] * 10))

    assert (verdict.outcome, verdict.is_final) == (Outcome.PASS, True)


def test_nobody_can_tell_yet_and_it_says_how_long_it_takes() -> None:
    verdict = judged(shares([1] * 4, [1] * 4))

    (found,) = verdict.metrics
    assert (verdict.outcome, verdict.is_final) == (Outcome.NOT_ENOUGH_DATA, False)
    assert found.needs is not None
    assert f"about {found.needs:,.0f} more requests of the canary are needed" in found.reason


def test_what_it_says_it_needs_is_about_enough() -> None:
    needs = metric(shares([1] * 4, [1] * 4)).needs
    assert needs is not None
    periods = 4 + math.ceil(needs / 100)

    assert metric(shares([1] * periods, [1] * periods)).outcome is Outcome.PASS
    fewer = 4 + math.floor(needs / 200)
    assert metric(shares([1] * fewer, [1] * fewer)).outcome is Outcome.NOT_ENOUGH_DATA


def test_worse_by_what_is_allowed_cannot_be_told_at_all() -> None:
    found = metric(shares([2, 1, 3, 2] * 5, [1, 2, 0, 1] * 5))

    assert (found.outcome, found.needs) == (Outcome.NOT_ENOUGH_DATA, None)
    assert "too close to the limit" in found.reason


@pytest.mark.parametrize("periods", [1, 2])
def test_one_burst_or_two_periods_condemn_nobody(periods: int) -> None:
    found = metric(shares([90] * periods, [0] * periods))
    burst = metric(shares([0, 90, 0, 0, 0, 0], [0] * 6))

    assert found.outcome is burst.outcome is Outcome.NOT_ENOUGH_DATA
    assert found.needs == 100 * (3 - periods)


def test_more_periods_may_be_wanted_for_rare_bursts() -> None:
    pair = shares([0] * 10, [0] * 10)

    careful = judged(pair, policy=replace(POLICY, min_periods=30))

    assert careful.outcome is Outcome.NOT_ENOUGH_DATA
    assert careful.metrics[0].needs == 2000


def test_a_burst_that_lasts_longer_is_one_event() -> None:
    pair = shares([50] * 4, [0] * 4)

    told = metric(pair)
    as_one = metric(pair, replace(POLICY, burst_s=240))

    assert told.outcome is Outcome.FAIL
    assert (as_one.outcome, as_one.needs) == (Outcome.NOT_ENOUGH_DATA, 800)


def test_the_least_number_of_requests_is_a_floor() -> None:
    pair = shares([3] * 4, [0] * 4, requests=5)

    few = judged(pair, policy=replace(POLICY, min_requests=30))
    enough = judged(pair, policy=replace(POLICY, min_requests=20))

    assert (few.outcome, few.metrics[0].needs) == (Outcome.NOT_ENOUGH_DATA, 10)
    assert enough.outcome is Outcome.FAIL


def test_all_metrics_must_pass_and_one_that_fails_is_enough() -> None:
    good, open_, bad = (
        shares([0] * 10, [0] * 10),
        shares([1] * 4, [1] * 4),
        shares([20] * 5, [1] * 5),
    )

    assert judged(good, good).outcome is Outcome.PASS
    assert judged(good, open_).outcome is Outcome.NOT_ENOUGH_DATA
    assert judged(open_, bad, good).outcome is Outcome.FAIL


def test_the_false_alarm_rate_is_shared_by_metrics_and_steps() -> None:
    rates = rates_of(POLICY, metrics=2, steps=5)

    assert rates.fail == pytest.approx(0.005)
    assert rates.clear == pytest.approx(0.05)


def test_nothing_measured_is_told_and_fails_at_the_end_what_must_have_data() -> None:
    empty = Pair(spec=ERRORS, canary=(), baseline=counts([100], [1]))
    must = replace(empty, spec=replace(ERRORS, must_have=True))

    assert judged(empty, observed=1).outcome is Outcome.NOT_ENOUGH_DATA
    assert judged(empty).reasons == (
        "errors: nothing was measured of the canary (not_enough_data)",
    )
    assert judged(must).outcome is Outcome.NOT_ENOUGH_DATA
    assert judged(must, observed=1).outcome is Outcome.FAIL
    assert judged().outcome is Outcome.NOT_ENOUGH_DATA


def test_periods_of_one_side_alone_join_the_next() -> None:
    canary = counts([0, 100, 0, 100, 100, 100], [0, 30, 0, 30, 30, 30])
    baseline = counts([100, 100, 100, 0, 100, 100], [1, 1, 1, 0, 1, 1])

    verdict = judged(Pair(spec=ERRORS, canary=canary, baseline=baseline))

    assert verdict.outcome is Outcome.FAIL
    assert verdict.metrics[0].numbers["canary_events"] == 400


@pytest.mark.parametrize(
    ("direction", "canary", "outcome"),
    [
        (Direction.INCREASE, 30, Outcome.FAIL),
        (Direction.INCREASE, 1, Outcome.PASS),
        (Direction.DECREASE, 30, Outcome.PASS),
        (Direction.DECREASE, 1, Outcome.FAIL),
        (Direction.EITHER, 30, Outcome.FAIL),
        (Direction.EITHER, 1, Outcome.FAIL),
    ],
)
def test_only_the_wrong_direction_fails(
    direction: Direction, canary: float, outcome: Outcome
) -> None:
    pair = shares([canary] * 10, [15] * 10, spec=replace(ERRORS, direction=direction))

    assert metric(pair).outcome is outcome


def test_either_way_passes_when_both_are_ruled_out() -> None:
    spec = replace(ERRORS, direction=Direction.EITHER, tolerance=0.05)

    assert metric(shares([2, 3] * 10, [3, 2] * 10, spec=spec)).outcome is Outcome.PASS


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(3, 12))
def test_the_interval_holds_the_estimate_and_agrees_with_the_verdict(
    bad: int, others: int, periods: int
) -> None:
    pair = shares([bad] * periods, [others] * periods)
    found = metric(pair)

    low, high = found.numbers["low"], found.numbers["high"]
    assert low <= found.numbers["canary"] - found.numbers["baseline"] + 1e-6
    assert high >= found.numbers["canary"] - found.numbers["baseline"] - 1e-6
    if found.outcome is Outcome.FAIL:
        assert low >= ERRORS.tolerance
    if found.outcome is Outcome.PASS:
        assert high <= ERRORS.tolerance


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(0, 20))
def test_more_of_the_same_never_widens_the_interval(bad: int, others: int) -> None:
    few, many = (metric(shares([bad] * k, [others] * k)).numbers for k in (4, 16))

    assert many["low"] >= few["low"] - 1e-6
    assert many["high"] <= few["high"] + 1e-6


@pytest.mark.parametrize(
    ("factor", "outcome"),
    [(1.0, Outcome.PASS), (1.6, Outcome.FAIL), (1.1, Outcome.NOT_ENOUGH_DATA)],
)
def test_quantiles_of_requests(factor: float, outcome: Outcome) -> None:
    found = metric(seconds(7, factor, periods=60))

    assert found.outcome is outcome
    assert found.numbers["low"] < factor < found.numbers["high"]
    assert found.reason.startswith("latency: p90 of 3,000 numbers of the canary is 0.")


def test_one_number_by_period_is_enough_for_a_median() -> None:
    spec = replace(P90, quantile=0.5)

    def side(middle: float) -> tuple[Value, ...]:
        return tuple(
            Value(at=NOW + timedelta(minutes=i), value=middle + i * 7 % 5) for i in range(20)
        )

    pair = Pair(spec=spec, canary=side(50), baseline=side(30))
    found = metric(pair)  # though there are fewer than `min_requests`

    assert found.outcome is Outcome.FAIL
    assert "the median of 20 numbers" in found.reason
    one = replace(pair, canary=pair.canary[:1], baseline=pair.baseline[:1])
    assert metric(one).outcome is Outcome.NOT_ENOUGH_DATA


def test_values_that_are_never_at_one_time_are_no_data() -> None:
    def side(*minutes: int) -> tuple[Value, ...]:
        return tuple(Value(at=NOW + timedelta(minutes=i), value=1.0) for i in minutes)

    for canary, baseline in (((2, 7), (4, 9)), ((2,), (1,))):
        pair = Pair(spec=P90, canary=side(*canary), baseline=side(*baseline))
        assert metric(pair).outcome is Outcome.NOT_ENOUGH_DATA


def test_a_missing_number_is_a_zero_where_the_metric_says_so() -> None:
    spec = replace(P90, quantile=0.5, nan=NanStrategy.REPLACE)
    at = [NOW + timedelta(minutes=i) for i in range(30)]
    quiet = tuple(Value(at=one, value=math.nan) for one in at)
    loud = tuple(Value(at=one, value=5.0) for one in at)

    assert metric(Pair(spec=spec, canary=loud, baseline=quiet)).outcome is Outcome.FAIL
    assert metric(Pair(spec=spec, canary=quiet, baseline=quiet)).outcome is Outcome.PASS
    bare = replace(spec, nan=NanStrategy.REMOVE)
    assert metric(Pair(spec=bare, canary=loud, baseline=quiet)).outcome is Outcome.NOT_ENOUGH_DATA


def test_values_below_zero_are_compared_rightly() -> None:
    spec = replace(P90, quantile=0.5)

    def side(middle: float) -> tuple[Value, ...]:
        return tuple(
            Value(at=NOW + timedelta(minutes=i), value=middle + i * 7 % 5 / 10) for i in range(60)
        )

    assert metric(Pair(spec=spec, canary=side(-10), baseline=side(-10))).outcome is Outcome.PASS
    assert metric(Pair(spec=spec, canary=side(-5), baseline=side(-10))).outcome is Outcome.FAIL


@settings(max_examples=10)
@given(st.floats(0.01, 1000), st.integers(0, 5))
def test_the_unit_of_values_does_not_matter(scale: float, seed: int) -> None:
    pair = seconds(seed, 1.3)

    def scaled(side: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(replace(v, value=v.value * scale) for v in side)

    assert isinstance(pair.canary[0], Value)
    one = metric(pair)
    other = metric(
        replace(pair, canary=scaled(pair.canary), baseline=scaled(pair.baseline))  # type: ignore[arg-type]
    )

    assert one.outcome is other.outcome
    assert one.numbers["low"] == pytest.approx(other.numbers["low"], rel=1e-3)


def test_missing_values_are_left_out() -> None:
    pair = seconds(7, 1.6, periods=60)
    gap = Value(at=NOW, value=math.nan)
    with_gaps = replace(pair, canary=(gap, *pair.canary), baseline=(gap, *pair.baseline))

    assert metric(with_gaps).numbers == metric(pair).numbers


def test_false_alarms_of_whole_verdicts_are_rare() -> None:
    errors, slow = (replace(m, tolerance=0.0) for m in metrics_of(POLICY))
    alarms = 0
    for seed in range(40):
        pairs = [drawn(seed, 0.01, 0.01, spec=errors), drawn(seed + 500, 0.05, 0.05, spec=slow)]
        for looks in (5, 10, 30):
            seen = [
                replace(pair, canary=pair.canary[:looks], baseline=pair.baseline[:looks])
                for pair in pairs
            ]
            if judged(*seen).outcome is Outcome.FAIL:
                alarms += 1
                break

    assert alarms <= 4  # of 40 at a stated rate of 5 %, which makes 2; measured: 0
