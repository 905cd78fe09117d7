"""Lines of HAProxy's log become the metrics of an Application Load Balancer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ovenbird.aws.alarms import dimensions
from ovenbird.sandbox.traffic_log import Entry, Tally, host_counts, metric_data, parse

BALANCER = "app/web/0a"
GROUP = "targetgroup/hello-v001/0b"
ANSWERED = Entry(BALANCER, GROUP, chosen=True, status=200, response_ms=12)


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("R app:web:0a:0c hello-v001:0b i-1:80 200 -- 12", ANSWERED),
        (
            "R app:web:0a:0c hello-v001:0b i-1:80 502 SC -1",
            Entry(BALANCER, GROUP, chosen=True, status=502, response_ms=-1),
        ),
        (
            "R app:web:0a:0c hello-v001:0b <NOSRV> 503 LR -1",
            Entry(BALANCER, GROUP, chosen=False, status=503, response_ms=-1),
        ),
        (
            "R app:web:0a:0c app:web:0a:0c <NOSRV> 503 SC -1",
            Entry(BALANCER, "", chosen=False, status=503, response_ms=-1),
        ),
        (
            "R app:web:0a:0c app:web:0a:0c <NOSRV> 404 LR -1",
            Entry(BALANCER, "", chosen=False, status=404, response_ms=-1, intercepted=True),
        ),
        (
            "R app:web:0a:0c hello-v001:0b i-1:80 -1 CH -1",
            Entry(BALANCER, GROUP, chosen=True, status=460, response_ms=-1),
        ),
        (
            "R app:web:0a:0c app:web:0a:0c <NOSRV> 400 PR -1",
            Entry(BALANCER, "", chosen=False, status=400, response_ms=-1),
        ),
        ("[NOTICE]   (12) : New worker (13) forked", None),
        ("R app:web:0a:0c hello-v001:0b i-1:80 none -- 12", None),
        ("", None),
    ],
)
def test_a_line_is_read(line: str, entry: Entry | None) -> None:
    assert parse(line) == entry


def told(*entries: Entry, count: int = 1) -> dict[tuple[str, bool], Any]:
    """Return what is published: (metric, of the target group?) → value or counts."""
    data = metric_data(1_700_000_000, Counter(dict.fromkeys(entries, count)))
    return {
        (one["MetricName"], len(one["Dimensions"]) == 2): one.get("Value", one.get("Counts"))
        for one in data
    }


def test_an_answer_counts_for_the_target_group_and_for_the_balancer() -> None:
    assert told(ANSWERED, count=3) == {
        ("RequestCount", True): 3,
        ("HTTPCode_Target_2XX_Count", True): 3,
        ("TargetResponseTime", True): [3],
        ("RequestCount", False): 3,
        ("HTTPCode_Target_2XX_Count", False): 3,
        ("TargetResponseTime", False): [3],
    }


def test_what_the_balancer_answers_itself_is_not_the_targets() -> None:
    assert told(Entry(BALANCER, GROUP, chosen=True, status=502, response_ms=-1)) == {
        ("RequestCount", True): 1,
        ("RequestCount", False): 1,
        ("HTTPCode_ELB_5XX_Count", False): 1,
        ("HTTPCode_ELB_502_Count", False): 1,
    }
    assert told(Entry(BALANCER, GROUP, chosen=False, status=503, response_ms=-1)) == {
        ("HTTPCode_ELB_5XX_Count", False): 1,
        ("HTTPCode_ELB_503_Count", False): 1,
    }
    assert told(
        Entry(BALANCER, "", chosen=False, status=404, response_ms=-1, intercepted=True)
    ) == {
        ("HTTP_Fixed_Response_Count", False): 1,
        ("HTTPCode_ELB_4XX_Count", False): 1,
    }


def test_times_are_a_distribution_in_seconds() -> None:
    slow = Entry(BALANCER, GROUP, chosen=True, status=200, response_ms=250)
    data = metric_data(1_700_000_000, Counter({ANSWERED: 3, slow: 2}))
    times = next(one for one in data if one["MetricName"] == "TargetResponseTime")

    assert dict(zip(times["Values"], times["Counts"], strict=True)) == {0.012: 3, 0.25: 2}
    assert times["Timestamp"].timestamp() == 1_700_000_000


def test_dimensions_are_those_that_alarms_ask_for() -> None:
    start = "arn:aws:elasticloadbalancing:eu-west-1:1:"
    asked = dimensions(target_group=f"{start}{GROUP}", listener=f"{start}listener/{BALANCER}/0c")
    hosts = host_counts(1_700_000_000, {(BALANCER, GROUP): (2, 1)})

    assert asked in [one["Dimensions"] for one in metric_data(0, Counter([ANSWERED]))]
    assert [one["Dimensions"] for one in hosts] == [asked, asked]
    assert [one["Value"] for one in hosts] == [2, 1]


def test_only_seconds_that_are_over_are_taken_and_each_once() -> None:
    times = iter([1.2, 1.9, 2.1, 2.2, 2.3, 2.4])
    tally = Tally(clock=lambda: next(times))
    tally.count(ANSWERED)
    tally.count(ANSWERED)
    tally.count(ANSWERED)

    assert tally.take() == {1: Counter({ANSWERED: 2})}
    assert tally.take() == {}
    assert tally.take(unfinished=True) == {2: Counter({ANSWERED: 1})}
