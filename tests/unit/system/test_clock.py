from __future__ import annotations

from datetime import timedelta

import pytest

from ovenbird.system.clock import SystemClock, await_true


def test_the_clock_knows_its_zone() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_waiting_ends_when_it_is_so() -> None:
    answers = iter([False, False, True])

    await_true(lambda: next(answers), within=timedelta(seconds=5), every_s=0)

    assert list(answers) == []


def test_what_is_not_so_in_time_is_an_error() -> None:
    with pytest.raises(TimeoutError):
        await_true(lambda: False, within=timedelta(0))
