"""Strategies of the manifest, in domain words."""

from __future__ import annotations

from ovenbird.config import strategy_schema as schema
from ovenbird.domain.apps import (
    AllAtOnce,
    BlueGreen,
    Canary,
    Highlander,
    Keep,
    Rolling,
    Strategy,
)


def strategy(raw: schema.StrategyPart) -> Strategy:
    """Return the one strategy that a part of the manifest names."""
    if raw.blue_green is not None:
        return BlueGreen(**raw.blue_green.model_dump())
    if raw.highlander is not None:
        return Highlander(confirm=raw.highlander.confirm)
    if raw.rolling is not None:
        shares = tuple(raw.rolling.steps_percent)
        return Rolling(steps_percent=shares, observe_s=raw.rolling.observe_s)
    return AllAtOnce() if raw.canary is None else _canary(raw.canary)


def keep(raw: schema.KeepPart) -> Keep:
    """Return how long old server groups stay what they are."""
    return Keep(enabled_s=raw.enabled_s, groups=raw.groups)


def _canary(raw: schema.CanaryPart) -> Canary:
    return Canary(
        steps_percent=tuple(raw.steps_percent),
        observe_s=raw.observe_s,
        manual_steps=tuple(raw.manual_steps),
        baseline=raw.baseline,
        pause_s=raw.pause_s,
    )
