"""A cluster's lock taken from its owner: the last way out, when nobody can go on or abort.

The owner's work is ended for good, so that no process goes on with it later; nothing is
taken back, and what is left is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.releases import Lock, Phase
from ovenbird.operations.clusters import get_cluster
from ovenbird.operations.opening import Installation
from ovenbird.operations.releases import phase_of
from ovenbird.operations.work import at_work, end_foreign
from ovenbird.pipeline import signals
from ovenbird.pipeline.rollout_steps import cluster_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocking:
    """A lock that can be taken away.

    Args:
        alive: Whether a living process works on its owner.
        left: What the owner may leave behind, each as a sentence.
    """

    cluster: Cluster
    lock: Lock
    alive: bool
    left: tuple[str, ...]


def plan_unlock(
    installation: Installation, text: str, *, environment: str | None = None, force: bool = False
) -> Unlocking:
    """Say whose lock would be taken away, and what would be left; nothing is changed.

    Args:
        installation: Where the cluster is.
        text: Its name.
        environment: None for the one that the name says.
        force: Also when a living process works on the owner.

    Raises:
        NotFound: There is no such cluster, or it is not locked.
        Conflict: A living process works on the owner.
    """
    cluster = get_cluster(installation, text, environment)
    lock = installation.store.find_lock(cluster_lock(cluster.environment, cluster.name))
    if lock is None:
        raise NotFound(f"`{cluster.name}` is not locked", hint="Nothing is to be done")
    alive = signals.is_alive(lock.owner, state=installation.state)
    if alive and not force:
        raise Conflict(
            f"A living process works on `{lock.owner}`, which holds the lock",
            hint=f"`ovenbird release abort {lock.owner}` ends it and takes it back;"
            " `--force` ends it where it is",
            owner=lock.owner,
        )
    return Unlocking(cluster=cluster, lock=lock, alive=alive, left=tuple(_left(cluster)))


def unlock(installation: Installation, wanted: Unlocking) -> None:
    """Take the lock away and end its owner for good; a second time changes nothing."""
    store, owner = installation.store, wanted.lock.owner
    try:
        going = not phase_of(store, owner).ended
    except NotFound:  # nobody knows it
        going = False
    if going:
        with at_work(installation) as engine:
            end_foreign(engine, owner, Phase.ABORTED, why="Its lock was taken away by a person")
    store.unlock_all(owner=owner)


def _left(cluster: Cluster) -> Iterator[str]:
    enabled = [group for group in cluster.groups if group.enabled]
    if len(enabled) > 1:
        shares = ", ".join(f"`{group.name}` {group.weight} %" for group in enabled)
        yield f"The traffic stays divided: {shares}"
    for group in cluster.groups:
        if group.pinned_min is not None:
            yield f"`{group.name}` stays pinned at {group.capacity.min} instances"
        if not group.enabled and group.disabled_at is None:
            yield f"`{group.name}` stays, out of traffic"
