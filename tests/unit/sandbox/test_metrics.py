"""CloudWatch's arithmetic: statistics, metric math, the store."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.sandbox.metric_math import Expression
from ovenbird.sandbox.metric_queries import parse_queries, solve
from ovenbird.sandbox.metric_statistics import statistic
from ovenbird.sandbox.metric_store import KEPT_S, Metric, MetricStore

LATENCY = {0.1: 90.0, 0.5: 5.0, 0.6: 4.0, 2.0: 1.0}
NOW = 1_800_000_000
METRIC = Metric(namespace="Test", name="RequestCount")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SampleCount", 100),
        ("Sum", 15.9),
        ("Average", 0.159),
        ("Minimum", 0.1),
        ("Maximum", 2.0),
        ("p50", 0.1),
        ("p95", 0.5),
        ("p99", 0.6),
        ("p99.9", 2.0),
        ("p100", 2.0),
        ("TC(0.5:)", 5),
        ("TC(:0.5)", 95),
        ("TC(0.1:0.5)", 5),
        ("TS(0.5:)", 4.4),
        ("TM(0.5:)", 0.88),
        ("TM(5:)", 0),
        ("PR(:0.5)", 95),
        ("PR(0.1:0.6)", 9),
    ],
)
def test_a_statistic_is_exact(name: str, value: float) -> None:
    assert statistic(name)(LATENCY) == pytest.approx(value)


@pytest.mark.parametrize(
    "name", ["", "sum", "p101", "p", "TC(:)", "TC(10%:90%)", "WM(0:1)", "TC(0.5)", "p99;", "IQM"]
)
def test_an_unknown_statistic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        statistic(name)


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_a_percentile_is_what_so_many_percent_do_not_exceed(values: list[int], of: int) -> None:
    counted = {float(value): float(values.count(value)) for value in set(values)}

    found = statistic(f"p{of}")(counted)

    assert sum(value <= found for value in values) >= len(values) * of / 100
    assert sum(value < found for value in values) < len(values) * of / 100
    assert statistic("Average")(counted) == pytest.approx(statistics.fmean(values))


SERIES = {"errors": {0: 5.0, 2: 1.0}, "requests": {0: 10.0, 1: 20.0, 3: 0.0}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100 * FILL(errors, 0) / requests", {0: 50.0, 1: 0.0}),
        ("errors / requests", {0: 0.5}),
        ("requests - errors", {0: 5.0}),
        ("(errors + 1) * 2", {0: 12.0, 2: 4.0}),
        ("-errors", {0: -5.0, 2: -1.0}),
        ("FILL(errors, requests)", {0: 5.0, 1: 20.0, 2: 1.0, 3: 0.0}),
        ("errors", {0: 5.0, 2: 1.0}),
        ("1 / requests", {0: 0.1, 1: 0.05}),
    ],
)
def test_metric_math(text: str, value: dict[int, float]) -> None:
    assert Expression(text).series(SERIES, range(5)) == pytest.approx(value)


def test_fill_gives_every_period_a_value() -> None:
    assert Expression("FILL(errors, 0)").series(SERIES, range(3)) == {0: 5.0, 1: 0.0, 2: 1.0}
    assert Expression("FILL(errors, 0)").names == {"errors"}


@pytest.mark.parametrize(
    "text",
    ["", "1 +", "SUM(m1)", "m1 ** 2", "FILL(m1)", "m1 > 2", "m1.x", "__import__('os')", "'a'",
     "FILL(m1, value=0)", "True", "m1 if m2 else m3", "SELECT AVG(x)"],
)  # fmt: skip
def test_math_that_is_not_built_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="The expression"):
        Expression(text)


def store(now: list[float] | None = None) -> MetricStore:
    clock = now or [NOW]
    return MetricStore(now=lambda: clock[0])


def test_values_with_counts_are_kept_as_they_are() -> None:
    found = store()
    found.put(METRIC, NOW, {0.1: 2.0, 0.3: 1.0})
    found.put(METRIC, NOW + 0.9, {0.1: 3.0})
    found.put(METRIC, NOW + 1, {9.0: 1.0})

    times = range(NOW, NOW + 2, 1)
    seen = {
        name: found.series(METRIC, statistic(name), times=times, end=NOW + 2)
        for name in ("SampleCount", "Maximum", "p80")
    }
    assert seen == {
        "SampleCount": {NOW: 6.0, NOW + 1: 1.0},
        "Maximum": {NOW: 0.3, NOW + 1: 9.0},
        "p80": {NOW: 0.1, NOW + 1: 9.0},
    }


def test_what_was_never_observed_is_no_value() -> None:
    found = store()
    found.put(METRIC, NOW, {0.1: 0.0})
    found.put(METRIC, NOW, {})

    share = statistic("PR(0.5:)")  # would divide by the number of values
    assert found.series(METRIC, share, times=range(NOW, NOW + 1), end=NOW + 1) == {}
    assert found.list_metrics() == ()


def test_periods_begin_at_multiples_and_end_before_the_end() -> None:
    found = store()
    for second in range(-5, 15):
        found.put(METRIC, NOW + second, {1.0: 1.0})

    times = range(NOW, NOW + 12, 5)
    series = found.series(METRIC, statistic("Sum"), times=times, end=NOW + 12)

    assert series == {NOW: 5.0, NOW + 5: 5.0, NOW + 10: 2.0}


def test_another_namespace_or_set_of_dimensions_is_another_metric() -> None:
    one = Metric.of("Test", "n", [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}])
    same = Metric.of("Test", "n", [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}])
    found = store()
    found.put(one, NOW, {1.0: 1.0})

    others = (
        Metric.of("Other", "n", [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}]),
        Metric.of("Test", "n", [{"Name": "a", "Value": "1"}]),
        Metric.of("Test", "n", []),
    )
    times = range(NOW, NOW + 60, 60)
    assert found.series(same, sum, times=times, end=NOW + 60) == {NOW: 1.0}
    assert [found.series(m, sum, times=times, end=NOW + 60) for m in others] == [{}, {}, {}]


def test_what_is_older_than_three_hours_is_forgotten() -> None:
    now = [float(NOW)]
    found = store(now)
    found.put(METRIC, NOW, {1.0: 1.0})
    found.put(METRIC, NOW - KEPT_S - 1, {1.0: 1.0})
    assert found.series(METRIC, sum, times=range(0, NOW, NOW), end=NOW) == {}

    now[0] += KEPT_S + 61
    found.put(Metric(namespace="Test", name="new"), now[0], {1.0: 1.0})

    assert found.list_metrics() == (Metric(namespace="Test", name="new"),)


def raw_query(name: str, **others: Any) -> dict[str, Any]:
    metric = {"Namespace": "Test", "MetricName": "RequestCount"}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}} | others


@pytest.mark.parametrize(
    "raws",
    [
        [{"Id": "e", "Expression": "m * 2"}],
        [raw_query("M")],
        [raw_query("m"), raw_query("m")],
        [raw_query("m", Expression="1")],
        [{"Id": "m"}],
        [{"Id": "a", "Expression": "b"}, {"Id": "b", "Expression": "a"}],
        [{"Id": "a", "Expression": "a + 1"}],
        [raw_query("m") | {"MetricStat": {**raw_query("m")["MetricStat"], "Period": 7}}],
        [raw_query("m") | {"MetricStat": {**raw_query("m")["MetricStat"], "Stat": "p0.x"}}],
    ],
)
def test_a_query_that_makes_no_sense_is_refused(raws: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        parse_queries(raws)


def test_expressions_may_use_expressions_in_any_order() -> None:
    found = store()
    found.put(METRIC, NOW, {1.0: 8.0})
    queries = parse_queries(
        [
            {"Id": "half", "Expression": "double / 4"},
            {"Id": "double", "Expression": "m * 2", "ReturnData": False},
            raw_query("m", ReturnData=False),
        ]
    )

    results = solve(queries, found, start=NOW, end=NOW + 60)

    assert [dict(result.series) for result in results] == [{NOW: 4.0}, {NOW: 16.0}, {NOW: 8.0}]
    assert [result.query.returned for result in results] == [True, False, False]


def test_a_constant_needs_no_metric() -> None:
    (result,) = solve(parse_queries([{"Id": "a", "Expression": "3"}]), store(), start=0, end=120)

    assert result.series == {0: 3.0, 60: 3.0}


@given(st.dictionaries(st.integers(0, 59), st.integers(1, 5), min_size=1), st.integers(0, 3))
def test_the_sum_over_periods_is_the_sum_of_all(seconds: dict[int, int], which: int) -> None:
    found = store()
    for second, times in seconds.items():
        found.put(METRIC, NOW + second, {1.0: float(times)})
    period = (1, 5, 10, 60)[which]

    series = found.series(
        METRIC, statistic("Sum"), times=range(NOW, NOW + 60, period), end=NOW + 60
    )

    assert math.fsum(series.values()) == sum(seconds.values())
    assert all(begin % period == NOW % period for begin in series)
