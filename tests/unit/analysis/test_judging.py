"""One door for both methods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ovenbird.analysis.judging import judge
from ovenbird.domain.apps import JudgePolicy, metrics_of
from ovenbird.domain.judging import Counts, Method, MetricSpec, Pair
from ovenbird.domain.verdicts import Outcome

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def counts(periods: int, total: float, bad: float) -> tuple[Counts, ...]:
    return tuple(
        Counts(at=NOW + timedelta(minutes=i), total=total, bad=bad) for i in range(periods)
    )


def pair(spec: MetricSpec, *, canary: float, baseline: float, periods: int = 12) -> Pair:
    return Pair(
        spec=spec, canary=counts(periods, 200, canary), baseline=counts(periods, 1000, baseline)
    )


@pytest.mark.parametrize("method", list(Method))
def test_both_methods_tell_a_bad_canary_from_a_good_one(method: Method) -> None:
    policy = JudgePolicy(method=method)
    errors, slow = metrics_of(policy)
    good = [pair(errors, canary=1, baseline=5), pair(slow, canary=2, baseline=11)]
    bad = [pair(errors, canary=20, baseline=5), pair(slow, canary=2, baseline=11)]

    assert judge(good, policy).outcome is Outcome.PASS
    assert judge(bad, policy).outcome is Outcome.FAIL


def test_metrics_are_the_built_in_ones_unless_named() -> None:
    own = MetricSpec(name="own", source=metrics_of(JudgePolicy())[0].source)

    assert [m.name for m in metrics_of(JudgePolicy())] == ["errors", "slow"]
    assert [m.tolerance for m in metrics_of(JudgePolicy())] == [0.01, 0.05]
    assert metrics_of(JudgePolicy(metrics=(own,))) == (own,)
