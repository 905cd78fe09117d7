"""Instances without machines, for load tests: thousands of them, running and healthy.

    RunInstances ─▶ running at once (moto's model alone) ─▶ a target ─▶ healthy after a while
    deregistered ─▶ gone at once: there are no requests to be finished

Nothing boots, nothing listens, no root is needed: what a load test of the API needs, and
nothing else. `ovenbird sandbox up --machineless` says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moto.elbv2.models import ELBv2Backend, FakeTargetGroup, elbv2_backends

from ovenbird.sandbox import alarms, balancer_rules, groups
from ovenbird.sandbox.loops import CONTROL, Loop
from ovenbird.sandbox.targets import HEALTH, HEALTHY, Key

EVERY_S = 0.5
HEALTHY_AFTER_S = 3.0


class Checks:
    """Finds each target healthy that is looked at for long enough.

    Args:
        healthy_after_s: How long.
        clock: Returns seconds that only grow.
    """

    def __init__(
        self, *, healthy_after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_s, self._clock = healthy_after_s, clock
        self._seen: dict[Key, float] = {}

    def tick(self) -> None:
        """Look at all targets of all accounts once."""
        for _, _, backend in list(elbv2_backends.iter_backends()):
            if isinstance(backend, ELBv2Backend):
                with CONTROL:
                    self._look(backend)
        for key in HEALTH.draining():
            HEALTH.forget(*key)

    def _look(self, backend: ELBv2Backend) -> None:
        now = self._clock()
        if all(self._is_settled(group) for group in backend.target_groups.values()):
            return
        waiting = [c.key for c in balancer_rules.checks(backend) if c.health.state == "initial"]
        for key in waiting:
            if now - self._seen.setdefault(key, now) >= self._after_s:
                HEALTH.write(*key, HEALTHY)
                del self._seen[key]

    @staticmethod
    def _is_settled(group: FakeTargetGroup) -> bool:
        """Tell whether all targets are known to be healthy: thousands are, all the time."""
        return all(HEALTH.find(*key) is HEALTHY for key in balancer_rules.keys(group))


@contextmanager
def running(*, healthy_after_s: float = HEALTHY_AFTER_S) -> Iterator[None]:
    """Let groups be followed, and their instances be healthy, for as long as the block runs."""
    checks = Checks(healthy_after_s=healthy_after_s)
    loop = Loop("machineless", every_s=EVERY_S, tick=checks.tick)
    loop.start()
    try:
        with alarms.running(), groups.running():
            yield
    finally:
        loop.stop()
