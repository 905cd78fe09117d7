"""Who rests: the server groups out of traffic, and how long they are kept.

A group that was disabled keeps its instances, so that a rollback to it takes one change
of weights. The listener rule has room for five target groups: new, old, a baseline, and
two that rest.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ovenbird.domain.clusters import ROLLBACK_WINDOW_TAG, Cluster, ServerGroup

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


def previous(cluster: Cluster) -> ServerGroup | None:
    """Return the group that a rollback would go to.

    It is older than the newest in traffic; in traffic too while that one is a canary, or
    else the one that left the traffic last. So a rollback after a rollback goes further
    back, and what was rolled back once is not gone to.
    """
    order = cluster.groups
    newest = max((place for place, g in enumerate(order) if g.enabled), default=len(order))
    older = order[:newest]
    if enabled := [group for group in older if group.enabled]:
        return enabled[-1]
    return max(
        (group for group in reversed(older) if group.disabled_at), key=rested_since, default=None
    )


def rested_since(group: ServerGroup) -> datetime:
    """Return when it left the traffic, or when it was made if it never served."""
    return group.disabled_at or group.created_at


def resting(cluster: Cluster) -> tuple[ServerGroup, ...]:
    """Return the groups out of traffic, the one to be kept longest first."""
    needed = previous(cluster)
    out = (group for group in cluster.groups if not group.enabled)
    return tuple(
        sorted(out, key=lambda group: (group == needed, rested_since(group)), reverse=True)
    )


def has_rested(group: ServerGroup, *, now: datetime, window: timedelta) -> bool:
    """Tell whether the rollback window of a group has passed."""
    return now - rested_since(group) > window
