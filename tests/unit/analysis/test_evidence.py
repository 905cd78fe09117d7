"""Evidence on shares: what it is not moved by, and how seldom it errs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.analysis.evidence import Floats, Totals, deviance, log_evidence, tally

SCALES = (0.01, 0.05)
PAIRS, PERIODS = 400, 60


def told(
    n: Floats, x: Floats, m: Floats, y: Floats, *, limit: float = 0.0, above: bool = True
) -> Floats:
    return log_evidence(tally(n, x, m, y), limit, SCALES, above=above)


def full(value: float, periods: int = 20) -> Floats:
    return np.full(periods, float(value))


def some(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def test_the_deviance_is_twice_the_log_likelihood_ratio() -> None:
    n, x, m, y = some(100), some(10), some(100), some(2)
    totals = Totals(n=n, x=x, m=m, y=y, spreads=())

    signed, information = deviance(totals, 0.0)

    both = 12 / 200
    ratio = 10 * np.log(0.1 / both) + 90 * np.log(0.9 / (1 - both))
    ratio += 2 * np.log(0.02 / both) + 98 * np.log(0.98 / (1 - both))
    assert signed[0] == pytest.approx(2 * ratio)
    assert information[0] == pytest.approx(1 / (2 * both * (1 - both) / 100), rel=0.1)


def test_at_the_estimate_there_is_no_evidence() -> None:
    totals = Totals(n=some(100), x=some(10), m=some(100), y=some(2), spreads=())

    assert deviance(totals, 0.08)[0][0] == pytest.approx(0, abs=1e-9)
    assert deviance(totals, 0.1)[0][0] < 0
    assert deviance(totals, 0.05)[0][0] > 0


def test_a_baseline_of_another_size_is_taken_at_the_canarys_times() -> None:
    n, m = some(10, 10, 100, 100), some(190, 190, 100, 100)  # traffic moves to the canary
    rate = some(0.01, 0.01, 0.2, 0.2)  # while everything goes wrong for both

    totals = tally(n, n * rate, m, m * rate)

    assert (totals.x / totals.n)[-1] == pytest.approx((totals.y / totals.m)[-1])


def test_bursts_on_both_sides_cancel() -> None:
    n, rate = full(100), some(*([0.01] * 9 + [0.5])).repeat(2)

    totals = tally(n, n * rate, n, n * rate)

    assert totals.spreads[0][1][-1] == pytest.approx(0, abs=1e-9)


def test_one_burst_is_no_evidence_and_a_steady_fault_is() -> None:
    n, none = full(100), full(0)
    burst = none.copy()
    burst[3] = 60

    assert told(n, burst, n, none).max() < np.log(20)
    assert told(n, full(3), n, none)[-1] > np.log(1000)


def test_bursts_that_last_longer_are_less_evidence() -> None:
    n = full(100, 64)
    long = np.repeat(np.tile(some(20, 0, 0, 0, 0, 0, 0, 0), 2), 4)
    short = np.tile(some(20, 0, 0, 0, 0, 0, 0, 0), 8)

    assert told(n, long, n, full(0, 64))[-1] < told(n, short, n, full(0, 64))[-1]


counted = st.lists(
    st.tuples(st.integers(4, 50), st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12
)


@given(counted, st.floats(-0.2, 0.2), st.sampled_from([1.0, 2.0, 9.0]))
def test_sides_may_be_swapped(rows: list[tuple[int, int, int]], limit: float, ratio: float) -> None:
    n, x, y = np.array(rows, dtype=np.float64).T
    m = n * ratio  # always the same, or the times would weigh differently

    one = told(n, x, m, y, limit=limit)
    other = told(m, y, n, x, limit=-limit, above=False)

    assert one == pytest.approx(other, abs=1e-6)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(-0.3, 0.3), st.integers(2, 20))
def test_more_of_the_same_never_weakens_what_is_proven(
    bad: int, others: int, limit: float, times: int
) -> None:
    totals = tally(full(100), full(bad), full(100), full(others)).at(slice(-1, None))

    few = log_evidence(totals, limit, SCALES, above=True)[0]
    many = log_evidence(totals.times(times), limit, SCALES, above=True)[0]

    if few >= np.log(10):
        assert many >= few


@given(st.integers(0, 30), st.integers(0, 10), st.floats(-0.2, 0.2))
def test_more_errors_are_more_evidence(bad: int, more: int, limit: float) -> None:
    one, other = (
        told(full(100), full(b), full(100), full(5), limit=limit) for b in (bad, bad + more)
    )

    assert other[-1] >= one[-1] - 1e-9


@given(st.floats(-0.3, 0.3), st.floats(0, 0.2))
def test_a_higher_limit_is_harder_to_prove(limit: float, more: float) -> None:
    totals = tally(full(100), full(10), full(100), full(5)).at(slice(-1, None))

    one, other = (log_evidence(totals, by, SCALES, above=True)[0] for by in (limit, limit + more))

    assert other <= max(one, 0) + 1e-6


def simulated(kind: str, seed: int, more: float = 0.0) -> tuple[Floats, Floats, Floats, Floats]:
    random = np.random.default_rng(seed)
    shape = (PAIRS, PERIODS)
    n, m = (np.maximum(random.poisson(100, shape), 1) for _ in range(2))

    def share(rate: float) -> Floats:
        if kind == "bursty":
            return np.where(random.random(shape) < 0.1, 9.1 * rate, 0.1 * rate)
        if kind == "heavy":
            return np.minimum(random.pareto(1.5, shape) * rate / 2, 1)
        return np.full(shape, rate)

    x, y = random.binomial(n, share(0.01 + more)), random.binomial(m, share(0.01))
    return n.astype(float), x.astype(float), m.astype(float), y.astype(float)


@pytest.mark.parametrize("kind", ["poisson", "bursty", "heavy"])
def test_false_alarms_are_as_rare_as_stated_however_often_one_looks(kind: str) -> None:
    evidence = told(*simulated(kind, seed=11))[:, 2:]

    alarms = (evidence >= np.log(20)).any(1).mean()
    assert alarms <= 0.05  # measured: 0.01, 0.01, 0.02


def test_a_fault_is_found_soon() -> None:
    evidence = told(*simulated("poisson", seed=12, more=0.05))[:, 2:]

    found = (evidence >= np.log(40)).argmax(1) + 3
    assert (evidence[:, -1] >= np.log(40)).all()
    assert np.median(found) <= 8  # periods of 100 requests; measured: 5


@settings(max_examples=20)
@given(st.integers(3, 40))
def test_each_look_sees_only_what_was_before(periods: int) -> None:
    n, x, m, y = (array[:2] for array in simulated("bursty", seed=13))

    all_looks = told(n, x, m, y)
    last_look = told(n[:, :periods], x[:, :periods], m[:, :periods], y[:, :periods])

    assert all_looks[:, periods - 1] == pytest.approx(last_look[:, -1])
