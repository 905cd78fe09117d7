"""What a judge says of a canary, and what it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ovenbird.domain.names import ServerGroupName


class Outcome(StrEnum):
    """A judge's word. ``not_enough_data`` never promotes and never condemns."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    MARGINAL = "marginal"
    FAIL = "fail"
    NOT_ENOUGH_DATA = "not_enough_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Requests of one server group in one stretch of time, from the load balancer's metrics.

    Args:
        requests: Number of requests that its instances answered.
        errors: Of these, answers 500..599.
        slow: Of these, answered later than the policy's threshold.
    """

    name: ServerGroupName
    since: datetime
    until: datetime
    requests: float
    errors: float
    slow: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the judge found, with its reasons and its samples."""

    outcome: Outcome
    reasons: tuple[str, ...]
    canary: Sample | None = None
    baseline: Sample | None = None
