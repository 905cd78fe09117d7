"""Calls wait for their turns; refusals are met with patience that has an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from ovenbird.aws import throttling
from ovenbird.aws.quotas import quotas_of
from ovenbird.aws.throttling import LONGEST_PAUSE_S, Throttle, listening
from ovenbird.aws.token_buckets import Buckets
from ovenbird.domain.errors import Aborted

REFUSED = (
    b"<ErrorResponse><Error><Code>%s</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
)
NO_HEADERS: Any = {}
FINE = (
    b"<DescribeRulesResponse><DescribeRulesResult><Rules/></DescribeRulesResult>"
    b"</DescribeRulesResponse>"
)


class Hand:
    """A clock that is moved by whoever waits."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Answer(AWSResponse):
    """One answer of AWS's."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__("https://aws", status, NO_HEADERS, None)
        self._content = body


def client(throttle: Throttle, answers: Iterator[Answer]) -> Any:
    """Return a client of ELBv2 that gets these answers."""
    made: Any = boto3.client(
        "elbv2",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",  # noqa: S106 - of nobody
    )
    throttle.attach(made)
    name = made.meta.service_model.service_id.hyphenize()
    made.meta.events.register_first(f"before-send.{name}", lambda **_: next(answers))
    return made


def refusals(number: int, code: bytes = b"Throttling") -> Iterator[Answer]:
    for _ in range(number):
        yield Answer(400, REFUSED % code)
    while True:
        yield Answer(200, FINE)


def test_a_call_beyond_the_burst_waits_for_its_turn_before_it_is_signed() -> None:
    clock = Hand()
    buckets = Buckets(None, account_id="1" * 12, region="r", clock=clock)
    elbv2 = client(Throttle(buckets, pause=clock.pause), refusals(0))

    for _ in range(42):
        elbv2.describe_rules(ListenerArn="arn")

    assert clock.pauses == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("code", [b"Throttling", b"ThrottlingException", b"RateExceeded"])
def test_refusals_beyond_botos_patience_do_not_fail_a_call(code: bytes) -> None:
    clock = Hand()
    buckets = Buckets(None, account_id="1" * 12, region="r", clock=clock)
    elbv2 = client(Throttle(buckets, pause=clock.pause, jitter=lambda: 1.0), refusals(40, code))

    answer = elbv2.describe_rules(ListenerArn="arn")

    assert answer["Rules"] == []
    assert max(clock.pauses) <= LONGEST_PAUSE_S


def test_who_waits_is_told_and_may_end_it() -> None:
    said: list[str] = []
    buckets = Buckets(None, account_id="1" * 12, region="r", clock=Hand())
    for _ in range(200):
        buckets.take(quotas_of("elbv2", "ModifyRule"))
    elbv2 = client(Throttle(buckets), refusals(0))

    def ended() -> None:
        raise Aborted("Aborted by somebody")

    with listening(said.append, ended), pytest.raises(Aborted, match="by somebody"):
        elbv2.modify_rule(RuleArn="arn")

    assert said[0].startswith("Waiting 60 s for a turn with ModifyRule: AWS takes 3 a second")


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "PATIENCE_S", -1.0)
    elbv2 = client(Throttle(None, pause=lambda _: None), refusals(10**6, b"RateExceeded"))

    with pytest.raises(ClientError, match="Rate exceeded"):
        elbv2.describe_rules(ListenerArn="arn")


def test_other_errors_are_left_to_boto() -> None:
    elbv2 = client(Throttle(None, pause=lambda _: None), refusals(1, b"RuleNotFound"))

    with pytest.raises(ClientError, match="RuleNotFound"):
        elbv2.describe_rules(ListenerArn="arn")


def test_nobody_hears_of_another_threads_waits() -> None:
    said: list[str] = []
    with listening(said.append, lambda: None):
        other = threading.Thread(target=throttling.wait, args=(0.01,))
        other.start()
        other.join(10)
        throttling.wait(0.01)

    assert said == []


def test_each_number_has_a_bucket_of_its_own_name() -> None:
    found = [
        quota
        for service, operation in [
            ("ec2", "DescribeInstances"),
            ("ec2", "CreateTags"),
            ("ec2", "CreateLaunchTemplate"),
            ("elbv2", "DescribeTargetHealth"),
            ("elbv2", "ModifyRule"),
            ("elbv2", "CreateLoadBalancer"),
            ("cloudwatch", "DescribeAlarms"),
            ("autoscaling", "DescribeAutoScalingGroups"),
        ]
        for quota in quotas_of(service, operation)
    ]

    assert {quota.name: (quota.burst, quota.per_s) for quota in found} == {
        "ec2.DescribeInstances": (100, 20),
        "ec2.CreateTags": (100, 10),
        "ec2.CreateLaunchTemplate": (50, 5),
        "elbv2.reads": (40, 10),
        "elbv2.mutating": (20, 3),
        "elbv2.resource-intensive": (10, 0.2),
        "elbv2.all": (40, 10),
        "cloudwatch.DescribeAlarms": (9, 9),
        "autoscaling": (80, 20),
    }
    assert quotas_of("kms", "Decrypt") == quotas_of("cloudwatch", "NoSuchCall") == ()
    assert all(Path(quota.name).name == quota.name for quota in found)
