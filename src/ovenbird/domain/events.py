"""Events: append-only facts about releases and rollouts, for people and for audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact.

    Args:
        sequence: Increases by one with each event of the store; 0 before it is stored.
        subject: Release or rollout id, or cluster name.
        kind: A dotted word, as ``bake.finished`` or ``rollout.weights``.
        text: The fact in words.
        facts: The same for machines.
    """

    sequence: int
    at: datetime
    subject: str
    kind: str
    text: str
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
