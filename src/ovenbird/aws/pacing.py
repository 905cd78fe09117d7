"""How fast calls are made: below AWS's quota, slower when AWS says so, then faster again.

Source: quotas of the EBS direct APIs (Service Quotas, seen on 2026-11-23): PutSnapshotBlock
and GetSnapshotBlock 1,000 a second for an account and Region; additive increase and
multiplicative decrease as in TCP (RFC 5681).
"""

from __future__ import annotations

import threading
from datetime import timedelta

from ovenbird.domain.ports import Clock

BURST = 32  # calls that may be made at once after a pause
SLOWEST_PER_S = 4.0
RECOVERY_S = 30.0  # of calls that succeed, until the full rate is back
QUIET = timedelta(seconds=1)  # one second's refusals are one piece of news
LONGEST_WAIT_S = 5.0  # however the host's clock jumps


class Pace:
    """A limit of calls per second that many threads keep together.

    Args:
        per_s: The most.
        clock: Waits.
    """

    def __init__(self, per_s: float, *, clock: Clock) -> None:
        self._most, self._rate, self._clock = per_s, per_s, clock
        self._lock = threading.Lock()
        self._next = self._slowed = clock.now() - timedelta(hours=1)

    @property
    def per_s(self) -> float:
        """Calls per second that are made now at most."""
        return self._rate

    def wait(self) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self._clock.now()
            earliest = now - timedelta(seconds=BURST / self._rate)
            latest = now + timedelta(seconds=LONGEST_WAIT_S)
            turn = min(max(self._next, earliest), latest)
            self._next = turn + timedelta(seconds=1 / self._rate)
        if turn > now:
            self._clock.sleep((turn - now).total_seconds())

    def slow_down(self) -> None:
        """Halve the rate: AWS refused a call as one too many."""
        with self._lock:
            now = self._clock.now()
            if now - self._slowed >= QUIET:
                self._slowed = now
                self._rate = max(self._rate / 2, SLOWEST_PER_S)

    def speed_up(self) -> None:
        """Let the rate grow a little: a call succeeded."""
        if self._rate < self._most:
            with self._lock:
                self._rate = min(self._rate + self._most / (RECOVERY_S * self._rate), self._most)
