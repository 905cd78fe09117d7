"""CloudWatch through boto3 and through our own callers; the same would hold on AWS."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.cloudwatch.models import cloudwatch_backends
from moto.sns.models import sns_backends

from ovenbird.aws.alarms import NAMESPACE, Alarms, dimensions
from ovenbird.aws.launch_requests import Surroundings
from ovenbird.aws.metrics import Metrics
from ovenbird.domain.apps import AlarmSpec, JudgePolicy, metrics_of
from ovenbird.domain.errors import NotFound
from ovenbird.domain.judging import CloudWatchSource, Counts, MetricSpec, Value
from ovenbird.domain.measuring import Sides
from ovenbird.domain.names import ServerGroupName, target_group_name
from ovenbird.sandbox import alarms
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, REGION

pytestmark = pytest.mark.sandbox

LISTENER = (
    f"arn:aws:elasticloadbalancing:{REGION}:{PRODUCTION}:listener/app/ovenbird/50dc6c49/f2f7dc8e"
)
SETTLED = alarms.SETTLE_S
Put = Callable[..., None]


def base() -> int:
    """Return a whole minute that is over, with room behind it."""
    return int(time.time()) // 60 * 60 - 120


@pytest.fixture
def namespace() -> str:
    return f"Test/{uuid.uuid4()}"


@pytest.fixture
def put(endpoint: Endpoint, namespace: str) -> Put:
    def send(at: float, values: Mapping[float, float], *, name: str = "m", **where: str) -> None:
        endpoint.development.cloudwatch.put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": name,
                    "Timestamp": datetime.fromtimestamp(at, tz=UTC),
                    "Values": list(values),
                    "Counts": list(values.values()),
                    "Dimensions": [{"Name": k, "Value": v} for k, v in where.items()],
                }
            ],
        )

    return send


def stat(
    namespace: str, statistic: str, *, name: str = "m", period: int = 60, **where: str
) -> dict[str, Any]:
    pairs = [{"Name": k, "Value": v} for k, v in where.items()]
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": pairs}
    return {"Metric": metric, "Period": period, "Stat": statistic}


def ask(endpoint: Endpoint, *queries: dict[str, Any], **others: Any) -> dict[str, Any]:
    start = datetime.fromtimestamp(base() - 60, tz=UTC)
    answer = endpoint.development.cloudwatch.get_metric_data(
        MetricDataQueries=list(queries),  # type: ignore[arg-type]
        **{"StartTime": start, "EndTime": start + timedelta(minutes=4), **others},
    )
    return dict(answer)


def test_statistics_over_aligned_periods(endpoint: Endpoint, namespace: str, put: Put) -> None:
    begin = base()
    put(begin + 7, {0.1: 99, 2.0: 1})
    put(begin + 59, {0.2: 100})
    names = ["Sum", "SampleCount", "Maximum", "p50", "p99.9", "TC(0.5:)", "PR(:0.1)"]
    queries = [{"Id": f"q{n}", "MetricStat": stat(namespace, name)} for n, name in enumerate(names)]

    found = ask(endpoint, *queries)["MetricDataResults"]

    values = {name: result["Values"] for name, result in zip(names, found, strict=True)}
    assert values == {
        "Sum": [pytest.approx(31.9)], "SampleCount": [200], "Maximum": [2.0], "p50": [0.2],
        "p99.9": [2.0], "TC(0.5:)": [1], "PR(:0.1)": [49.5],
    }  # fmt: skip
    assert {result["Timestamps"][0].timestamp() for result in found} == {begin}
    assert {result["StatusCode"] for result in found} == {"Complete"}


def test_metric_math_and_what_it_returns(endpoint: Endpoint, namespace: str, put: Put) -> None:
    begin = base()
    put(begin, {1.0: 10}, name="requests")
    put(begin + 60, {1.0: 20}, name="requests")
    put(begin + 60, {1.0: 5}, name="errors")
    (result,) = ask(
        endpoint,
        {"Id": "e", "MetricStat": stat(namespace, "Sum", name="errors"), "ReturnData": False},
        {"Id": "r", "MetricStat": stat(namespace, "Sum", name="requests"), "ReturnData": False},
        {"Id": "rate", "Expression": "100 * FILL(e, 0) / r", "Label": "Rate"},
        ScanBy="TimestampAscending",
    )["MetricDataResults"]

    assert (result["Id"], result["Label"], result["Values"]) == ("rate", "Rate", [0.0, 25.0])
    assert [t.timestamp() for t in result["Timestamps"]] == [begin, begin + 60]


def test_only_the_very_same_dimensions_match(endpoint: Endpoint, namespace: str, put: Put) -> None:
    put(base(), {1.0: 1}, tg="a", lb="x")
    put(base(), {1.0: 2}, tg="a")
    put(base(), {1.0: 4})

    found = ask(
        endpoint,
        {"Id": "both", "MetricStat": stat(namespace, "Sum", lb="x", tg="a")},
        {"Id": "one", "MetricStat": stat(namespace, "Sum", tg="a")},
        {"Id": "none", "MetricStat": stat(namespace, "Sum")},
        {"Id": "other", "MetricStat": stat(namespace, "Sum", tg="b")},
        {"Id": "elsewhere", "MetricStat": stat("Else", "Sum", tg="a")},
    )["MetricDataResults"]

    assert {result["Id"]: result["Values"] for result in found} == {
        "both": [1.0], "one": [2.0], "none": [4.0], "other": [], "elsewhere": [],
    }  # fmt: skip


def test_data_comes_in_pages(endpoint: Endpoint, namespace: str, put: Put) -> None:
    begin = base()
    for second in range(7):
        put(begin + second, {float(second): 1})
    start = datetime.fromtimestamp(begin, tz=UTC)
    paginator: Any = endpoint.development.cloudwatch.get_paginator("get_metric_data")
    pages = paginator.paginate(
        MetricDataQueries=[{"Id": "q", "MetricStat": stat(namespace, "Sum", period=1)}],
        StartTime=start,
        EndTime=start + timedelta(seconds=7),
        MaxDatapoints=3,
    )

    found = [(r["Values"], r["StatusCode"]) for page in pages for r in page["MetricDataResults"]]

    assert found == [
        ([6, 5, 4], "PartialData"), ([3, 2, 1], "PartialData"), ([0], "Complete"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        {"Id": "e", "Expression": "nobody + 1"},
        {"Id": "e", "Expression": "SEARCH('x')"},
        {"Id": "q", "MetricStat": stat("Test", "WM(0:1)")},
        {"Id": "q", "MetricStat": stat("Test", "Sum", period=7)},
        {"Id": "q"},
    ],
)
def test_what_cannot_be_answered_is_refused(endpoint: Endpoint, query: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        ask(endpoint, query)


def test_statistic_sets_keep_their_sums(endpoint: Endpoint, namespace: str) -> None:
    cloudwatch, begin = endpoint.development.cloudwatch, base()
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {
                "MetricName": "m",
                "Timestamp": datetime.fromtimestamp(begin, tz=UTC),
                "Unit": "Seconds",
                "StatisticValues": {"Sum": 20, "SampleCount": 4, "Minimum": 1, "Maximum": 9},
            }
        ],
    )

    answer = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="m", Period=60,
        StartTime=datetime.fromtimestamp(begin, tz=UTC),
        EndTime=datetime.fromtimestamp(begin + 60, tz=UTC),
        Statistics=["Sum", "SampleCount", "Minimum", "Maximum", "Average"],
        ExtendedStatistics=["p100"],
    )  # fmt: skip

    assert answer["Datapoints"] == [
        {
            "Timestamp": datetime.fromtimestamp(begin, tz=UTC), "Unit": "Seconds",
            "Sum": 20, "SampleCount": 4, "Minimum": 1, "Maximum": 9, "Average": 5,
            "ExtendedStatistics": {"p100": 9},
        }
    ]  # fmt: skip


def test_metrics_are_listed(endpoint: Endpoint, namespace: str, put: Put) -> None:
    put(base(), {1.0: 1}, tg="a", lb="x")
    put(base(), {1.0: 1}, tg="b")
    cloudwatch = endpoint.development.cloudwatch

    found = cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "lb"}])["Metrics"]

    assert [metric["MetricName"] for metric in found] == ["m"]
    assert found[0]["Dimensions"] == [
        {"Name": "lb", "Value": "x"}, {"Name": "tg", "Value": "a"},
    ]  # fmt: skip
    assert len(cloudwatch.list_metrics(Namespace=namespace)["Metrics"]) == 2


class Group:
    """A server group with a target group in production, and the alarms on it."""

    def __init__(self, endpoint: Endpoint) -> None:
        app = f"app{uuid.uuid4().hex[:8]}"
        self.name = ServerGroupName.parse(f"{app}-prod-v001")
        self.alarms = Alarms(endpoint.production, listener_arn=LISTENER, period_s=1.0)
        self.metrics = Metrics(endpoint.production, listener_arn=LISTENER, period_s=1.0)
        elbv2 = endpoint.production.elbv2
        vpc_id = endpoint.production.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.arn = elbv2.create_target_group(
            Name=target_group_name(self.name), Protocol="HTTP", Port=80, VpcId=vpc_id
        )["TargetGroups"][0]["TargetGroupArn"]

    @property
    def where(self) -> Surroundings:
        return Surroundings(
            name=self.name, target_group=self.arn, listener=LISTENER, tags={"app": "hello"}
        )

    def count(self, at: float, *, requests: int, errors: int = 0, seconds: float = 0.1) -> None:
        """Publish one second of requests as the balancer does."""
        where = dimensions(target_group=self.arn, listener=LISTENER)
        rest = {"Timestamp": datetime.fromtimestamp(at, tz=UTC), "Dimensions": where}
        data = [
            {"MetricName": "RequestCount", "Values": [1.0], "Counts": [requests], **rest},
            {"MetricName": "TargetResponseTime", "Values": [seconds], "Counts": [requests], **rest},
        ]
        if errors:
            name = "HTTPCode_Target_5XX_Count"
            data.append({"MetricName": name, "Values": [1.0], "Counts": [errors], **rest})
        cloudwatch_backends[PRODUCTION][REGION].put_metric_data(NAMESPACE, data)

    def put(self, at: float, namespace: str, metric: str, value: float) -> None:
        """Publish one number of the group, as its instances' agents do."""
        time_, name = datetime.fromtimestamp(at, tz=UTC), str(self.name)
        where = [{"Name": "AutoScalingGroupName", "Value": name}]
        data = {"MetricName": metric, "Value": value, "Timestamp": time_, "Dimensions": where}
        cloudwatch_backends[PRODUCTION][REGION].put_metric_data(namespace, [data])

    def raw(self, endpoint: Endpoint, word: str) -> Any:
        name = f"{self.name}-{word}"
        answer = endpoint.production.cloudwatch.describe_alarms(AlarmNames=[name])
        return answer["MetricAlarms"][0]


@pytest.fixture
def group(endpoint: Endpoint) -> Group:
    return Group(endpoint)


def counts(side: Sequence[Counts] | Sequence[Value]) -> list[Counts]:
    return [item for item in side if isinstance(item, Counts)]


def values(side: Sequence[Counts] | Sequence[Value]) -> list[Value]:
    return [item for item in side if isinstance(item, Value)]


def sides(canary: ServerGroupName, baseline: ServerGroupName, begin: float, end: float) -> Sides:
    return Sides(
        canary=canary, baseline=baseline, slow_s=0.5,
        since=datetime.fromtimestamp(begin, tz=UTC), until=datetime.fromtimestamp(end, tz=UTC),
    )  # fmt: skip


def test_pairs_hold_whole_periods_of_both_groups(endpoint: Endpoint, group: Group) -> None:
    other, begin = Group(endpoint), base()
    for second in range(5):
        group.count(begin + second, requests=10, errors=second, seconds=0.7)
        other.count(begin + second, requests=1)
    asked = sides(group.name, other.name, begin + 0.5, begin + 4.5)

    errors, slow = group.metrics.pairs(metrics_of(JudgePolicy()), asked)

    assert [(c.total, c.bad) for c in counts(errors.canary)] == [(10, 1), (10, 2), (10, 3)]
    assert [(c.total, c.bad) for c in counts(slow.canary)] == [(10, 10)] * 3
    assert [(c.total, c.bad) for c in counts(errors.baseline)] == [(1, 0)] * 3
    assert [c.at.timestamp() for c in counts(errors.canary)] == [begin + n for n in (1, 2, 3)]


def test_custom_metrics_and_expressions_are_read_with_those_of_the_balancer(
    endpoint: Endpoint, group: Group
) -> None:
    other, begin, namespace = Group(endpoint), base(), f"Test/{uuid.uuid4()}"
    for second in range(3):
        for one, factor in ((group, 3.0), (other, 1.0)):
            one.put(begin + second, namespace, "busy", factor * 10)
            one.put(begin + second, namespace, "jobs", factor * 2)
    where = {"AutoScalingGroupName": "{server_group}"}
    plain = CloudWatchSource(namespace=namespace, metric="busy", dimensions=where)
    ratio = CloudWatchSource(
        expression="busy / FILL(jobs, 1) + 1", dimensions=where,
        metrics={name: (namespace, name, "Sum") for name in ("busy", "jobs")},
    )  # fmt: skip
    specs = (
        MetricSpec(name="busy", source=plain),
        *metrics_of(JudgePolicy()),
        MetricSpec(name="ratio", source=ratio),
    )

    busy, errors, _, rate = group.metrics.pairs(
        specs, sides(group.name, other.name, begin, begin + 4)
    )

    assert [v.value for v in values(busy.canary)] == [30.0] * 3
    assert [v.value for v in values(busy.baseline)] == [10.0] * 3
    assert (errors.canary, errors.baseline) == ((), ())  # nobody called
    assert [v.value for v in values(rate.canary)] == [6.0] * 3


def test_a_metric_that_does_not_exist_is_told_with_what_is_there(
    endpoint: Endpoint, group: Group
) -> None:
    namespace = f"Test/{uuid.uuid4()}"
    group.put(base(), namespace, "QueueLength", 1.0)
    where = {"AutoScalingGroupName": "{server_group}"}
    specs = [
        MetricSpec(
            name=name, source=CloudWatchSource(namespace=namespace, metric=metric, dimensions=where)
        )
        for name, metric in (("there", "QueueLength"), ("misspelt", "QueueLenght"))
    ]

    mine = group.metrics.missing(specs, group.name)
    others = group.metrics.missing(specs[:1], Group(endpoint).name)
    anywhere = group.metrics.missing(specs, None)

    where_told = f"`{namespace}` with AutoScalingGroupName={group.name}"
    told_of = f"Metric `misspelt`: CloudWatch has no `QueueLenght` in {where_told}"
    assert mine == (f"{told_of}; did you mean `QueueLength`?",)
    assert len(others) == 1
    assert "look at `dimensions`" in others[0]
    assert [sentence.split(":")[0] for sentence in anywhere] == ["Metric `misspelt`"]


def test_bad_events_may_never_have_happened_but_not_be_misspelt(
    endpoint: Endpoint, group: Group
) -> None:
    namespace = f"Test/{uuid.uuid4()}"
    group.put(base(), namespace, "Orders", 1.0)
    group.put(base(), namespace, "OrdersFailed", 1.0)
    where = {"AutoScalingGroupName": "{server_group}"}
    never, misspelt = (
        MetricSpec(
            name=metric,
            is_share=True,
            source=CloudWatchSource(
                namespace=namespace, metric=metric, dimensions=where,
                total=(namespace, "Orders", "Sum"),
            ),
        )
        for metric in ("Refusals", "OrderFailed")
    )  # fmt: skip

    assert group.metrics.missing([never], group.name) == ()
    (sentence,) = group.metrics.missing([misspelt], group.name)
    assert sentence.endswith("did you mean `OrdersFailed`?")


def test_pairs_of_a_group_without_a_target_group(group: Group) -> None:
    gone = ServerGroupName.parse("gone-prod-v001")

    with pytest.raises(NotFound):
        group.metrics.pairs(metrics_of(JudgePolicy()), sides(gone, group.name, base(), base() + 9))


def fresh(group: Group, name: str) -> dict[str, str]:
    """Return what fires now: looks share answers that are some seconds old."""
    group.alarms._reads.firing.forget(name)
    return group.alarms.firing([name])


def test_an_error_rate_alarm_fires_and_recovers(endpoint: Endpoint, group: Group) -> None:
    spec = AlarmSpec(name="5xx", metric="error_rate_percent", threshold=50.0, periods=2)
    group.alarms.ensure(group.where, [spec])
    begin, name = base(), f"{group.name}-5xx"
    first = group.raw(endpoint, "5xx")
    group.count(begin, requests=10, errors=9)
    alarms.tick(begin + 1 + SETTLED)
    once = fresh(group, name)
    group.count(begin + 1, requests=10, errors=6)
    alarms.tick(begin + 1.9 + SETTLED)
    early = fresh(group, name)
    alarms.tick(begin + 2 + SETTLED)
    twice = fresh(group, name)
    alarms.tick(begin + 60 + SETTLED)

    assert (first["StateValue"], once, early) == ("INSUFFICIENT_DATA", {}, {})
    assert list(twice) == [name]
    assert twice[name].startswith("Threshold Crossed: 2 out of the last 2 datapoints [90 (")
    assert "60 (" in twice[name]
    after = group.raw(endpoint, "5xx")
    assert (after["StateValue"], after["ComparisonOperator"]) == ("OK", "GreaterThanThreshold")
    assert "treated as [NonBreaching]" in after["StateReason"]
    assert after["StateUpdatedTimestamp"] > first["StateUpdatedTimestamp"]
    assert after["Metrics"][2]["Expression"] == "100 * FILL(errors, 0) / requests"


def test_a_percentile_alarm_on_a_target_groups_metric(endpoint: Endpoint, group: Group) -> None:
    spec = AlarmSpec(
        name="slow", metric="TargetResponseTime", statistic="p99", threshold=0.5, periods=1
    )
    group.alarms.ensure(group.where, [spec])
    group.count(base(), requests=10, seconds=0.9)
    alarms.tick(base() + 1 + SETTLED)

    assert list(group.alarms.firing([f"{group.name}-slow", "nobody"])) == [f"{group.name}-slow"]


def test_writing_an_alarm_again_keeps_its_state(endpoint: Endpoint, group: Group) -> None:
    spec = AlarmSpec(name="busy", metric="RequestCount", threshold=5.0, periods=1)
    group.alarms.ensure(group.where, [spec])
    group.count(base(), requests=10)
    alarms.tick(base() + 1 + SETTLED)
    group.alarms.ensure(group.where, [spec])

    assert group.raw(endpoint, "busy")["StateValue"] == "ALARM"


def test_all_alarms_of_a_group_are_deleted_and_no_others(endpoint: Endpoint, group: Group) -> None:
    specs = [AlarmSpec(name=f"a{n}", metric="RequestCount", threshold=1.0) for n in range(60)]
    other = Group(endpoint)
    group.alarms.ensure(group.where, specs)
    other.alarms.ensure(other.where, specs[:1])

    group.alarms.delete(group.name)
    group.alarms.delete(group.name)

    cloudwatch = endpoint.production.cloudwatch
    answer = cloudwatch.describe_alarms(AlarmNamePrefix=f"{group.name}-")
    assert answer["MetricAlarms"] == []
    assert other.raw(endpoint, "a0")["AlarmName"] == f"{other.name}-a0"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Period": 7},
        {"Statistic": "Middle"},
        {"DatapointsToAlarm": 3},
        {"ComparisonOperator": "GreaterThanUpperThreshold"},
        {"TreatMissingData": "maybe"},
    ],
)
def test_an_alarm_that_could_not_be_evaluated_is_refused(
    endpoint: Endpoint, wrong: dict[str, Any]
) -> None:
    cloudwatch, name = endpoint.development.cloudwatch, f"bad-{uuid.uuid4()}"
    right: dict[str, Any] = {
        "AlarmName": name, "Namespace": "Test", "MetricName": "m", "Period": 60,
        "Statistic": "Sum", "Threshold": 1.0, "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    with pytest.raises(ClientError, match="ValidationError"):
        cloudwatch.put_metric_alarm(**(right | wrong))

    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


@pytest.fixture
def topic() -> str:
    arn: str = sns_backends[DEVELOPMENT][REGION].create_topic(f"told-{uuid.uuid4().hex}").arn
    return arn


def told(topic: str) -> list[dict[str, Any]]:
    sent = sns_backends[DEVELOPMENT][REGION].topics[topic].sent_notifications
    return [json.loads(message) for _, message, *_ in sent]


def test_topics_are_told_of_changes(
    endpoint: Endpoint, namespace: str, put: Put, topic: str
) -> None:
    cloudwatch, name = endpoint.development.cloudwatch, f"told-{uuid.uuid4()}"
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace=namespace, MetricName="m", Period=1, Statistic="Sum",
        Threshold=1.0, EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic], OKActions=[topic], TreatMissingData="notBreaching",
    )  # fmt: skip
    put(base(), {2.0: 1})
    for later in (1, 1, 10):
        alarms.tick(base() + later + SETTLED)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="trying it out")
    alarms.tick(base() + 11 + SETTLED)

    changes = [(m["OldStateValue"], m["NewStateValue"]) for m in told(topic)]
    assert changes == [
        ("INSUFFICIENT_DATA", "ALARM"), ("ALARM", "OK"), ("OK", "ALARM"), ("ALARM", "OK"),
    ]  # fmt: skip
    first, *_, third, _last = told(topic)
    assert first["NewStateReason"].endswith("was greater than the threshold (1).")
    assert (third["NewStateReason"], third["AlarmName"]) == ("trying it out", name)


def test_a_topic_that_is_gone_stops_nobody(endpoint: Endpoint, topic: str) -> None:
    cloudwatch, name = endpoint.development.cloudwatch, f"lost-{uuid.uuid4()}"
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="Test", MetricName="m", Period=1, Statistic="Sum",
        Threshold=1.0, EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[f"{topic}-gone"],
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="why not")

    alarms.tick(time.time())


def test_the_loop_evaluates_by_itself(endpoint: Endpoint, group: Group) -> None:
    spec = AlarmSpec(name="busy", metric="RequestCount", threshold=5.0, periods=1)
    group.alarms.ensure(group.where, [spec])
    name, deadline = f"{group.name}-busy", time.monotonic() + 20
    with alarms.running():
        while not group.alarms.firing([name]) and time.monotonic() < deadline:
            group.count(time.time() - 3, requests=10)

    assert group.alarms.firing([name])
