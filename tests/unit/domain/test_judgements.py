"""What is kept of looks comes back as it was, though each keeps only what is new."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.guards import Guards, flaps, instance_reasons, restarts
from ovenbird.domain.judgements import joined, news, pairs_of, samples_of
from ovenbird.domain.judging import (
    CloudWatchSource,
    Counts,
    LoadBalancerSource,
    MetricSpec,
    Pair,
    Value,
)
from ovenbird.domain.measuring import Measured, Sides, pair, sample_of
from ovenbird.domain.names import ServerGroupName

SHARE = MetricSpec(name="errors", source=LoadBalancerSource(what="errors"), is_share=True)
VALUE = MetricSpec(name="cpu", source=CloudWatchSource(namespace="AWS/EC2", metric="Busy"))
TIMES = st.lists(st.integers(0, 20), unique=True).map(sorted)


def at(minute: int) -> datetime:
    return datetime.fromtimestamp(1_764_000_000 + minute * 60, UTC)


def sides_of(item: Callable[[int], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return TIMES.flatmap(lambda times: st.tuples(*(item(minute) for minute in times)))


def count(minute: int) -> st.SearchStrategy[Counts]:
    return st.builds(Counts, at=st.just(at(minute)), total=st.just(9.0), bad=st.integers(0, 9))


def number(minute: int) -> st.SearchStrategy[Value]:
    numbers = st.one_of(st.floats(-9, 9), st.just(math.nan))
    return st.builds(Value, at=st.just(at(minute)), value=numbers)


SHARES, VALUES = sides_of(count), sides_of(number)
LOOKS = st.lists(
    st.tuples(
        st.builds(Pair, spec=st.just(SHARE), canary=SHARES, baseline=SHARES),
        st.builds(Pair, spec=st.just(VALUE), canary=VALUES, baseline=VALUES),
    ),
    min_size=1,
    max_size=5,
)


@given(LOOKS)
def test_each_look_comes_back_from_what_was_new_in_it(looks: list[tuple[Pair, ...]]) -> None:
    known: Any = {}
    for pairs in looks:
        kept = json.loads(json.dumps(news(known, samples_of(pairs)), allow_nan=False))
        known = joined(known, kept)

        assert repr(pairs_of(known, (SHARE, VALUE))) == repr(pairs)  # NaN is not equal to itself


def test_a_look_that_saw_nothing_new_keeps_nothing() -> None:
    pairs = (Pair(spec=SHARE, canary=(Counts(at=at(1), total=9, bad=1),), baseline=()),)

    assert news(samples_of(pairs), samples_of(pairs)) == {}


def test_metrics_that_were_not_measured_or_are_of_another_kind_are_left_out() -> None:
    known = samples_of((Pair(spec=SHARE, canary=(Counts(at=at(1), total=9, bad=1),), baseline=()),))
    other = MetricSpec(name="errors", source=SHARE.source, is_share=False)

    assert pairs_of(known, (VALUE, other)) == ()


SERIES = st.dictionaries(st.integers(0, 9), st.floats(allow_nan=True, allow_infinity=True))


@given(SERIES, SERIES, SERIES, SERIES)
def test_pairs_are_aligned_and_shares_never_hold_more_bad_than_all(
    one: dict[int, float], two: dict[int, float], three: dict[int, float], four: dict[int, float]
) -> None:
    both = (Measured(found=one, total=two), Measured(found=three, total=four))
    for spec in (SHARE, VALUE):
        found = pair(spec, both, range(10))

        assert [c.at for c in found.canary] == [b.at for b in found.baseline]
        assert [c.at for c in found.canary] == sorted(c.at for c in found.canary)
        for item in (*found.canary, *found.baseline):
            assert isinstance(item, Value) or 0 <= item.bad <= item.total < math.inf


def test_what_is_not_there_yet_is_left_out_and_what_is_missing_between_is_not() -> None:
    both = (Measured(found={0: 1.0, 2: 3.0}), Measured(found={0: 1.0}))

    found = pair(VALUE, both, range(5))

    assert [v.value for v in found.canary if isinstance(v, Value)][::2] == [1.0, 3.0]
    assert len(found.canary) == len(found.baseline) == 3


def test_sums_are_those_of_the_load_balancer() -> None:
    name = ServerGroupName.parse("hello-prod-v002")
    sides = Sides(canary=name, baseline=name, since=at(0), until=at(5), slow_s=1)
    slow = MetricSpec(name="late", source=LoadBalancerSource(what="slow"), is_share=True)
    side = (Counts(at=at(0), total=10, bad=2), Counts(at=at(1), total=10, bad=1))
    pairs = (
        Pair(spec=SHARE, canary=side, baseline=()),
        Pair(spec=slow, canary=side[:1], baseline=()),
    )

    found = sample_of(pairs, sides, is_canary=True)

    assert found is not None
    assert (found.requests, found.errors, found.slow) == (20, 3, 2)
    assert sample_of((), sides, is_canary=True) is None


STATES = st.dictionaries(
    st.sampled_from(["i-1", "i-2", "i-3"]),
    st.sampled_from(["healthy", "unhealthy", "starting", "draining"]),
)


@given(st.lists(STATES), STATES)
def test_what_was_counted_once_stays_counted(
    looks: list[dict[str, str]], more: dict[str, str]
) -> None:
    assert flaps([*looks, more]) >= flaps(looks)
    assert instance_reasons(looks, Guards(flaps=None, restarts=None)) == ()


def test_a_new_instance_that_gets_healthy_is_no_restart() -> None:
    assert restarts([{"i-1": "healthy"}, {"i-1": "healthy", "i-2": "starting"}]) == 0
    assert restarts([{"i-1": "healthy"}, {"i-2": "healthy"}]) == 1
    assert restarts([]) == 0
    assert restarts([{"i-1": "healthy"}, {"i-1": "healthy", "i-2": "healthy"}]) == 0, "it grew"
    assert restarts([{"i-1": "healthy", "i-2": "healthy"}, {"i-1": "healthy"}]) == 0, "it shrank"
