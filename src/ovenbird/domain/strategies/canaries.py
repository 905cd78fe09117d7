"""Traffic moves to the new group step by step, and each step is judged.

healthy ─▶ (grow ─▶ weights ─▶ judge)… ─▶ full size
"""

from __future__ import annotations

from ovenbird.domain.apps import Canary, guards_of
from ovenbird.domain.clusters import ServerGroup
from ovenbird.domain.plans import Action, Judge, Resize, SetWeights, Weight
from ovenbird.domain.strategies.jobs import (
    Job,
    await_healthy,
    create,
    exactly,
    grown,
    needed,
    size_of,
)


def steps(job: Job, old: ServerGroup, strategy: Canary) -> tuple[Action, ...]:
    """Return the steps of a canary beside the old group, up to the new one's full size."""
    wanted = job.wanted
    size = max(needed(strategy.steps_percent[0], wanted), size_of(job.existing))
    actions: list[Action] = [create(job, exactly(size, wanted)), await_healthy(job, size)]
    for percent in strategy.steps_percent:
        if (more := needed(percent, wanted)) > size:
            # Grow before the weight: nobody is sent to an instance that is not there.
            size = more
            actions += [
                Resize(name=job.name, capacity=exactly(size, wanted)),
                await_healthy(job, size),
            ]
        weights = (
            Weight(name=old.name, percent=100 - percent),
            Weight(name=job.name, percent=percent),
        )
        actions += [SetWeights(weights=weights), _judge(job, old, strategy, percent)]
    return (*actions, *grown(job))


def _judge(job: Job, old: ServerGroup, strategy: Canary, percent: int) -> Judge:
    return Judge(
        canary=job.name,
        baseline=old.name,
        step_percent=percent,
        observe_s=strategy.observe_s,
        policy=job.environment.judge,
        alarms=guards_of(job.name, job.environment),
    )
