"""The sandbox's accounts have AWS's buckets; what finds one empty is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovenbird.sandbox import throttles
from ovenbird.sandbox.faults import Call, Fault
from ovenbird.sandbox.throttles import Throttles


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a key be its account's id."""
    throttles._account.cache_clear()
    monkeypatch.setattr(throttles, "get_account_id_from", lambda key: key[:3])
    yield
    throttles._account.cache_clear()


def call(service: str, action: str, key: str = "111") -> Call:
    return Call(service=service, action=action, number=1, key=key)


def passed(decide: Throttles, one: Call, times: int) -> int:
    """Return how many of so many calls at once are taken."""
    return sum(decide(one) is None for _ in range(times))


def test_a_burst_passes_and_then_what_comes_back() -> None:
    clock = Hand()
    decide = Throttles(clock=clock)
    change = call("elasticloadbalancing", "ModifyRule")

    burst = passed(decide, change, 50)
    clock.now += 2

    assert (burst, passed(decide, change, 50)) == (20, 6)


def test_all_calls_of_elbv2_take_from_one_more_bucket() -> None:
    decide = Throttles(clock=Hand())

    changes = passed(decide, call("elasticloadbalancing", "ModifyRule"), 50)
    reads = passed(decide, call("elasticloadbalancing", "DescribeRules"), 50)

    assert (changes, reads) == (20, 20)  # 40 in all


def test_accounts_have_their_own_buckets_and_keys_of_one_account_share() -> None:
    decide = Throttles(clock=Hand())
    alarms = [call("monitoring", "DescribeAlarms", key) for key in ("111a", "111b", "222")]

    assert [passed(decide, one, 20) for one in alarms] == [9, 0, 9]


@pytest.mark.parametrize(
    ("service", "action", "code", "status"),
    [
        ("ec2", "CreateLaunchTemplate", "RequestLimitExceeded", 503),
        ("elasticloadbalancing", "ModifyRule", "ThrottlingException", 400),
        ("autoscaling", "CreateAutoScalingGroup", "Throttling", 400),
        ("monitoring", "PutMetricAlarm", "Throttling", 400),
    ],
)
def test_what_is_one_too_many_is_refused_in_the_words_of_its_service(
    service: str, action: str, code: str, status: int
) -> None:
    decide = Throttles(clock=Hand())
    passed(decide, call(service, action), 100)

    fault = decide(call(service, action))

    assert fault is not None
    assert (fault.code, fault.status) == (code, status)


def test_services_without_published_limits_take_all_and_other_faults_go_on() -> None:
    lost = Fault(loses="answer")
    decide = Throttles(clock=Hand(), otherwise=lambda one: lost if one.service == "s3" else None)

    assert passed(decide, call("kms", "Decrypt"), 1000) == 1000
    assert decide(call("s3", "GET")) is lost
