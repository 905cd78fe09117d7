"""The health of load balancer targets, as the balancer's own checks found it.

``balancers`` writes it, ``groups`` (Auto Scaling) and DescribeTargetHealth read it.

Source: ELBv2 API reference, TargetHealth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

Key = tuple[str, str, int]
"""Target group (ARN), target (instance id or address), port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """State, reason and description in ELBv2's words.

    Args:
        state: ``initial``, ``healthy``, ``unhealthy``, ``unused`` or ``draining``.
    """

    state: str
    reason: str = ""
    description: str = ""


HEALTHY = TargetHealth(state="healthy")
REGISTERING = TargetHealth(
    state="initial",
    reason="Elb.RegistrationInProgress",
    description="Target registration is in progress",
)
CHECKING = TargetHealth(
    state="initial",
    reason="Elb.InitialHealthChecking",
    description="Initial health checks in progress",
)
DRAINING = TargetHealth(
    state="draining",
    reason="Target.DeregistrationInProgress",
    description="Target deregistration is in progress",
)
NOT_IN_USE = TargetHealth(
    state="unused",
    reason="Target.NotInUse",
    description="Target group is not configured to receive traffic from the load balancer",
)
NOT_REGISTERED = TargetHealth(
    state="unused",
    reason="Target.NotRegistered",
    description="Target is not registered to the target group",
)


def invalid_state(state: str) -> TargetHealth:
    """Return the health of a target whose instance does not run."""
    return TargetHealth(
        state="unused",
        reason="Target.InvalidState",
        description=f"Target is in the {state} state",
    )


class HealthBook:
    """What is known of each target; safe between threads.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[Key, TargetHealth] = {}
        self._until: dict[Key, float] = {}

    def write(self, target_group: str, target: str, port: int, health: TargetHealth) -> None:
        """Remember the health of one target of a target group (by ARN)."""
        with self._lock:
            self._until.pop((target_group, target, port), None)
            self._found[target_group, target, port] = health

    def drain(self, target_group: str, target: str, port: int, *, within_s: float) -> None:
        """Remember that a target finishes its requests; after *within_s* it is forgotten."""
        with self._lock:
            key = (target_group, target, port)
            self._found[key], self._until[key] = DRAINING, self._clock() + within_s

    def find(self, target_group: str, target: str, port: int) -> TargetHealth | None:
        """Return what was last found, or None before the first check."""
        with self._lock:
            self._expire()
            return self._found.get((target_group, target, port))

    def forget(self, target_group: str, target: str, port: int) -> None:
        """Drop a target that is gone."""
        with self._lock:
            self._until.pop((target_group, target, port), None)
            self._found.pop((target_group, target, port), None)

    def draining(self, target_group: str = "") -> tuple[Key, ...]:
        """Return the targets that finish their requests, of one target group or of all."""
        with self._lock:
            self._expire()
            return tuple(key for key in self._until if target_group in {"", key[0]})

    def is_draining(self, target: str) -> bool:
        """Tell whether a target still finishes requests, of any target group."""
        return any(key[1] == target for key in self.draining())

    def _expire(self) -> None:
        now = self._clock()
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key], self._found[key]


HEALTH = HealthBook()
