"""Traffic moves to the new group step by step, and each step is judged.

healthy ─▶ (grow ─▶ weights ─▶ pause ─▶ judge ─▶ a person's word)… ─▶ full size ─▶ 100 %

With a baseline the first step has three groups, and the judge compares the two small ones:
they are of the same age, size and share, and differ by their image alone.
"""

from __future__ import annotations

from dataclasses import replace

from ovenbird.domain.apps import Canary
from ovenbird.domain.clusters import BASELINE, ROLE_TAG, SERVER_GROUP_TAG, ServerGroup
from ovenbird.domain.images import VERSION_TAG
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitWord,
    CreateServerGroup,
    Decommission,
    Judge,
    Resize,
    SetWeights,
    Weight,
)
from ovenbird.domain.strategies.jobs import (
    Job,
    all_to,
    await_size,
    create,
    exactly,
    grown,
    needed,
    observed,
    shared,
    size_of,
)

MOST_BESIDE_BASELINE = 33  # percent: canary and baseline together get less than the old group


def move(job: Job, old: ServerGroup, strategy: Canary) -> tuple[Action, ...]:
    """Return what moves all traffic from the old group to the new one, by steps."""
    first, *later = strategy.steps_percent
    size = max(needed(first, job.wanted), size_of(job.existing))
    actions = [*_first_step(job, old, strategy, size)]
    leaving = _without_baseline(job, strategy)
    for percent in later:
        if (more := needed(percent, job.wanted)) > size:
            # Grow before the weight: nobody is sent to an instance that is not there.
            size = more
            capacity = exactly(size, job.wanted)
            actions.append(Resize(name=job.name, capacity=capacity))
        # Also when it need not grow: an instance may have been lost meanwhile.
        actions += [await_size(job, size, percent), shared(job, percent, old), *leaving]
        actions += _judged(job, strategy, percent, beside=old.name)
        leaving = ()
    return (*actions, *grown(job), all_to(job), *leaving)


def has_baseline(strategy: object) -> bool:
    """Tell whether a strategy makes a baseline."""
    return isinstance(strategy, Canary) and strategy.baseline


def _first_step(job: Job, old: ServerGroup, strategy: Canary, size: int) -> tuple[Action, ...]:
    percent = strategy.steps_percent[0]
    made = create(job, exactly(size, job.wanted))
    # One that an earlier run made keeps its size in `Create`.
    fits = job.existing is None or job.existing.capacity == made.capacity
    resized = () if fits else (Resize(name=job.name, capacity=made.capacity),)
    ready = await_size(job, size, percent)
    if not strategy.baseline:
        parts = (made, *resized, ready, shared(job, percent, old))
        return (*parts, *_judged(job, strategy, percent, beside=old.name))
    return (
        made,
        *resized,
        *_baseline(job, old, made),
        ready,
        replace(ready, name=job.baseline),
        _thirds(job, percent, old),
        *_judged(job, strategy, percent, beside=job.baseline),
    )


def _baseline(job: Job, old: ServerGroup, made: CreateServerGroup) -> tuple[Action, ...]:
    """Make the canary's equal of the old image; nobody is called by its alarms."""
    tags = {
        **made.tags,
        "Name": str(job.baseline),
        ROLE_TAG: BASELINE,
        SERVER_GROUP_TAG: str(job.baseline),
        VERSION_TAG: old.version,
    }
    create_it = replace(
        made,
        name=job.baseline,
        image_id=old.image_id,
        version=old.version,
        alarms=(),
        tags=tags,
        launch=replace(made.launch, scaling=(), schedules=()),  # its size is the step's
        copies=None,
    )
    if job.cluster.find(job.baseline) is None:
        return (create_it,)
    return (create_it, Resize(name=job.baseline, capacity=made.capacity))


def _without_baseline(job: Job, strategy: Canary) -> tuple[Action, ...]:
    return (Decommission(name=job.baseline),) if strategy.baseline else ()


def _thirds(job: Job, percent: int, old: ServerGroup) -> SetWeights:
    weights = (
        Weight(name=old.name, percent=100 - 2 * percent),
        Weight(name=job.name, percent=percent),
        Weight(name=job.baseline, percent=percent),
    )
    return SetWeights(weights=weights, needs=job.needs)


def _judged(
    job: Job, strategy: Canary, percent: int, *, beside: ServerGroupName
) -> tuple[Action, ...]:
    judge = Judge(
        canary=job.name,
        baseline=beside,
        step_percent=percent,
        observe_s=strategy.observe_s,
        policy=job.environment.judge,
        alarms=job.alarms,
    )
    word = AwaitWord(name=job.name, what=f"{percent} %", alarms=job.alarms)
    manual = percent in strategy.manual_steps
    return (*observed(job, strategy.pause_s), judge, *((word,) if manual else ()))
