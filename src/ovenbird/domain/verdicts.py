"""What a judge says of a canary, and what it looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class MetricVerdict:
    """What the judge found of one metric.

    Args:
        reason: In plain words, with the numbers.
        numbers: For machines: ``{"canary": 0.02, "baseline": 0.01, "low": -0.01, "high": 0.03}``.
        needs: How many more requests (or numbers) of the canary it takes to tell, about; None
            when it can tell, or nobody knows.
    """

    name: str
    outcome: Outcome
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    needs: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the judge found, with its reasons and its samples.

    Args:
        metrics: One for each metric that was judged.
        score: Of ``compare``, 0..100; None of others.
        is_final: Whether a look later cannot change it: the evidence is there.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    canary: Sample | None = None
    baseline: Sample | None = None
    metrics: tuple[MetricVerdict, ...] = ()
    score: float | None = None
    is_final: bool = False
