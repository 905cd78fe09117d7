"""What a plan needs while it runs and leaves afterwards: instances, and what they cost.

Only on-demand prices that the operator wrote down are used; where one is missing, the cost
is not known. A group that rests keeps its instances, so it still costs afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from ovenbird.domain.clusters import Cluster
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    AwaitWord,
    CloseToTesters,
    CreateServerGroup,
    Decommission,
    Disable,
    Enable,
    Judge,
    Mend,
    Observe,
    OpenToTesters,
    Pin,
    Resize,
    SetWeights,
    Unpin,
)

Sizes = Mapping[str, int]
"""Server group → instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Instances before, during and after a plan, by server group.

    Args:
        most: At the moment with the most instances.
        more_per_hour: How much more than now it costs at the dearest moment, in the currency of
            the prices; None when a price is not known.
        more_after: Likewise, when all is done.
        unknown: Instance types without a price, or groups whose type is not known.
    """

    now: Sizes
    most: Sizes
    after: Sizes
    more_per_hour: float | None = None
    more_after: float | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What instances cost.

    Args:
        prices: Instance type → price of one instance for an hour.
        types: Server group → instance type, of those that there are.
    """

    prices: Mapping[str, float] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


def footprint(cluster: Cluster, actions: Sequence[Action], rates: Rates) -> Footprint:
    """Return what a plan needs, when no other hand changes a size meanwhile.

    Args:
        cluster: As observed before.
        actions: Of the plan, in order.
        rates: What instances cost; the types of new groups stand in the plan.
    """
    now = {str(group.name): group.capacity.desired for group in cluster.groups}
    moments = [now, *_moments(now, actions)]
    made = {str(a.name): a.instance_type for a in actions if isinstance(a, CreateServerGroup)}
    types = {**rates.types, **made}
    missing = sorted({word for sizes in moments for word in _unknown(sizes, now, types, rates)})
    costs = [] if missing else [_more(sizes, now, types, rates) for sizes in moments]
    return Footprint(
        now=now,
        most=max(moments, key=lambda sizes: sum(sizes.values())),
        after=moments[-1],
        more_per_hour=max(costs) if costs else None,
        more_after=costs[-1] if costs else None,
        unknown=tuple(missing),
    )


def _moments(now: Sizes, actions: Sequence[Action]) -> Iterator[dict[str, int]]:
    sizes = dict(now)
    for action in actions:
        match action:
            case CreateServerGroup():
                # One that is half made keeps the size that it has.
                sizes.setdefault(str(action.name), action.capacity.desired)
            case Resize():
                sizes[str(action.name)] = action.capacity.desired
            case Decommission():
                sizes.pop(str(action.name), None)
            case (
                Pin() | Unpin() | AwaitHealthy() | SetWeights() | OpenToTesters()
                | CloseToTesters() | Judge() | Observe() | AwaitWord() | Disable() | Enable()
                | Mend()
            ):  # fmt: skip
                continue
            case _:
                assert_never(action)
        yield dict(sizes)


def _changed(sizes: Sizes, now: Sizes) -> Iterator[tuple[str, int]]:
    for name in sizes.keys() | now.keys():
        if more := sizes.get(name, 0) - now.get(name, 0):
            yield name, more


def _unknown(sizes: Sizes, now: Sizes, types: Mapping[str, str], rates: Rates) -> Iterator[str]:
    for name, _ in _changed(sizes, now):
        kind = types.get(name, "")
        if kind not in rates.prices:
            yield kind or name


def _more(sizes: Sizes, now: Sizes, types: Mapping[str, str], rates: Rates) -> float:
    return sum(more * rates.prices[types[name]] for name, more in _changed(sizes, now))
