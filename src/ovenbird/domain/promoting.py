"""What a person leaves out who promotes a rollout by hand: looking, waiting, small steps.

The rest goes on in its order, so that capacity still comes before weight. A stretch of a
plan ends where something is made, destroyed, disabled or shrunk: what stands there may
need all that came before. Within a stretch only the last weights count, and of a size
that is asked for again before any weights that count, only the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    AwaitWord,
    CreateServerGroup,
    Judge,
    Observe,
    Resize,
    SetWeights,
)

LOOKS = (Judge, Observe, AwaitWord)


def spare(actions: Sequence[Action]) -> frozenset[int]:
    """Return the places of the actions that a promoted rollout does without.

    It may be promoted before any of them: what is kept is enough from there on.

    Args:
        actions: Of the plan, until the new server group is in its place.
    """
    found: set[int] = set()
    for begin, end in _stretches(actions):
        found.update(_spare_in(actions, range(begin, end)))
    return frozenset(found)


def _stretches(actions: Sequence[Action]) -> Iterator[tuple[int, int]]:
    """Yield the beginning and the end of each stretch without anything that must stay."""
    sizes: dict[ServerGroupName, int] = {}
    begin = 0
    for place, action in enumerate(actions):
        if not _may_go(action, sizes):
            yield begin, place
            begin = place + 1
        if isinstance(action, CreateServerGroup | Resize):
            sizes[action.name] = action.capacity.desired
    yield begin, len(actions)


def _may_go(action: Action, sizes: dict[ServerGroupName, int]) -> bool:
    """Tell whether an action only looks, waits, divides traffic, or makes something larger."""
    if isinstance(action, Resize):
        return action.capacity.desired >= sizes.get(action.name, action.capacity.desired + 1)
    return isinstance(action, (*LOOKS, SetWeights, AwaitHealthy))


def _spare_in(actions: Sequence[Action], stretch: range) -> Iterator[int]:
    later: dict[tuple[type[Action], ServerGroupName], int] = {}  # asked for after this place
    weighed = False
    for place in reversed(stretch):
        action = actions[place]
        match action:
            case Judge() | Observe() | AwaitWord():
                yield place
            case SetWeights():
                if weighed:
                    yield place
                else:
                    later.clear()  # these weights need what comes before them
                weighed = True
            case Resize() | AwaitHealthy():
                key = (type(action), action.name)
                if _size(action) <= later.get(key, -1):
                    yield place
                later[key] = max(later.get(key, -1), _size(action))
            case _:
                pass


def _size(action: Resize | AwaitHealthy) -> int:
    return action.instances if isinstance(action, AwaitHealthy) else action.capacity.desired
