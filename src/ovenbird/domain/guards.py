"""Guards: what the instances of a canary may not do too often while it is observed.

Each look notes the state of every instance; what is counted is what changed between looks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

States = Mapping[str, str]
"""Instance id → its state, ``healthy`` and others (``clusters.InstanceState``)."""

HEALTHY, UNHEALTHY = "healthy", "unhealthy"
LEAVING = frozenset({"draining", "terminating"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """How often is still fine, of all instances together in one step; None: as often as they do.

    Args:
        flaps: A healthy instance becomes unhealthy.
        restarts: An instance that was healthy leaves, and another takes its place.
    """

    flaps: int | None = 2
    restarts: int | None = 1

    @property
    def watches(self) -> bool:
        """Whether instances have to be looked at."""
        return self.flaps is not None or self.restarts is not None


def instance_reasons(looks: Sequence[States], guards: Guards) -> tuple[str, ...]:
    """Return why the instances stop the rollout: a sentence for each guard that they broke.

    Args:
        looks: What was seen, oldest first.
        guards: What is still fine.
    """
    counted = (
        (flaps(looks), guards.flaps, "became unhealthy"),
        (restarts(looks), guards.restarts, "were replaced"),
    )
    return tuple(
        f"Instances of the canary {what} {_times(number)} in this step; allowed: {_times(allowed)}"
        for number, allowed, what in counted
        if allowed is not None and number > allowed
    )


def flaps(looks: Sequence[States]) -> int:
    """Return how often a healthy instance became unhealthy."""
    return sum(
        state == HEALTHY and after.get(instance) == UNHEALTHY
        for before, after in itertools.pairwise(looks)
        for instance, state in before.items()
    )


def restarts(looks: Sequence[States]) -> int:
    """Return how many instances that were healthy once have left, or are about to, for others.

    What left while nothing came is a group that shrank by itself.
    """
    once = {instance for look in looks for instance, state in look.items() if state == HEALTHY}
    last = looks[-1] if looks else {}
    gone = sum(instance not in last or last[instance] in LEAVING for instance in once)
    first: States = next((look for look in looks if look), {})
    come = len({instance for look in looks for instance in look} - set(first))
    return min(gone, come)


def _times(number: int | None) -> str:
    return "once" if number == 1 else f"{number} times"
