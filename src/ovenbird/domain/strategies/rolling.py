"""The new group grows in steps while the old one shrinks: few instances more than before.

with a load balancer    grow ─▶ healthy ─▶ weights ─▶ observe ─▶ shrink old … ─▶ 100 %
without                 grow ─▶ healthy ─▶ observe ─▶ shrink old … ─▶ old has none
"""

from __future__ import annotations

from ovenbird.domain.clusters import Capacity, ServerGroup
from ovenbird.domain.plans import Action, Resize
from ovenbird.domain.strategies.jobs import (
    Job,
    all_to,
    at_full_size,
    await_size,
    create,
    exactly,
    grown,
    needed,
    observed,
    part,
    shared,
    size_of,
)


def move(
    job: Job, old: ServerGroup, steps_percent: tuple[int, ...], observe_s: float
) -> tuple[Action, ...]:
    """Return what lets the new group take the old one's place, share by share.

    A run that stopped goes on from the share that it had reached: the old group is too small
    for more.
    """
    reached = job.existing.weight if job.existing and job.cluster.balanced else 0
    actions: list[Action] = []
    size = size_of(job.existing)
    for percent in (percent for percent in steps_percent if percent >= reached):
        size = max(size, needed(percent, job.wanted))
        actions += _sized(job, size, percent, first=not actions)
        actions += [shared(job, percent, old)] if job.cluster.balanced else []
        actions += [*observed(job, observe_s), _shrunk(old, part(100 - percent, old.size))]
    full = grown(job) if actions else at_full_size(job)
    return (*actions, *full, *_last(job, old, observe_s))


def _sized(job: Job, size: int, percent: int, *, first: bool) -> tuple[Action, ...]:
    capacity = exactly(size, job.wanted)
    resize = Resize(name=job.name, capacity=capacity)
    if not first:
        return (resize, await_size(job, size, percent))
    made = (create(job, capacity), *((resize,) if job.existing else ()))
    return (*made, await_size(job, size, percent))


def _shrunk(old: ServerGroup, size: int) -> Resize:
    """Leave the old group so many instances, or fewer if it has fewer already."""
    size = min(size, old.capacity.desired)
    return Resize(name=old.name, capacity=Capacity(min=size, desired=size, max=old.capacity.max))


def _last(job: Job, old: ServerGroup, observe_s: float) -> tuple[Action, ...]:
    if job.cluster.balanced:
        return (all_to(job),)
    return (*observed(job, observe_s), _shrunk(old, 0))
