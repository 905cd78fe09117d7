"""What all parts of one rollout's plan need to know, and the blocks they are built of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from ovenbird.domain.apps import AppSpec, CapacityFrom, EnvironmentSpec, guards_of
from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    DESIRED_TAG,
    ENVIRONMENT_TAG,
    KEEP_GROUPS_TAG,
    ROLLBACK_WINDOW_TAG,
    SERVER_GROUP_TAG,
    Capacity,
    Cluster,
    ServerGroup,
)
from ovenbird.domain.images import APP_TAG, RELEASE_TAG, VERSION_TAG, ImageId
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    CreateServerGroup,
    Observe,
    Resize,
    SetWeights,
    Weight,
)
from ovenbird.domain.resting import is_held


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One rollout, as its plan is made.

    Args:
        name: The new server group's.
        existing: The new group as an earlier run of the same release left it.
        baseline: Name of the baseline that is there, or that will be made if one is.
    """

    cluster: Cluster
    name: ServerGroupName
    existing: ServerGroup | None
    baseline: ServerGroupName
    image_id: ImageId
    version: str
    release_id: str
    spec: AppSpec
    environment: EnvironmentSpec

    @property
    def old(self) -> ServerGroup | None:
        """The group that the new one replaces: in traffic, or not yet at rest after it was."""
        others = [g for g in self.cluster.groups if g.name != self.name and not g.is_baseline]
        if enabled := [group for group in others if group.enabled]:
            return enabled[0]
        if self.existing is None or not self.existing.enabled:
            return None
        return next((group for group in reversed(others) if is_held(group)), None)

    @property
    def wanted(self) -> Capacity:
        """What the new group gets: the manifest's capacity, or the old group's."""
        wanted, old = self.environment.capacity, self.old
        if old is None or self.environment.capacity_from is CapacityFrom.MANIFEST:
            return wanted
        if self.environment.capacity_from is CapacityFrom.OLD:
            least = old.capacity.min if old.pinned_min is None else old.pinned_min
            size = max(1, old.size)
            return Capacity(min=min(least, size), desired=size, max=max(size, old.capacity.max))
        made_with = int(old.tags.get(DESIRED_TAG, old.size))
        if old.size <= max(made_with, wanted.desired):
            return wanted
        return Capacity(min=wanted.min, desired=old.size, max=max(old.size, wanted.max))

    @property
    def needs(self) -> int:
        """Healthy instances that all traffic needs."""
        return self.fit(self.wanted.desired)

    @property
    def alarms(self) -> tuple[str, ...]:
        """Those that stop this rollout, by their full names."""
        return guards_of(self.name, self.environment)

    def fit(self, size: int) -> int:
        """Return how many instances of so many must be healthy."""
        return max(1, math.ceil(size * self.environment.min_healthy_percent / 100))


def at_full_size(job: Job) -> tuple[Action, ...]:
    """Make the new group at its full size."""
    made = create(job, job.wanted)
    # An existing group keeps its size in `Create`.
    return (made, *grown(job)) if job.existing else (made, await_size(job, job.wanted.desired))


def grown(job: Job) -> tuple[Action, ...]:
    """Bring a group that is there to its full size."""
    wanted = job.wanted
    return (Resize(name=job.name, capacity=wanted), await_size(job, wanted.desired))


def create(job: Job, capacity: Capacity) -> CreateServerGroup:
    """Make the new group, or what of it is not there yet."""
    spec, environment = job.spec, job.environment
    tags = {
        "Name": str(job.name),
        APP_TAG: spec.app,
        CLUSTER_TAG: str(job.cluster.name),
        DESIRED_TAG: str(environment.capacity.desired),
        ENVIRONMENT_TAG: environment.name,
        KEEP_GROUPS_TAG: str(environment.keep.groups),
        RELEASE_TAG: job.release_id,
        ROLLBACK_WINDOW_TAG: f"{environment.rollback_window_s:g}",
        SERVER_GROUP_TAG: str(job.name),
        VERSION_TAG: job.version,
    }
    return CreateServerGroup(
        name=job.name,
        image_id=job.image_id,
        version=job.version,
        release_id=job.release_id,
        capacity=capacity,
        port=spec.port,
        health=spec.health,
        instance_type=environment.instance_type,
        draining_s=spec.draining_s,
        path_patterns=spec.path_patterns,
        host_names=spec.host_names,
        rule_priority=spec.rule_priority,
        alarms=environment.alarms,
        environment=environment.environment,
        tags=tags,
        launch=environment.launch,
        copies=_model_of(job),
    )


def _model_of(job: Job) -> ServerGroupName | None:
    """Return the group whose policies the new one has where the manifest says nothing."""
    others = [g for g in job.cluster.groups if g.name != job.name and not g.is_baseline]
    found = job.old or next(reversed(others), None)
    return found.name if found else None


def await_size(job: Job, size: int, percent: int = 100) -> AwaitHealthy:
    """Wait until a new group of a size can take a share of the traffic.

    Args:
        job: The rollout.
        size: How many instances the group has.
        percent: The share; of the full size when the group has less.
    """
    share = math.ceil(percent * job.needs / 100)
    healthy = min(size, max(job.fit(size), share))
    within = timedelta(seconds=job.spec.health.startup_s)
    return AwaitHealthy(name=job.name, instances=healthy, within=within)


def shared(job: Job, percent: int, old: ServerGroup) -> SetWeights:
    """Send a share to the new group and the rest to the old one."""
    weights = (
        Weight(name=old.name, percent=100 - percent),
        Weight(name=job.name, percent=percent),
    )
    return SetWeights(weights=weights, needs=job.needs)


def all_to(job: Job) -> SetWeights:
    """Send everything to the new group."""
    return SetWeights(weights=(Weight(name=job.name, percent=100),), needs=job.needs)


def observed(job: Job, seconds: float) -> tuple[Action, ...]:
    """Let everything stand for a while, watched by the alarms; nothing for no time."""
    found = Observe(name=job.name, seconds=seconds, alarms=job.alarms)
    return (found,) if seconds > 0 else ()


def needed(percent: int, wanted: Capacity) -> int:
    """Return how many instances can take this share of the traffic."""
    return part(percent, wanted.desired)


def part(percent: int, size: int) -> int:
    """Return a share of a size, at least one instance."""
    return max(1, math.ceil(percent * size / 100))


def size_of(group: ServerGroup | None) -> int:
    """Return how many instances a group shall have; none when it is not there."""
    return group.capacity.desired if group else 0


def exactly(size: int, wanted: Capacity) -> Capacity:
    """Return a capacity that nothing shrinks while it is observed."""
    return Capacity(min=size, desired=size, max=max(size, wanted.max))
