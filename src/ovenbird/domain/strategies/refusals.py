"""What no plan can be made of is refused before anything is done."""

from __future__ import annotations

from collections.abc import Collection

from ovenbird.domain.apps import (
    AllAtOnce,
    AppSpec,
    BlueGreen,
    Canary,
    EnvironmentSpec,
    Highlander,
    Rolling,
)
from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.names import ClusterName
from ovenbird.domain.resting import MAX_RESTING
from ovenbird.domain.strategies.canaries import MOST_BESIDE_BASELINE

PERIODS_PER_STEP = 3  # fewer datapoints than this say nothing


def refuse_nonsense(environment: EnvironmentSpec, period_s: float) -> None:
    """Refuse what no plan can be made of, before anything is done.

    Args:
        environment: A part of the manifest.
        period_s: Period of the load balancer's metrics, seconds.

    Raises:
        InvalidRequest: The capacity, the strategy or a limit makes no sense.
    """
    capacity = environment.capacity
    if not 0 <= capacity.min <= capacity.desired <= capacity.max or capacity.desired < 1:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: capacity {capacity} (desired / min / max) cannot be",
            hint="Needed: `min` <= `desired` <= `max`, and at least 1 desired",
        )
    _refuse_limits(environment)
    match environment.strategy:
        case Canary() as canary:
            _refuse_steps(environment, "canary", canary.steps_percent)
            _refuse_canary(environment, canary, period_s)
        case Rolling() as rolling:
            _refuse_steps(environment, "rolling", rolling.steps_percent)
        case AllAtOnce() | BlueGreen() | Highlander():
            pass


def refuse_unconfirmed(environment: EnvironmentSpec, cluster: ClusterName) -> None:
    """Refuse to destroy every way back without a person's explicit word.

    Raises:
        InvalidRequest: The strategy is highlander, and the cluster's name was not written.
    """
    strategy = environment.strategy
    if not isinstance(strategy, Highlander) or strategy.confirm == str(cluster):
        return
    other = f", not `{strategy.confirm}`" if strategy.confirm else ""
    raise InvalidRequest(
        f"`deploy.{environment.name}`: highlander destroys all other server groups of `{cluster}`,"
        f" and must be confirmed by that name{other}",
        hint=f"`--confirm {cluster}`, or `highlander: {{confirm: {cluster}}}` in the manifest",
    )


def refuse_needless(app: AppSpec, confirmed: Collection[str]) -> None:
    """Refuse a confirmation that nothing asks for: its name may be a slip.

    Raises:
        InvalidRequest: No highlander of the app has a cluster of that name.
    """
    alone = {
        str(ClusterName(app=app.app, stack=spec.name))
        for spec in app.environments
        if isinstance(spec.strategy, Highlander)
    }
    if needless := sorted(set(confirmed) - alone):
        known = ", ".join(f"`{name}`" for name in sorted(alone))
        raise InvalidRequest(
            f"`{needless[0]}` is confirmed, and no environment deploys there as highlander",
            hint=f"What can be confirmed: {known or 'nothing'}",
        )


def refuse_unbalanced(environment: EnvironmentSpec, cluster: Cluster) -> None:
    """Refuse to divide traffic where nothing divides it.

    Raises:
        InvalidRequest: The strategy needs a load balancer, and there is none.
    """
    if cluster.balanced or not isinstance(environment.strategy, BlueGreen | Canary):
        return
    raise InvalidRequest(
        f"`deploy.{environment.name}`: no load balancer divides the traffic of `{cluster.name}`",
        hint="Use `rolling`: the new server group grows while the old one shrinks",
    )


def _refuse_limits(environment: EnvironmentSpec) -> None:
    if not 1 <= environment.min_healthy_percent <= 100:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: `min_healthy_percent` is not between 1 and 100",
            hint="100 waits until all wanted instances are healthy",
        )
    if not 1 <= environment.keep.groups <= MAX_RESTING:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: `keep.groups` is not between 1 and {MAX_RESTING}",
            hint="A listener rule has room for five: new, old, baseline, and two that rest",
        )


def _refuse_steps(environment: EnvironmentSpec, kind: str, shares: tuple[int, ...]) -> None:
    rising = all(a < b for a, b in zip((0, *shares), (*shares, 100), strict=True))
    if not shares or not rising:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: the {kind} steps do not rise from 1 to 99",
            hint="For example `steps_percent: [5, 25, 50]`",
        )


def _refuse_canary(environment: EnvironmentSpec, canary: Canary, period_s: float) -> None:
    least = PERIODS_PER_STEP * period_s
    if canary.observe_s < least:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: canary steps of {canary.observe_s:g} s are too short",
            hint=f"Metrics come every {period_s:g} s: set `observe_s` to {least:g} or more",
        )
    if unknown := sorted(set(canary.manual_steps) - set(canary.steps_percent)):
        raise InvalidRequest(
            f"`deploy.{environment.name}`: manual step {unknown[0]} is none of the canary's steps",
            hint=f"`steps_percent` are {', '.join(map(str, canary.steps_percent))}",
        )
    if canary.baseline and canary.steps_percent[0] > MOST_BESIDE_BASELINE:
        raise InvalidRequest(
            f"`deploy.{environment.name}`: the first step is {canary.steps_percent[0]} %, and a"
            " baseline would take as much",
            hint=f"With `baseline: true` the first step is {MOST_BESIDE_BASELINE} at most",
        )
