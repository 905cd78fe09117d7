"""What no plan can be made of is refused before anything is done."""

from __future__ import annotations

from ovenbird.domain.apps import Canary, EnvironmentSpec
from ovenbird.domain.errors import InvalidRequest

PERIODS_PER_STEP = 3  # fewer datapoints than this say nothing


def refuse_nonsense(environment: EnvironmentSpec, period_s: float) -> None:
    """Refuse what no plan can be made of, before anything is done.

    Args:
        environment: A part of the manifest.
        period_s: Period of the load balancer's metrics, seconds.

    Raises:
        InvalidRequest: The capacity or a canary's step makes no sense.
    """
    capacity = environment.capacity
    if not 0 <= capacity.min <= capacity.desired <= capacity.max or capacity.desired < 1:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: capacity {capacity} (desired / min / max) cannot be",
            hint="Needed: `min` <= `desired` <= `max`, and at least 1 desired",
        )
    strategy = environment.strategy
    if not isinstance(strategy, Canary):
        return
    shares = strategy.steps_percent
    rising = all(a < b for a, b in zip((0, *shares), (*shares, 100), strict=True))
    if not shares or not rising:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: the canary steps do not rise from 1 to 99",
            hint="For example `steps_percent: [5, 25, 50]`",
        )
    least = PERIODS_PER_STEP * period_s
    if strategy.observe_s < least:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: canary steps of {strategy.observe_s:g} s are too short",
            hint=f"Metrics come every {period_s:g} s: set `observe_s` to {least:g} or more",
        )
