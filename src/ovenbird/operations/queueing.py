"""Whose turn it is: one release of an app, and one change of a cluster, at a time.

A second one is refused; or it waits for its turn; or it takes the place of those that
wait, for their turn or for an approval.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ovenbird.domain.errors import Conflict
from ovenbird.domain.names import ClusterName
from ovenbird.domain.releases import Phase
from ovenbird.domain.words import SUPERSEDE
from ovenbird.operations.releases import waits_for
from ovenbird.operations.work import end_foreign
from ovenbird.pipeline import signals
from ovenbird.pipeline.runtime import Runtime
from ovenbird.store.lock_records import held
from ovenbird.store.records import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What to do when something else goes on.

    Args:
        queue: Wait until it has ended; otherwise it is refused.
        supersede: End those that wait, for their turn or for an approval.
    """

    queue: bool = False
    supersede: bool = False

    @property
    def waits(self) -> bool:
        """Whether it waits behind what works: who ended others to take their place does, too."""
        return self.queue or self.supersede


REFUSED = Turn()  # what happens unless a person asks for more


def refuse_taken(store: Store, lock: str, now: datetime) -> None:
    """Raise if somebody holds a lock, or waits for it.

    Raises:
        Conflict: Somebody does.
    """
    if found := store.find_lock(lock):
        raise held(found, now)
    if turns := store.list_turns(lock):
        raise Conflict(
            f"`{turns[0].owner}` waits for its turn on {lock}",
            hint="Add `--queue` to wait behind it, or `--supersede` to take its place",
            owner=turns[0].owner,
        )


def supersede_releases(engine: Runtime, app: str, *, by: str) -> tuple[str, ...]:
    """Tell the releases of an app that wait to end; return those that were told.

    Args:
        engine: Works on those that no other process has.
        app: Whose.
        by: Id of the release that takes their place.
    """
    store = engine.ports.store
    going = [found for found in store.list_releases(app) if not found.phase.ended]
    told = []
    for found in going:
        environment = waits_for(store, found.release_id)
        if environment or found.phase is Phase.QUEUED:
            _supersede(engine, found.release_id, environment, by=by)
            told.append(found.release_id)
    return tuple(told)


def supersede_rollouts(engine: Runtime, cluster: ClusterName, *, by: str) -> tuple[str, ...]:
    """Tell the standalone rollouts that wait for a cluster to end; return their ids."""
    told = tuple(
        found.rollout_id
        for found in engine.ports.store.list_rollouts(str(cluster))
        if found.phase is Phase.QUEUED and not found.release_id
    )
    for rollout_id in told:
        _supersede(engine, rollout_id, "", by=by)
    return told


def _supersede(engine: Runtime, subject: str, environment: str, *, by: str) -> None:
    store = engine.ports.store
    if engine.is_foreign(subject):
        end_foreign(engine, subject, Phase.SUPERSEDED)
        return
    store.say(subject, SUPERSEDE, actor=by, at=engine.ports.clock.now())
    if environment:
        signals.send(subject, environment=environment, word=SUPERSEDE, actor=by, state=engine.state)
