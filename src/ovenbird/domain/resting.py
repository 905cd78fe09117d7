"""Who rests: the server groups out of traffic, and how long they are kept.

A group that was disabled keeps its instances, so that a rollback to it takes one change
of weights. The listener rule has room for five target groups: new, old, a baseline, and
two that rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from ovenbird.domain.clusters import (
    KEEP_GROUPS_TAG,
    ROLLBACK_WINDOW_TAG,
    Cluster,
    ServerGroup,
)

# Source: Elastic Load Balancing, "Quotas for your Application Load Balancers":
# target groups per action.
TARGET_GROUPS_PER_RULE = 5
MAX_RESTING = 2  # beside old, canary and baseline
WINDOW = timedelta(hours=1)  # when the group that serves does not say


def window_of(cluster: Cluster) -> timedelta:
    """Return the rollback window that the manifest of the group in traffic gave."""
    tags = cluster.serving.tags if cluster.serving else {}
    text = tags.get(ROLLBACK_WINDOW_TAG)
    return timedelta(seconds=float(text)) if text else WINDOW


def most_resting(cluster: Cluster) -> int:
    """Return how many groups may rest, as the manifest of the group in traffic gave it."""
    tags = cluster.serving.tags if cluster.serving else {}
    return int(tags.get(KEEP_GROUPS_TAG, MAX_RESTING))


def baselines(cluster: Cluster) -> tuple[ServerGroup, ...]:
    """Return the groups that were made only to be compared with."""
    return tuple(group for group in cluster.groups if group.is_baseline)


def previous(cluster: Cluster) -> ServerGroup | None:
    """Return the group that a rollback would go to.

    It is older than the newest in traffic; in traffic too while that one is a canary, or
    else the one that left the traffic last. So a rollback after a rollback goes further
    back, and what was rolled back once is not gone to, nor is a baseline.
    """
    order = [group for group in cluster.groups if not group.is_baseline]
    newest = max((place for place, g in enumerate(order) if g.enabled), default=len(order))
    older = order[:newest]
    if enabled := [group for group in older if group.enabled]:
        return enabled[-1]
    served = [group for group in reversed(older) if group.disabled_at or is_held(group)]
    return max(served, key=lambda group: (is_held(group), rested_since(group)), default=None)


def is_held(group: ServerGroup) -> bool:
    """Tell whether it left the traffic in a rollout that has not let it rest yet."""
    return not group.enabled and group.disabled_at is None and group.pinned_min is not None


def rested_since(group: ServerGroup) -> datetime:
    """Return when it left the traffic, or when it was made if it never served."""
    return group.disabled_at or group.created_at


def resting(cluster: Cluster) -> tuple[ServerGroup, ...]:
    """Return the groups out of traffic, the one to be kept longest first; no baselines."""
    back = [group for group in _ways_back(cluster) if not group.enabled]
    rest = [g for g in cluster.groups if not (g.enabled or g.is_baseline or g in back)]
    return (*back, *sorted(rest, key=rested_since, reverse=True))


def _ways_back(cluster: Cluster) -> Iterator[ServerGroup]:
    """Yield the groups that one rollback after another would go to."""
    left = cluster
    while group := previous(left):
        yield group
        left = replace(left, groups=left.groups[: left.groups.index(group)])


def has_rested(group: ServerGroup, *, now: datetime, window: timedelta) -> bool:
    """Tell whether the rollback window of a group has passed."""
    return not is_held(group) and now - rested_since(group) > window
