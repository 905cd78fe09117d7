"""The health of load balancer targets, as the balancer's own checks found it.

``balancers`` writes it, ``groups`` (Auto Scaling) and DescribeTargetHealth read it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """State, reason and description in ELBv2's words.

    Args:
        state: ``initial``, ``healthy``, ``unhealthy``, ``unused`` or ``draining``.
    """

    state: str
    reason: str = ""
    description: str = ""


class HealthBook:
    """What is known of each target; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str, int], TargetHealth] = {}

    def write(self, target_group: str, target: str, port: int, health: TargetHealth) -> None:
        """Remember the health of one target of a target group (by ARN)."""
        with self._lock:
            self._found[target_group, target, port] = health

    def find(self, target_group: str, target: str, port: int) -> TargetHealth | None:
        """Return what was last found, or None before the first check."""
        with self._lock:
            return self._found.get((target_group, target, port))

    def forget(self, target_group: str, target: str, port: int) -> None:
        """Drop a target that is gone."""
        with self._lock:
            self._found.pop((target_group, target, port), None)


HEALTH = HealthBook()
