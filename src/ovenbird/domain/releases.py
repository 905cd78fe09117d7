"""Releases and rollouts: one attempt to bring a commit to all its environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ovenbird.domain.events import Event
from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import Plan
from ovenbird.domain.verdicts import MetricVerdict

STAGES = ("build", "publish", "bake", "boot", "share")  # of a release, before its rollouts


class Phase(StrEnum):
    """Where a release or a rollout stands."""

    QUEUED = "queued"  # another works on the same app or cluster: it waits for its turn
    RUNNING = "running"
    WAITING = "waiting"  # for an approval, or for a person who lets it go on
    PROMOTED = "promoted"
    BAKED = "baked"  # the image is there, which was all that was asked for
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"  # a newer one took its place before its turn came
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in {Phase.QUEUED, Phase.RUNNING, Phase.WAITING}


class Goal(StrEnum):
    """How far a release goes."""

    ROLLOUT = "rollout"  # through all environments
    IMAGE = "image"  # to the image, which no environment gets


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """What a person asked for.

    Args:
        release_id: ``app-commit7-attempt``; the workflow's id.
        url: Git remote or directory.
        commit: Resolved before the workflow starts, so that asking twice starts once.
        actor: Who asked.
        confirmed: Clusters of which nothing else need stay (``highlander``).
        approval_within_s: Seconds after which a release that nobody approved is rejected.
        values: Of the environment of machines, over those of the manifest.
        queue: Whether it waits for its turn where another works, instead of failing.
    """

    release_id: str
    app: str
    url: str
    ref: str
    commit: str
    directory: str
    actor: str
    fresh: bool = False
    goal: Goal = Goal.ROLLOUT
    confirmed: tuple[str, ...] = ()
    approval_within_s: float = 7 * 86_400.0
    values: Mapping[str, str] = field(default_factory=dict)
    queue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """One image onto one cluster: child of a release, or standalone.

    Args:
        release_id: Empty when it is not part of a release.
        queue: Whether it waits for its turn where another works, instead of failing.
    """

    rollout_id: str
    release_id: str
    environment: str
    cluster: ClusterName
    image_id: ImageId
    version: str
    actor: str
    queue: bool = False

    @property
    def subject(self) -> str:
        """Whose events and words it has: its release's, or its own."""
        return self.release_id or self.rollout_id

    @property
    def show(self) -> str:
        """The command that shows it."""
        return show_command(self.rollout_id, self.release_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a release or a rollout ended, and why if not well.

    Args:
        cause: Name of the error's class, which decides the exit status.
    """

    phase: Phase
    error: str = ""
    hint: str = ""
    cause: str = ""


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
    blocks_uploaded: int = 0
    blocks_total: int = 0
    goal: Goal = Goal.ROLLOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How long one stage of a release took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone:
    """One action that was carried out, in words."""

    text: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictGiven:
    """The judge's last word on one canary step.

    Args:
        canary_requests: Requests that the canary answered while it was observed.
        observed_s: Seconds from the beginning of the observation to this verdict.
        metrics: What was found of each metric; empty where a guard spoke first.
        score: Of ``compare``, 0..100.
    """

    step_percent: int
    outcome: str
    canary_requests: float
    observed_s: float
    reasons: tuple[str, ...]
    metrics: tuple[MetricVerdict, ...] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout, or another change of a cluster, as the store knows it.

    Args:
        kind: ``rollout``, ``rollback``, ``resize``, ``enable``, ``disable``, ``decommission``,
            ``reconcile``, ``janitor``.
        release_id: Empty when it is not part of a release.
    """

    rollout_id: str
    release_id: str
    kind: str
    environment: str
    cluster: str
    image_id: str
    version: str
    actor: str
    phase: Phase
    started_at: datetime
    ended_at: datetime | None = None
    error: str = ""
    hint: str = ""
    actions: tuple[ActionDone, ...] = ()
    verdicts: tuple[VerdictGiven, ...] = ()

    @property
    def state(self) -> str:
        """Where it stands, in words: only images are promoted, other changes are done."""
        if self.phase is Phase.PROMOTED and self.kind != "rollout":
            return "done"
        return self.phase.replace("_", " ")


def stage_times(events: Iterable[Event], rollouts: Iterable[Rollout]) -> tuple[StageTime, ...]:
    """Return how long each stage took, in order; what is not finished is not there.

    Args:
        events: The release's own.
        rollouts: The release's own, in order.
    """
    seconds = {
        event.kind.removesuffix(".finished"): float(event.facts.get("seconds", 0))
        for event in events
        if event.kind.endswith(".finished")
    }
    stages = [StageTime(name=name, seconds=seconds[name]) for name in STAGES if name in seconds]
    stages += [
        StageTime(
            name=f"rollout {rollout.environment}",
            seconds=round((rollout.ended_at - rollout.started_at).total_seconds(), 3),
        )
        for rollout in rollouts
        if rollout.ended_at
    ]
    return tuple(stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the store knows of one release."""

    release: Release
    stages: tuple[StageTime, ...]
    rollouts: tuple[Rollout, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChange:
    """A plan for one cluster that a person has seen and wants carried out.

    Args:
        seen: Server group → weight, as they were when the plan was made.
    """

    change_id: str
    kind: str
    environment: str
    cluster: ClusterName
    plan: Plan
    actor: str
    seen: Mapping[str, int]


def show_command(rollout_id: str, release_id: str) -> str:
    """Return the command that shows a rollout: with its release, when it has one."""
    return (
        f"ovenbird release show {release_id}"
        if release_id
        else (f"ovenbird rollout show {rollout_id}")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Who may change a cluster, or release an app, for now."""

    name: str
    owner: str
    reason: str
    since: datetime
