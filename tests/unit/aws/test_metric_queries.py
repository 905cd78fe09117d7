"""What is asked of CloudWatch: as few calls as it takes, each thing once, ids of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.aws.metric_queries import AT_ONCE, Math, Side, Stat, asked, calls, renamed
from ovenbird.domain.judging import CloudWatchSource, LoadBalancerSource

ONE = Side(server_group="hello-prod-v002", target_group="targetgroup/h/2", load_balancer="app/b/1")


def stat(name: str) -> Stat:
    return Stat(namespace="Hello", metric=name, statistic="Sum", dimensions=())


def test_errors_and_slow_answers_share_the_requests() -> None:
    wanted = [
        one
        for what in ("errors", "slow")
        for one in asked(LoadBalancerSource(what=what), ONE, 0.3)
        if one
    ]

    (call,) = calls(wanted, 60)

    found = [(q["MetricStat"]["Metric"]["MetricName"], q["MetricStat"]["Stat"])
             for q in call.queries]  # fmt: skip
    assert found == [
        ("HTTPCode_Target_5XX_Count", "Sum"), ("RequestCount", "Sum"),
        ("TargetResponseTime", "TC(0.3:)"),
    ]  # fmt: skip
    assert call.queries[0]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "LoadBalancer", "Value": "app/b/1"},
        {"Name": "TargetGroup", "Value": "targetgroup/h/2"},
    ]


def test_an_expression_gets_ids_of_the_call_and_names_of_the_side() -> None:
    source = CloudWatchSource(
        expression="FILL(busy, 0) / SUM(busy) + IF(all > 1, 0, 'busy {server_group}')",
        metrics={"busy": ("Hello", "busy", "Sum"), "all": ("Hello", "all", "Sum")},
        dimensions={"Group": "{server_group}"},
    )

    (call,) = calls([asked(source, ONE, 0)[0]], 60)

    *inputs, whole = call.queries
    assert [query["MetricStat"]["Metric"]["MetricName"] for query in inputs] == ["busy", "all"]
    dimensions = inputs[0]["MetricStat"]["Metric"]["Dimensions"]
    assert dimensions == [{"Name": "Group", "Value": "hello-prod-v002"}]
    assert whole["Expression"] == (
        "FILL(q0, 0) / SUM(q0) + IF(q1 > 1, 0, 'busy hello-prod-v002')"
    )  # fmt: skip


def test_a_share_has_its_total_with_the_same_dimensions() -> None:
    source = CloudWatchSource(
        namespace="Hello", metric="failed", statistic="Sum",
        dimensions={"Group": "{server_group}"}, total=("Hello", "all", "Sum"),
    )  # fmt: skip

    found, total = asked(source, ONE, 0)

    assert isinstance(found, Stat)
    assert total is not None
    assert (total.metric, total.dimensions) == ("all", found.dimensions)


WANTED = st.lists(
    st.one_of(
        st.integers(0, 900).map(lambda n: stat(f"m{n}")),
        st.lists(st.integers(0, 900), min_size=1, max_size=9, unique=True).map(
            lambda ns: Math(
                expression="+".join(f"i{n}" for n in ns),
                inputs=tuple((f"i{n}", stat(f"m{n}")) for n in ns),
            )
        ),
    ),
    max_size=400,
)


@given(WANTED)
def test_calls_are_within_the_limit_and_hold_all_that_is_wanted(wanted: list[Stat | Math]) -> None:
    found = calls(wanted, 60)

    for call in found:
        ids = [query["Id"] for query in call.queries]
        assert len(ids) == len(set(ids)) <= AT_ONCE
        for one in call.ids:
            inputs = [stat_ for _, stat_ in one.inputs] if isinstance(one, Math) else []
            assert set(inputs) <= call.ids.keys()
    assert set(wanted) <= {one for call in found for one in call.ids}


def test_names_are_changed_all_at_once() -> None:
    assert renamed("a + b - 'a' * ab", {"a": "b", "b": "a"}) == "b + a - 'a' * ab"
