"""Health checks of a load balancer's targets: real requests, ELBv2's rules and words.

    what to check ──▶ due? ──▶ worker in the account's network: GET ──▶ judged ──▶ written

A new target is healthy after one good check and is asked often until then; a bad
answer counts against it no more often than the target group's interval.

Source: Application Load Balancer user guide, "Health checks for your target groups";
ELBv2 API reference, TargetHealth.
"""

from __future__ import annotations

import errno
import http.client
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ovenbird.sandbox import networks
from ovenbird.sandbox.loops import Loop
from ovenbird.sandbox.targets import CHECKING, HEALTHY, REGISTERING, Key, TargetHealth

log = logging.getLogger(__name__)

WORKERS = 16  # of one account
EAGER_S = 0.3  # between two checks of a new target
LOOK_S = 0.1
STOP_S = 2.0
TIMEOUT = TargetHealth(state="unhealthy", reason="Target.Timeout", description="Request timed out")
FAILED = TargetHealth(
    state="unhealthy", reason="Target.FailedHealthChecks", description="Health checks failed"
)
# The kernel says so of a machine that is gone; on AWS nobody says anything.
_SILENT = {errno.EHOSTUNREACH, errno.ENETUNREACH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What to ask of one target, and how to judge it.

    Args:
        key: Of the target.
        health: What is known of it now.
        port: To be asked; need not be the one that takes the traffic.
        matcher: Statuses that are good: ``200``, ``200,202`` or ``200-299``.
        healthy_after: Good checks in a row.
        unhealthy_after: Bad checks in a row.
    """

    key: Key
    health: TargetHealth
    address: str
    port: int
    path: str = "/"
    matcher: str = "200"
    every_s: float = 30.0
    timeout_s: float = 5.0
    healthy_after: int = 5
    unhealthy_after: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of a target between two checks.

    Args:
        run: Equal results in a row.
        counted_at: When the last result was counted.
    """

    health: TargetHealth = REGISTERING
    passing: bool = True
    run: int = 0
    counted_at: float = float("-inf")


def judged(before: Record, failure: TargetHealth | None, check: Check, *, now: float) -> Record:
    """Return the record after one more result.

    Args:
        before: The record so far.
        failure: What the target is when it fails, or None for a good answer.
        check: Its thresholds and interval.
        now: Seconds, on the clock of ``counted_at``.
    """
    passed, new = failure is None, before.health.state == "initial"
    if new and not passed and now - before.counted_at < check.every_s:
        return replace(before, health=CHECKING)
    run = before.run + 1 if passed == before.passing else 1
    needed = check.healthy_after if passed else check.unhealthy_after
    if passed and (new or run >= needed):
        health = HEALTHY
    elif failure and (run >= needed or before.health.state == "unhealthy"):
        health = failure
    else:
        health = CHECKING if new else before.health
    return Record(health=health, passing=passed, run=run, counted_at=now)


def matches(matcher: str, status: int) -> bool:
    """Tell whether a status is good by a target group's matcher."""
    spans = re.findall(r"(\d+)(?:-(\d+))?", matcher)
    return any(int(low) <= status <= int(high or low) for low, high in spans)


def failure_of(check: Check) -> TargetHealth | None:
    """Ask the target; return what it is when it fails, or None for a good answer."""
    begun = time.monotonic()
    try:
        status = _get(check)
    except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: of the path
        silent = isinstance(error, TimeoutError) or getattr(error, "errno", 0) in _SILENT
        return TIMEOUT if silent else FAILED
    if time.monotonic() - begun > check.timeout_s:
        return TIMEOUT
    if not matches(check.matcher, status):
        words = f"Health checks failed with these codes: [{status}]"
        return TargetHealth(
            state="unhealthy", reason="Target.ResponseCodeMismatch", description=words
        )
    return None


class Checker:
    """Checks the targets of one account, from inside its network.

    Args:
        namespace: The account's.
        wanted: Says what to check now.
        found: Told the health of a target after each check.
    """

    def __init__(
        self,
        namespace: str,
        *,
        wanted: Callable[[], Iterable[Check]],
        found: Callable[[Key, TargetHealth], None],
    ) -> None:
        self._namespace, self._wanted, self._found = namespace, wanted, found
        self._lock = threading.Lock()
        self._records: dict[Key, Record] = {}
        self._due: dict[Key, float] = {}
        self._work: queue.SimpleQueue[Check | None] = queue.SimpleQueue()
        self._loop = Loop(f"checks-{namespace}", every_s=LOOK_S, tick=self._tick)
        self._threads = [
            threading.Thread(target=self._worker, name=f"check-{namespace}", daemon=True)
            for _ in range(WORKERS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()
        self._loop.start()

    def stop(self) -> None:
        """End; a check that hangs ends by its time-out and tells nobody."""
        self._loop.stop()
        with self._lock:
            self._records.clear()
        for _ in self._threads:
            self._work.put(None)
        end = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _tick(self) -> None:
        checks, now = {check.key: check for check in self._wanted()}, time.monotonic()
        with self._lock:
            for key in self._records.keys() - checks.keys():
                del self._records[key]
                self._due.pop(key, None)
            for key, check in checks.items():
                if self._is_new(check):
                    self._records[key], self._due[key] = Record(), now
                if self._due[key] <= now:
                    self._due[key] = float("inf")  # until it is answered
                    self._work.put(check)

    def _is_new(self, check: Check) -> bool:
        """Tell whether a target is unknown, or was registered again since its last check."""
        record = self._records.get(check.key)
        return record is None or (check.health == REGISTERING != record.health)

    def _worker(self) -> None:
        networks.enter(self._namespace)
        while check := self._work.get():
            try:
                self._answered(check, failure_of(check))
            except Exception:  # a worker that ends would leave its target unchecked for ever
                log.exception("check of %s", check.key)

    def _answered(self, check: Check, failure: TargetHealth | None) -> None:
        now = time.monotonic()
        with self._lock:
            if check.key not in self._records:
                return  # deregistered meanwhile
            record = judged(self._records[check.key], failure, check, now=now)
            self._records[check.key] = record
            new = record.health.state == "initial"
            self._due[check.key] = now + (min(EAGER_S, check.every_s) if new else check.every_s)
        self._found(check.key, record.health)


def _get(check: Check) -> int:
    connection = http.client.HTTPConnection(check.address, check.port, timeout=check.timeout_s)
    try:
        headers = {"User-Agent": "ELB-HealthChecker/2.0", "Connection": "close"}
        connection.request("GET", check.path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
