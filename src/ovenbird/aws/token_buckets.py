"""Token buckets that all threads and all processes of this host share.

    directory/ACCOUNT.REGION.QUOTA     48 bytes, mapped into the memory of each process

A bucket is one number: the moment at which it would be full again (the "theoretical arrival
time" of the generic cell rate algorithm). Who comes takes a turn and waits for it outside of
the lock, so turns go by the order of coming. The lock is the kernel's: it lets go of it when
its holder dies, and what a dead process took is at most the one turn that it waited for.

When AWS refuses a call, the rate is halved for all and comes back within half a minute.

Times are the monotonic clock's, which processes of one boot share; a file of another boot
begins anew.

Source: ITU-T I.371, annex A (generic cell rate algorithm); additive increase and multiplicative
decrease as in TCP (RFC 5681); flock(2).
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovenbird.aws.quotas import Quota

RECOVERY_S = 30.0  # from a rate of nothing until the full one is back
SLOWEST = 1 / 32  # of the full rate
QUIET_S = 1.0  # one second's refusals are one piece of news
ROUNDING_S = 1e-6
_RECORD = struct.Struct("<16sdddd")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True, kw_only=True)
class _State:
    """What a bucket is.

    Args:
        full_at: When it would be full again, if nobody took from it and the rate stayed.
        rate: Share of the full rate after the last refusal.
        slowed_at: When that was.
        every: Seconds between two turns when *full_at* was said; 0 for nothing said.
    """

    full_at: float
    rate: float
    slowed_at: float
    every: float = 0.0


class Bucket:
    """One bucket; safe between threads, and between processes when it has a file.

    Args:
        quota: How much it holds.
        path: Its file; None for a bucket of this process alone.
        clock: Returns seconds that only grow, the same ones in all processes of this host.
    """

    def __init__(
        self, quota: Quota, path: Path | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quota, self._clock = quota, clock
        self._lock = threading.Lock()
        self._boot = _boot()
        self._fd, self._memory = _opened(path)

    def take(self) -> float:
        """Take a turn; return how many seconds from now it is."""
        with self._changing() as (state, now):
            every = self._pace(state, now, self._rate(state, now))
            turn = max(0.0, state.full_at - (self._quota.burst - 1) * every - now)
            state.full_at = max(state.full_at, now) + every
        return turn if turn > ROUNDING_S else 0.0

    def slow_down(self) -> None:
        """Halve the rate, and take the bucket as empty: AWS refused a call as one too many."""
        with self._changing() as (state, now):
            if now - state.slowed_at < QUIET_S:
                return
            state.rate = max(self._rate(state, now) / 2, SLOWEST)
            state.slowed_at = now
            every = self._pace(state, now, state.rate)
            state.full_at = max(state.full_at, now + self._quota.burst * every)

    def _pace(self, state: _State, now: float, rate: float) -> float:
        """Return the seconds between two turns: what is owed is owed in turns, not in seconds."""
        every = 1 / (self._quota.per_s * rate)
        if state.every and state.full_at > now:
            state.full_at = now + (state.full_at - now) * every / state.every
        state.every = every
        return every

    @property
    def per_s(self) -> float:
        """Calls per second that are made now at most, after a burst."""
        with self._changing() as (state, now):
            return self._quota.per_s * self._rate(state, now)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @staticmethod
    def _rate(state: _State, now: float) -> float:
        return min(1.0, state.rate + (now - state.slowed_at) / RECOVERY_S)

    @contextmanager
    def _changing(self) -> Iterator[tuple[_State, float]]:
        with self._lock:
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                now = self._clock()
                state = self._read(now)
                yield state, now
                _RECORD.pack_into(
                    self._memory,
                    0,
                    self._boot,
                    state.full_at,
                    state.rate,
                    state.slowed_at,
                    state.every,
                )
            finally:
                if self._fd is not None:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _read(self, now: float) -> _State:
        """Return what is written; a full bucket when that is another boot's, or no record."""
        boot, full_at, rate, slowed_at, every = _RECORD.unpack_from(self._memory, 0)
        fine = all(map(math.isfinite, (full_at, rate, slowed_at, every))) and every >= 0
        if boot != self._boot or not fine or not SLOWEST <= rate <= 1 or slowed_at > now:
            return _State(full_at=now, rate=1.0, slowed_at=now - RECOVERY_S)
        return _State(full_at=full_at, rate=rate, slowed_at=slowed_at, every=every)


class Buckets:
    """The buckets of one account and Region.

    Args:
        directory: Where their files are, of this host alone; None for this process alone.
        account_id: Twelve digits.
        region: As ``eu-west-1``.
        factor: How many times AWS's published numbers the account has.
        clock: As for :class:`Bucket`.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        account_id: str,
        region: str,
        factor: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._prefix = directory, f"{account_id}.{region}"
        self._factor, self._clock = factor, clock
        self._lock = threading.Lock()
        self._open: dict[str, Bucket] = {}

    def take(self, quotas: tuple[Quota, ...]) -> float:
        """Take a turn of each of them; return how many seconds from now the last one is."""
        return max((self._bucket(quota).take() for quota in quotas), default=0.0)

    def slow_down(self, quotas: tuple[Quota, ...]) -> None:
        """Halve the rate of each: AWS does not say which one was empty."""
        for quota in quotas:
            self._bucket(quota).slow_down()

    def _bucket(self, quota: Quota) -> Bucket:
        with self._lock:
            if quota.name not in self._open:
                path = self._directory and self._directory / f"{self._prefix}.{quota.name}"
                self._open[quota.name] = Bucket(quota.times(self._factor), path, clock=self._clock)
            return self._open[quota.name]


def _boot() -> bytes:
    return bytes.fromhex(_BOOT.read_text().strip().replace("-", ""))


def _opened(path: Path | None) -> tuple[int | None, mmap.mmap | bytearray]:
    if path is None:
        return None, bytearray(_RECORD.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(fd).st_size < _RECORD.size:
        os.ftruncate(fd, _RECORD.size)  # to zeros: no record; two who do it do the same
    return fd, mmap.mmap(fd, _RECORD.size)
