"""The bench of the judge asks what the judge says, on all pairs at once."""

from __future__ import annotations

import numpy as np
import pytest

from bench import judging as bench
from ovenbird.analysis.kayenta import Class, classified
from ovenbird.analysis.ranks import can_tell


def test_it_says_the_same_as_the_judge() -> None:
    bench.check(np.random.default_rng(1))


@pytest.mark.parametrize("more", [0.0, 0.03])
def test_compare_is_kayentas_method(more: float) -> None:
    random = np.random.default_rng(2)
    sides = bench.simulated(bench.TRAFFIC[0], 40, random, more=more, periods=12)
    ours, theirs = sides.until(12)

    found = bench.compare(ours, theirs).tolist()

    confidence = 0.98
    assert can_tell(12, 12, confidence=confidence)
    assert found == [
        classified(a, b, bench.ERRORS, confidence=confidence).name is Class.HIGH
        for a, b in zip(ours, theirs, strict=True)
    ]


def test_traffic_has_the_rate_that_it_says() -> None:
    random = np.random.default_rng(3)
    for traffic in bench.TRAFFIC:
        sides = bench.simulated(traffic, 400, random, more=0.01)

        assert sides.x.sum() / sides.n.sum() == pytest.approx(traffic.rate + 0.01, rel=0.25)
        assert sides.y.sum() / sides.m.sum() == pytest.approx(traffic.rate, rel=0.25)


def test_false_alarms_of_a_threshold_are_many_and_ours_few() -> None:
    ours, _, _, threshold = bench.false_alarms(bench.TRAFFIC[0], 60, np.random.default_rng(4))

    assert ours <= 0.1  # stated: 0.05
    assert threshold > 0.3


def test_a_look_at_a_quantile_finds_what_is_there() -> None:
    random = np.random.default_rng(5)
    slow, fast = bench.latencies(1, 20, 2.0, random)

    assert bench.quantile_look(slow[0], fast[0], 0.99, 0.05)
    assert not bench.quantile_look(fast[0], fast[0], 0.99, 0.05)
