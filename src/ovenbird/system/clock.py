"""The one clock of the program."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The :class:`ovenbird.domain.ports.Clock` of this host."""

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""
        return datetime.now(tz=UTC)  # noqa: TID251 - this is the clock

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: TID251 - this is the clock


def await_true(true: Callable[[], bool], *, within: timedelta, every_s: float = 0.02) -> None:
    """Wait until something of this host is so, and look again and again.

    Raises:
        TimeoutError: It is not so in time.
    """
    clock = SystemClock()
    end = clock.now() + within
    while not true():
        if clock.now() > end:
            raise TimeoutError
        clock.sleep(every_s)
