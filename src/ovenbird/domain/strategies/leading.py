"""Who reaches the new group beside the weights: testers at once, and clients that stay.

... healthy ─▶ open to testers ─▶ (weights, clients stay ─▶ judge)… ─▶ 100 % ─▶ close to testers
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    CloseToTesters,
    OpenToTesters,
    SetWeights,
)
from ovenbird.domain.strategies.jobs import Job


def led(job: Job, actions: Sequence[Action]) -> tuple[Action, ...]:
    """Return a plan's actions with the manifest's testers and stickiness among them.

    Args:
        job: The rollout.
        actions: How the new group takes over.
    """
    sticky = tuple(_sticky(action, job.spec.stickiness_s) for action in actions)
    return tuple(_with_testers(job, sticky)) if job.spec.testers and job.old else sticky


def closed(job: Job) -> tuple[Action, ...]:
    """Return what an earlier run may have left to do that had moved all traffic."""
    return (CloseToTesters(name=job.name),) if job.spec.testers and job.old else ()


def _sticky(action: Action, sticky_s: int) -> Action:
    if isinstance(action, SetWeights) and len(action.weights) > 1:
        return replace(action, sticky_s=sticky_s)
    return action


def _with_testers(job: Job, actions: Sequence[Action]) -> Iterator[Action]:
    """Open the way when the group is healthy first; close it when everybody goes there."""
    testers, is_open = job.spec.testers, False
    for action in actions:
        yield action
        if isinstance(action, AwaitHealthy) and action.name == job.name and not is_open and testers:
            is_open = True
            yield OpenToTesters(name=job.name, testers=testers)
        if is_open and _takes_all(action, job):
            is_open = False
            yield CloseToTesters(name=job.name)


def _takes_all(action: Action, job: Job) -> bool:
    return isinstance(action, SetWeights) and [
        weight.name for weight in action.weights if weight.percent
    ] == [job.name]
