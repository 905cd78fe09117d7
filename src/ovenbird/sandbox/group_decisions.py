"""What a group does next: the lives of its instances, who goes, where the next one comes.

    Pending ─▶ (Pending:Wait) ─▶ Pending:Proceed ─▶ InService
       └───────────┴────────────────────┴──────────────┴──▶ Terminating
    Terminating, drained ─▶ (Terminating:Wait) ─▶ Terminating:Proceed ─▶ gone

The states in parentheses are for groups with lifecycle hooks.

Source: Auto Scaling user guide, "Amazon EC2 Auto Scaling instance lifecycle", "Configure
termination policies" (default policy), "How Amazon EC2 Auto Scaling balances capacity".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

DEAD = frozenset({"shutting-down", "terminated", "stopping", "stopped"})
LONGEST_PAUSE_S = 60.0


class Life(StrEnum):
    """Auto Scaling's lifecycle states, and one for what has left the group."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    PENDING_PROCEED = "Pending:Proceed"
    IN_SERVICE = "InService"
    STANDBY = "Standby"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"
    GONE = "Terminated"


LEAVING = frozenset({Life.TERMINATING, Life.TERMINATING_WAIT, Life.TERMINATING_PROCEED, Life.GONE})
COMING = frozenset({Life.PENDING, Life.PENDING_WAIT, Life.PENDING_PROCEED})


class Answer(StrEnum):
    """What a lifecycle action came to."""

    NONE = ""
    CONTINUE = "CONTINUE"
    ABANDON = "ABANDON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What decides about one instance.

    Args:
        machine: State of the EC2 instance.
        hooked: Whether the group has a hook for the transition.
        answer: Of all hooks together.
        replaced: Whether it is unhealthy, and unhealthy ones are replaced.
        draining: Whether it still answers requests of a load balancer that let go of it.
    """

    machine: str
    hooked: bool = False
    answer: Answer = Answer.NONE
    replaced: bool = False
    draining: bool = False


def next_life(life: Life, facts: Facts) -> Life:
    """Return the state that follows, which may be the same."""
    if life in COMING:
        return _coming(life, facts)
    if life is Life.IN_SERVICE:
        return Life.TERMINATING if facts.replaced else life
    return _leaving(life, facts)


def _coming(life: Life, facts: Facts) -> Life:
    if facts.replaced or facts.answer is Answer.ABANDON:
        return Life.TERMINATING
    if life is Life.PENDING and facts.machine == "running":
        return Life.PENDING_WAIT if facts.hooked else Life.PENDING_PROCEED
    if life is Life.PENDING_WAIT and facts.answer is Answer.CONTINUE:
        return Life.PENDING_PROCEED
    return Life.IN_SERVICE if life is Life.PENDING_PROCEED else life


def _leaving(life: Life, facts: Facts) -> Life:
    if life is Life.TERMINATING and not facts.draining:
        return Life.TERMINATING_WAIT if facts.hooked else Life.TERMINATING_PROCEED
    if life is Life.TERMINATING_WAIT and facts.answer is not Answer.NONE:
        return Life.TERMINATING_PROCEED
    if life is Life.TERMINATING_PROCEED and facts.machine == "terminated":
        return Life.GONE
    return life


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An instance among others of its group.

    Args:
        version: Of its launch template.
        born: When it was launched, Unix seconds.
        protected: From scale-in.
    """

    instance_id: str
    zone: str
    subnet: str = ""
    version: int = 0
    born: float = 0.0
    healthy: bool = True
    protected: bool = False


def victims(
    peers: Iterable[Peer], number: int, *, policies: Sequence[str] = ("Default",)
) -> tuple[str, ...]:
    """Return whom a scale-in terminates, one after the other.

    Unhealthy ones go first; then in the zone with the most instances whom the policies name,
    the oldest instance on a tie. Without hours that are billed `ClosestToNextInstanceHour`
    says nothing, nor does `AllocationStrategy`.
    """
    left, gone = list(peers), []
    for _ in range(number):
        zones = Counter(peer.zone for peer in left)
        free = [peer for peer in left if not peer.protected]
        if not free:
            break
        chosen = min(free, key=lambda p: (p.healthy, -zones[p.zone], _order(p, policies), p.born))
        left.remove(chosen)
        gone.append(chosen.instance_id)
    return tuple(gone)


def _order(peer: Peer, policies: Sequence[str]) -> tuple[float, ...]:
    return tuple(TERMINATION_POLICIES[policy](peer) for policy in policies)


def place(subnets: Mapping[str, str], peers: Sequence[Peer]) -> str:
    """Return the subnet for the next instance: of the emptiest zone, the emptiest in it.

    Args:
        subnets: Subnet id → zone, in the group's order.
        peers: The instances that are not leaving.
    """
    zones = Counter(peer.zone for peer in peers)
    used = Counter(peer.subnet for peer in peers)
    return min(subnets, key=lambda subnet: (zones[subnets[subnet]], used[subnet]))


TERMINATION_POLICIES: Mapping[str, Callable[[Peer], float]] = {
    "AllocationStrategy": lambda _: 0.0,
    "ClosestToNextInstanceHour": lambda _: 0.0,
    "Default": lambda peer: peer.version,
    "NewestInstance": lambda peer: -peer.born,
    "OldestInstance": lambda peer: peer.born,
    "OldestLaunchConfiguration": lambda peer: peer.version,
    "OldestLaunchTemplate": lambda peer: peer.version,
}


def pause_s(failures: int) -> float:
    """Return how many seconds to wait after so many failed launches in a row."""
    return min(2.0 ** (failures - 1), LONGEST_PAUSE_S) if failures else 0.0


def sizes(minimum: int, maximum: int, desired: int | None) -> int:
    """Return the desired capacity; without one it is the minimum.

    Raises:
        ValueError: The three do not go together, in Auto Scaling's words.
    """
    if minimum < 0 or minimum > maximum:
        raise ValueError(
            f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}"
        )
    if desired is None:
        return minimum
    if not minimum <= desired <= maximum:
        raise ValueError(
            f"Desired capacity:{desired} must be between the specified min size:{minimum}"
            f" and max size:{maximum}"
        )
    return desired
