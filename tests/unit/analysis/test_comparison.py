"""When a canary is worse, when chance may have done it, and when nobody can tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.analysis.comparison import compare
from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.verdicts import Outcome, Sample, Verdict
from tests.unit.domain.clusters_model import NOW, name

POLICY = JudgePolicy(
    max_error_rate_increase=0.01, max_slow_share_increase=0.05, min_requests=30, confidence=0.95
)


def sample(requests: float, *, errors: float = 0, slow: float = 0) -> Sample:
    return Sample(
        name=name(1), since=NOW, until=NOW, requests=requests, errors=errors, slow=slow
    )  # fmt: skip


def judged(canary: Sample, baseline: Sample, *, observed: float = 1.0) -> Verdict:
    return compare(canary, baseline, POLICY, observed=observed)


@pytest.mark.parametrize(
    ("canary", "baseline", "outcome"),
    [
        (sample(1000), sample(9000), Outcome.PASS),
        (sample(1000, errors=200), sample(9000), Outcome.FAIL),
        (sample(1000, slow=200), sample(9000), Outcome.FAIL),
        (sample(1000, errors=200, slow=0), sample(9000, errors=1800), Outcome.PASS),
        (sample(1000, errors=10), sample(9000), Outcome.PASS),  # no more than is allowed
        (sample(1000, errors=12), sample(9000), Outcome.MARGINAL),  # more, but by chance?
        (sample(1000, slow=60), sample(9000), Outcome.MARGINAL),
        (sample(1000, errors=12, slow=200), sample(9000), Outcome.FAIL),  # the worst counts
        (sample(29), sample(9000), Outcome.NOT_ENOUGH_DATA),
        (sample(30), sample(0), Outcome.NOT_ENOUGH_DATA),
        (sample(0), sample(0), Outcome.NOT_ENOUGH_DATA),
    ],
)
def test_the_outcome(canary: Sample, baseline: Sample, outcome: Outcome) -> None:
    verdict = judged(canary, baseline)

    assert verdict.outcome is outcome
    assert (verdict.canary, verdict.baseline) == (canary, baseline)


def test_the_reasons_have_the_numbers() -> None:
    verdict = judged(sample(1000, errors=200), sample(9000, errors=9))

    assert verdict.reasons == (
        (
            "The canary answered 5xx to 20.0% of 1000 requests, the other group 0.1% of 9000;"
            " 1.0% more is allowed (fail)"
        ),
        (
            "The canary took over 0.5 s for 0.0% of 1000 requests, the other group 0.0% of 9000;"
            " 5.0% more is allowed (pass)"
        ),
    )


def test_an_early_look_condemns_only_what_is_plain() -> None:
    some, many = sample(100, errors=6), sample(100, errors=30)

    assert judged(some, sample(900)).outcome is Outcome.FAIL
    assert judged(some, sample(900), observed=0.25).outcome is Outcome.MARGINAL
    assert judged(many, sample(900), observed=0.25).outcome is Outcome.FAIL


counts = st.integers(30, 100_000)


@given(counts, counts, st.data())
def test_as_good_as_the_other_group_is_never_condemned(
    canary: int, baseline: int, data: st.DataObject
) -> None:
    share = data.draw(st.floats(0, 1))
    ours = sample(canary, errors=share * canary, slow=share * canary)
    theirs = sample(baseline, errors=share * baseline, slow=share * baseline)

    assert judged(ours, theirs).outcome is Outcome.PASS


@given(counts, counts, st.data(), st.floats(0, 1))
def test_more_errors_are_never_judged_better(
    canary: int, baseline: int, data: st.DataObject, observed: float
) -> None:
    order = (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL)
    few = data.draw(st.integers(0, canary))
    more = data.draw(st.integers(few, canary))

    first = judged(sample(canary, errors=few), sample(baseline), observed=observed)
    second = judged(sample(canary, errors=more), sample(baseline), observed=observed)

    assert order.index(first.outcome) <= order.index(second.outcome)
