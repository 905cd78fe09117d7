"""Waiting for one's turn where another works: on an app, or on a cluster.

The place in the queue is a row in the store, so that it outlives the process; who waits
looks whether its turn has come. A newer one may take its place (``supersede``).
"""

from __future__ import annotations

from ovenbird.domain.errors import Aborted, NotFound
from ovenbird.domain.releases import Lock, Phase, ReleaseRequest, RolloutRequest
from ovenbird.domain.words import QUEUED, SUPERSEDE
from ovenbird.pipeline import rollout_steps as work
from ovenbird.pipeline.release_steps import app_lock
from ovenbird.pipeline.steps import Step

LOOK_S = 0.5


def await_release(step: Step, request: ReleaseRequest) -> None:
    """Wait until no other release of the app goes on, and begin.

    Raises:
        Aborted: A person ended it, or a newer release took its place.
    """
    _await(step, app_lock(request.app), "A release is under way")


def await_rollout(step: Step, request: RolloutRequest) -> None:
    """Wait until nothing else changes the cluster, and begin.

    Raises:
        Aborted: A person ended it, or a newer one took its place.
    """
    lock = work.cluster_lock(request.environment, request.cluster)
    step.ports.store.put_rollout(work.record(request, step.ports.clock.now(), Phase.QUEUED))
    _await(step, lock, work.UNDER_WAY)
    step.ports.store.change_rollout(request.rollout_id, phase=Phase.RUNNING)


def _await(step: Step, lock: str, reason: str) -> None:
    store, clock, owner = step.ports.store, step.ports.clock, step.subject
    before: tuple[Lock, ...] = ()
    while not store.take_turn(lock, owner=owner, reason=reason, at=clock.now()):
        if (now := _before(step, lock)) != before:
            before = now
            _change_release(step, Phase.QUEUED)
            names = ", ".join(f"`{one.owner}`" for one in before) or "nobody"
            step.note(QUEUED, f"Waiting for its turn on {lock}, behind {names}")
        step.refuse_aborted()
        if newer := store.said(owner, SUPERSEDE):
            raise Aborted(f"Superseded by `{newer}`", superseded=1)
        clock.sleep(LOOK_S)
    _change_release(step, Phase.RUNNING)


def _before(step: Step, lock: str) -> tuple[Lock, ...]:
    """Return who works, and who is to come before this one."""
    store = step.ports.store
    turns = store.list_turns(lock)
    mine = next((n for n, one in enumerate(turns) if one.owner == step.subject), len(turns))
    holder = store.find_lock(lock)
    return (*([holder] if holder else []), *turns[:mine])


def _change_release(step: Step, phase: Phase) -> None:
    """Write where the release stands that waits, if it is one."""
    try:
        step.ports.store.change_release(step.subject, phase=phase)
    except NotFound:
        return
