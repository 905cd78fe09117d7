"""What our records say of a cluster, to see what people changed by hand since."""

from __future__ import annotations

from ovenbird.domain.clusters import Cluster
from ovenbird.domain.drift import Difference, Recorded, drift, recorded
from ovenbird.store.records import Store

LAST = 20  # changes of a cluster that are read: the last of each kind counts


def recorded_of(store: Store, cluster: Cluster) -> Recorded:
    """Return how our own changes left a cluster."""
    every = store.list_rollouts(str(cluster.name))  # the newest first
    mine = [one.rollout_id for one in every if one.environment == cluster.environment][:LAST]
    return recorded([store.get_rollout(rollout_id) for rollout_id in reversed(mine)])


def changed_by_hand(store: Store, cluster: Cluster) -> tuple[Difference, ...]:
    """Return what a plan must know that acts on what is, and not on what was recorded.

    AWS is not asked for anything more: templates and alarms are not looked at.
    """
    return drift(cluster, recorded_of(store, cluster))
