"""Releases and rollouts: one attempt to bring a commit to all its environments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ClusterName


class Phase(StrEnum):
    """Where a release or a rollout stands."""

    RUNNING = "running"
    WAITING = "waiting"  # for an approval
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    ABORTED = "aborted"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in {Phase.RUNNING, Phase.WAITING}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """What a person asked for.

    Args:
        release_id: ``app-commit7-attempt``; the workflow's id.
        url: Git remote or directory.
        commit: Resolved before the workflow starts, so that asking twice starts once.
        actor: Who asked.
    """

    release_id: str
    app: str
    url: str
    ref: str
    commit: str
    directory: str
    actor: str
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """One image onto one cluster: child of a release, or standalone (rollback, resize, ...)."""

    rollout_id: str
    release_id: str
    environment: str
    cluster: ClusterName
    image_id: ImageId
    version: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release as the store knows it."""

    release_id: str
    app: str
    version: str
    ref: str
    commit: str
    phase: Phase
    actor: str
    started_at: datetime
    ended_at: datetime | None = None
    image_id: str = ""
    error: str = ""
    hint: str = ""
