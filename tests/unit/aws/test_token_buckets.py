"""Buckets are never emptied faster than they fill, by whomever, and no death harms them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.aws.quotas import Quota
from ovenbird.aws.token_buckets import RECOVERY_S, SLOWEST, Bucket, Buckets

QUOTA = Quota(name="elbv2.mutating", burst=20, per_s=3)
COST_MS = 1.0  # the goal for one call


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def turns(bucket: Bucket, clock: Hand, pauses: list[float]) -> list[float]:
    """Take a turn after each pause; return the moments of the turns."""
    found = []
    for pause in pauses:
        clock.now += pause
        found.append(clock.now + bucket.take())
    return found


@given(
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=120),
    burst=st.floats(1, 50),
    per_s=st.floats(0.1, 100),
)
def test_no_window_has_more_turns_than_the_bucket_held_and_got(
    pauses: list[float], burst: float, per_s: float
) -> None:
    clock = Hand()
    bucket = Bucket(Quota(name="x", burst=burst, per_s=per_s), None, clock=clock)

    found = turns(bucket, clock, pauses)

    for first in range(len(found)):
        for last in range(first, len(found)):
            window = found[last] - found[first]
            assert last - first + 1 <= burst + per_s * window + 1e-3


@given(pauses=st.lists(st.floats(0, 5), min_size=2, max_size=60))
def test_turns_go_by_the_order_of_coming(pauses: list[float]) -> None:
    clock = Hand()

    found = turns(Bucket(QUOTA, None, clock=clock), clock, pauses)

    assert found == sorted(found)


def test_a_full_bucket_lets_a_burst_pass_at_once_and_then_its_rate() -> None:
    clock = Hand()
    bucket = Bucket(QUOTA, None, clock=clock)

    waits = [bucket.take() for _ in range(23)]

    assert waits[:20] == [0.0] * 20
    assert waits[20:] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_a_refusal_empties_the_bucket_and_halves_the_rate_which_comes_back() -> None:
    clock = Hand()
    bucket = Bucket(QUOTA, None, clock=clock)

    bucket.slow_down()
    after = (bucket.take(), bucket.per_s)
    bucket.slow_down()  # the same second's news
    same = bucket.per_s
    clock.now += RECOVERY_S

    assert after[0] == pytest.approx(1 / 1.5)
    assert (after[1], same) == (1.5, 1.5)
    assert bucket.per_s == 3


def test_turns_that_are_owed_come_sooner_when_the_rate_is_back() -> None:
    clock = Hand()
    bucket = Bucket(QUOTA, None, clock=clock)
    for _ in range(8):
        bucket.slow_down()
        bucket.take()
        clock.now += 1.0

    clock.now += RECOVERY_S

    assert bucket.per_s == QUOTA.per_s
    assert bucket.take() <= (QUOTA.burst + 9) / QUOTA.per_s


def test_refusals_never_stop_calls_altogether() -> None:
    clock = Hand()
    bucket = Bucket(QUOTA, None, clock=clock)

    for _ in range(50):
        bucket.slow_down()
        clock.now += 1.0

    assert bucket.per_s >= QUOTA.per_s * SLOWEST


def test_two_processes_share_a_bucket_by_its_file(tmp_path: Path) -> None:
    clock = Hand()
    ours, theirs = (Bucket(QUOTA, tmp_path / "bucket", clock=clock) for _ in range(2))

    waits = [bucket.take() for _ in range(11) for bucket in (ours, theirs)]

    assert waits[:20] == [0.0] * 20
    assert waits[20:] == pytest.approx([1 / 3, 2 / 3])
    ours.close()
    theirs.close()


@pytest.mark.parametrize("content", [b"", b"\xff" * 48, b"short", b"\0" * 48])
def test_a_file_that_holds_no_record_is_a_full_bucket(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bucket").write_bytes(content)

    bucket = Bucket(QUOTA, tmp_path / "bucket", clock=Hand())

    assert [bucket.take() for _ in range(20)] == [0.0] * 20
    bucket.close()


def test_what_another_boot_wrote_is_not_waited_for(tmp_path: Path) -> None:
    late, early = Hand(), Hand()
    late.now, early.now = 1e9, 5.0
    before = Bucket(QUOTA, tmp_path / "bucket", clock=late)
    before.take()
    before.slow_down()
    before.close()
    path = tmp_path / "bucket"
    path.write_bytes(b"another boot's i" + path.read_bytes()[16:])

    bucket = Bucket(QUOTA, path, clock=early)

    assert bucket.take() == 0.0
    bucket.close()


HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    bucket = Bucket(QUOTA, tmp_path / "bucket")
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "bucket")]
    taken: list[float] = []
    with subprocess.Popen(  # noqa: S603 - this file's own words
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        waiting = threading.Thread(target=lambda: taken.append(bucket.take()))
        waiting.start()
        waiting.join(0.2)
        still = waiting.is_alive()
        os.kill(holder.pid, signal.SIGKILL)
        waiting.join(10)

    assert (still, taken) == (True, [0.0])
    bucket.close()


def fastest_ms(do: Callable[[], object], *, times: int = 200, rounds: int = 5) -> float:
    """Return what one takes in the fastest round, so that a busy machine does not count."""
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(times):
            do()
        found.append((time.perf_counter() - begun) / times * 1000)
    return min(found)


def test_a_turn_of_two_shared_buckets_costs_less_than_a_millisecond(tmp_path: Path) -> None:
    quotas = (QUOTA, Quota(name="elbv2.all", burst=40, per_s=10))
    buckets = Buckets(tmp_path, account_id="1" * 12, region="eu-west-1")

    assert fastest_ms(lambda: buckets.take(quotas)) < COST_MS


def test_an_account_with_higher_quotas_has_larger_buckets() -> None:
    clock = Hand()
    buckets = Buckets(None, account_id="1" * 12, region="r", factor=2, clock=clock)

    assert [buckets.take((QUOTA,)) for _ in range(40)] == [0.0] * 40
    assert buckets.take((QUOTA,)) == pytest.approx(1 / 6)
    buckets.slow_down((QUOTA,))
    assert buckets.take((QUOTA,)) > 0
