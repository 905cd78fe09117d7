"""What a health check's result makes of a target, and what a check makes of an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ovenbird.sandbox.checks import FAILED, TIMEOUT, Check, Record, failure_of, judged, matches
from ovenbird.sandbox.targets import CHECKING, HEALTHY, REGISTERING, TargetHealth

CHECK = Check(
    key=("arn:tg", "i-1", 80),
    health=REGISTERING,
    address="127.0.0.1",
    port=80,
    every_s=5.0,
    timeout_s=1.0,
    healthy_after=3,
    unhealthy_after=2,
)


def after(*results: TargetHealth | None, every_s: float = 5.0) -> TargetHealth:
    """Return what a new target is after these results, one each *every_s*."""
    record = Record()
    for number, failure in enumerate(results):
        record = judged(record, failure, CHECK, now=number * every_s)
    return record.health


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((), REGISTERING),
        ((None,), HEALTHY),
        ((FAILED,), CHECKING),
        ((FAILED, None), HEALTHY),
        ((FAILED, FAILED), FAILED),
        ((FAILED, TIMEOUT), TIMEOUT),
        ((None, FAILED), HEALTHY),
        ((None, FAILED, None, FAILED), HEALTHY),
        ((None, FAILED, FAILED), FAILED),
        ((None, FAILED, FAILED, TIMEOUT), TIMEOUT),
        ((FAILED, FAILED, None), FAILED),
        ((FAILED, FAILED, None, None), FAILED),
        ((FAILED, FAILED, None, None, None), HEALTHY),
        ((FAILED, FAILED, None, None, FAILED, None), FAILED),
    ],
)
def test_one_good_check_makes_a_new_target_healthy_and_then_thresholds_count(
    results: tuple[TargetHealth | None, ...], expected: TargetHealth
) -> None:
    assert after(*results) == expected


def test_a_new_target_that_is_asked_often_is_not_given_up_early() -> None:
    assert after(*[FAILED] * 5, every_s=1.0) == CHECKING
    assert after(*[FAILED] * 6, every_s=1.0) == FAILED
    assert after(*[FAILED] * 4, None, every_s=1.0) == HEALTHY


@pytest.mark.parametrize(
    ("matcher", "good", "bad"),
    [
        ("200", {200}, {199, 201, 404}),
        ("200,202", {200, 202}, {201}),
        ("200-299", {200, 250, 299}, {300}),
        ("200-202, 301", {201, 301}, {302}),
    ],
)
def test_matcher(matcher: str, good: set[int], bad: set[int]) -> None:
    assert {status for status in good | bad if matches(matcher, status)} == good


@contextmanager
def answering(reply: bytes | None) -> Iterator[Check]:
    """Answer one connection with some bytes; None keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                if reply is None:
                    done.wait(5)
                else:
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield replace(CHECK, port=server.getsockname()[1], timeout_s=0.3)
        done.set()
        thread.join(5)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (
            b"HTTP/1.1 500 Oh\r\n\r\n",
            TargetHealth(
                state="unhealthy",
                reason="Target.ResponseCodeMismatch",
                description="Health checks failed with these codes: [500]",
            ),
        ),
        (b"hello\r\n\r\n", FAILED),
        (b"", FAILED),
        (None, TIMEOUT),
    ],
    ids=["good", "status", "no http", "closed", "silent"],
)
def test_an_answer_is_judged(reply: bytes | None, expected: TargetHealth | None) -> None:
    with answering(reply) as check:
        assert failure_of(check) == expected


def test_a_closed_port_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert failure_of(replace(CHECK, port=port)) == FAILED


def test_a_path_that_cannot_be_asked_for_is_a_failure() -> None:
    assert failure_of(replace(CHECK, path="/\N{SNOWMAN}")) == FAILED
