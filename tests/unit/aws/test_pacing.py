from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ovenbird.aws.pacing import BURST, SLOWEST_PER_S, Pace


class Clock:
    def __init__(self) -> None:
        self.at, self.slept = datetime(2026, 1, 1, tzinfo=UTC), 0.0

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.slept += seconds


def calls_in(pace: Pace, clock: Clock, seconds: float) -> int:
    end, made = clock.now() + timedelta(seconds=seconds), 0
    while clock.now() < end:
        pace.wait()
        made += 1
    return made


def test_no_second_has_more_calls_than_the_quota_but_for_the_first_burst() -> None:
    clock = Clock()
    pace = Pace(100, clock=clock)

    assert calls_in(pace, clock, 1.0) == pytest.approx(100 + BURST, abs=2)
    assert calls_in(pace, clock, 10.0) == pytest.approx(1000, abs=2)


def test_refusals_of_one_second_halve_the_rate_once_and_it_comes_back() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)

    for _ in range(50):
        pace.slow_down()
    assert pace.per_s == 500
    clock.sleep(1)
    pace.slow_down()
    assert pace.per_s == 250

    took_s = 0.0
    while pace.per_s < 1000:
        pace.wait()
        pace.speed_up()
        took_s = clock.slept
    assert took_s < 40


def test_the_rate_has_a_floor() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)

    for _ in range(100):
        clock.sleep(2)
        pace.slow_down()

    assert pace.per_s == SLOWEST_PER_S


def test_a_clock_that_is_set_back_makes_nobody_wait_for_long() -> None:
    clock = Clock()
    pace = Pace(1000, clock=clock)
    pace.wait()
    clock.at -= timedelta(days=1)

    pace.wait()
    pace.wait()

    assert clock.slept <= 10.1
