"""Clusters, server groups and instances: what runs, as it was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ClusterName, ServerGroupName

InstanceId = NewType("InstanceId", str)

SERVER_GROUP_TAG = "ovenbird:server-group"
CLUSTER_TAG = "ovenbird:cluster"
ENVIRONMENT_TAG = "ovenbird:environment"
DESIRED_TAG = "ovenbird:desired"  # instances that the manifest asked for when it was made
DISABLED_AT_TAG = "ovenbird:disabled-at"  # ISO 8601, UTC; absent while enabled
KEEP_GROUPS_TAG = "ovenbird:keep-groups"  # how many may rest beside it
ROLLBACK_WINDOW_TAG = "ovenbird:rollback-window-s"  # how long the group before it is kept
PINNED_MIN_TAG = "ovenbird:unpinned-min"  # the minimum to return to after a rollout
PINNED_DESIRED_TAG = "ovenbird:unpinned-desired"  # its size when the rollout began
ROLE_TAG = "ovenbird:role"  # absent but for a baseline
BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many instances: ``min <= desired <= max``."""

    min: int
    desired: int
    max: int

    def __str__(self) -> str:
        return f"{self.desired} / {self.min} / {self.max}"


class InstanceState(StrEnum):
    """What the load balancer (or EC2, without one) says of an instance."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    TERMINATING = "terminating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One machine of a server group."""

    instance_id: InstanceId
    state: InstanceState
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What of a server group is asked only when somebody looks for changes by hand.

    Args:
        template_version: Number of the launch template's version that it launches from.
        first_version: Number of the oldest version that the template has: it was made with it.
        template_image: Image that the version in use names; empty when the template is gone.
        suspended: Auto Scaling processes that do not run.
        alarms: Names of the alarms that there are.
        scales: Whether a scaling policy or a scheduled action changes its size.
        images: Instance → image that it was launched from.
        tags: Of the Auto Scaling group.
    """

    template_version: str = ""
    first_version: str = ""
    template_image: str = ""
    suspended: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    scales: bool = False
    images: Mapping[InstanceId, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerGroup:
    """One version of a cluster, as observed: Auto Scaling group, target group, weight.

    Args:
        weight: Its weight in the cluster's listener rule; 0 while disabled.
        target_group: ARN; empty when the target group does not exist (yet).
        pinned_min: The minimum that a rollout pinned away, or None.
        pinned_desired: The size that it had then, or None.
    """

    name: ServerGroupName
    image_id: ImageId
    version: str
    capacity: Capacity
    instances: tuple[Instance, ...]
    weight: int
    target_group: str
    created_at: datetime
    release_id: str = ""
    disabled_at: datetime | None = None
    pinned_min: int | None = None
    pinned_desired: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def enabled(self) -> bool:
        """Whether it is in traffic."""
        return self.weight > 0

    @property
    def is_baseline(self) -> bool:
        """Whether it was made only to be compared with, and goes with its rollout."""
        return self.tags.get(ROLE_TAG) == BASELINE

    @property
    def size(self) -> int:
        """How many instances it had before a rollout began to shrink it, or has now."""
        return max(self.capacity.desired, self.pinned_desired or 0)

    @property
    def healthy(self) -> int:
        """Number of healthy instances."""
        return sum(i.state is InstanceState.HEALTHY for i in self.instances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """All server groups of one cluster, oldest first, and who gets the traffic.

    Args:
        environment: Name of the environment it lives in.
        rule: ARN of its listener rule; empty before the first rollout.
        balanced: Whether a load balancer divides the traffic by weight. Without one each
            instance takes its part of the work, and a weight is the share of instances.
    """

    name: ClusterName
    environment: str
    groups: tuple[ServerGroup, ...]
    rule: str = ""
    balanced: bool = True

    @property
    def serving(self) -> ServerGroup | None:
        """The enabled group with the greatest weight, newest on a tie, or None."""
        enabled = [group for group in self.groups if group.enabled]
        return max(reversed(enabled), key=lambda group: group.weight, default=None)

    @property
    def weights(self) -> Mapping[str, int]:
        """Which server groups there are, and what share of the traffic each has."""
        return {str(group.name): group.weight for group in self.groups}

    def find(self, name: ServerGroupName) -> ServerGroup | None:
        """Return the group of that name, if it is there."""
        return next((group for group in self.groups if group.name == name), None)
