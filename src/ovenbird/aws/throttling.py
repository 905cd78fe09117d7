"""AWS's limits, kept without any adapter knowing: hooks in boto's clients.

    request made ─▶ its turn (token_buckets) ─▶ signed, sent ─▶ refused as one too many?
        └─────────────── again, later, at half the rate ◀──────────┘   for minutes, told

Turns are taken before a request is signed: a signature is good for minutes only.

botocore's own modes give up too soon in a crowd: `standard` and `adaptive` share a quota of
retries in each client (500 tokens, 5 for a retry), which a few hundred refusals use up, and
what `adaptive` learns of the rate is each client's alone. Measured: see
docs/decisions/0023-shared-polls.md.

Source: botocore/endpoint.py (events ``request-created`` and ``needs-retry``),
botocore/retries/standard.py (RetryQuota).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ovenbird.aws.quotas import quotas_of
from ovenbird.aws.token_buckets import Buckets
from ovenbird.system.clock import SystemClock

PATIENCE_S = 600.0  # with a call that is refused again and again
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0
TOLD_FROM_S = 5.0  # a shorter wait is no news
SLICE_S = 1.0  # after so long a person's word to end it is looked for again
# Source: the "Error codes" of the API references of EC2, ELBv2, Auto Scaling and CloudWatch.
CODES = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RateExceeded",
        "PriorRequestNotComplete",
    }
)
_BEGUN, _TRIES = "ovenbird_refused_at", "ovenbird_refusals"


class _Nobody:
    """Who hears of waits when nobody listens."""

    def told(self, text: str) -> None:
        """Say nothing."""

    def heed(self) -> None:
        """Go on."""


class Listener(_Nobody):
    """Whoever waits for the calls of a thread.

    Args:
        told: Gets words on a wait.
        heed: Raises when the wait is to end.
    """

    def __init__(self, told: Callable[[str], None], heed: Callable[[], None]) -> None:
        self._told, self._heed = told, heed

    def told(self, text: str) -> None:
        """Say it."""
        self._told(text)

    def heed(self) -> None:
        """Raise if the wait is to end."""
        self._heed()


_listener: ContextVar[_Nobody] = ContextVar("listener", default=_Nobody())  # noqa: B039 - has no state


@contextmanager
def listening(told: Callable[[str], None], heed: Callable[[], None]) -> Iterator[None]:
    """Let someone hear of this thread's waits for AWS, and end them, while the block runs."""
    token = _listener.set(Listener(told, heed))
    try:
        yield
    finally:
        _listener.reset(token)


def wait(seconds: float) -> None:
    """Wait, as long as nobody ends it.

    Raises:
        Aborted: Whoever listens ended it.
    """
    clock, until = SystemClock(), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        heed()
        clock.sleep(min(left, SLICE_S))


def heed() -> None:
    """Raise if whoever listens wants no more waiting."""
    _listener.get().heed()


class Throttle:
    """Keeps the calls of one account's clients below AWS's limits.

    Args:
        buckets: Of the account and Region; None for calls without a turn.
        pause: Waits.
        jitter: Returns a number from 0 to 1, so that those who wait do not come back together.
    """

    def __init__(
        self,
        buckets: Buckets | None,
        *,
        pause: Callable[[float], None] = wait,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._buckets, self._pause, self._jitter = buckets, pause, jitter

    def attach(self, client: Any) -> None:
        """Hook into a client of boto's."""
        model = client.meta.service_model
        service, name = model.service_name, model.service_id.hyphenize()
        events = client.meta.events

        def before(operation_name: str, **_others: Any) -> None:
            self._take_turn(service, operation_name)

        def after(response: Any, operation: Any, request_dict: Any, **_others: Any) -> float | None:
            return self._pause_after(service, operation.name, response, request_dict["context"])

        # Of the same level as what signs and what retries, before them.
        events.register_first(f"request-created.{name}", before, unique_id="ovenbird-turn")
        events.register_first(f"needs-retry.{name}", after, unique_id="ovenbird-patience")

    def _take_turn(self, service: str, operation: str) -> None:
        quotas = quotas_of(service, operation)
        if self._buckets is None or not quotas:
            return
        seconds = self._buckets.take(quotas)
        if seconds >= TOLD_FROM_S:
            _listener.get().told(
                f"Waiting {seconds:.0f} s for a turn with {operation}: "
                f"AWS takes {quotas[0].per_s:g} a second"
            )
        if seconds > 0:
            self._pause(seconds)

    def _pause_after(
        self, service: str, operation: str, response: Any, context: dict[str, Any]
    ) -> float | None:
        """Return in how many seconds to call again; None to leave it to boto."""
        if response is None:
            return None
        code = response[1].get("Error", {}).get("Code", "")
        if code not in CODES:
            return None
        if self._buckets is not None:
            self._buckets.slow_down(quotas_of(service, operation))
        begun = context.setdefault(_BEGUN, time.monotonic())
        if time.monotonic() - begun > PATIENCE_S:
            return None
        context[_TRIES] = tries = context.get(_TRIES, 0) + 1
        longest = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
        if longest >= TOLD_FROM_S:
            _listener.get().told(f"AWS refuses {operation} as one too many: trying again")
        self._pause(longest * (0.5 + self._jitter() / 2))
        return 0.0
