"""What all parts of one rollout's plan need to know, and the blocks they are built of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from ovenbird.domain.apps import AppSpec, EnvironmentSpec
from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    DESIRED_TAG,
    ENVIRONMENT_TAG,
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
    Resize,
    SetWeights,
    Weight,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all parts of one rollout's plan need to know."""

    cluster: Cluster
    name: ServerGroupName
    existing: ServerGroup | None  # half-made by an earlier run of the same release
    image_id: ImageId
    version: str
    release_id: str
    spec: AppSpec
    environment: EnvironmentSpec

    @property
    def old(self) -> ServerGroup | None:
        """The group in traffic that the new one replaces."""
        return next((g for g in self.cluster.groups if g.enabled and g.name != self.name), None)

    @property
    def wanted(self) -> Capacity:
        """The manifest's capacity, or as much as the old group was grown to since it was made."""
        wanted, old = self.environment.capacity, self.old
        made_with = int(old.tags.get(DESIRED_TAG, old.capacity.desired)) if old else 0
        if old is None or old.capacity.desired <= max(made_with, wanted.desired):
            return wanted
        grown = old.capacity.desired
        return Capacity(min=wanted.min, desired=grown, max=max(grown, wanted.max))


def at_full_size(job: Job) -> tuple[Action, ...]:
    """Make the new group at its full size."""
    made = create(job, job.wanted)
    # An existing group keeps its size in `Create`.
    return (made, *grown(job)) if job.existing else (made, await_healthy(job, job.wanted.desired))


def grown(job: Job) -> tuple[Action, ...]:
    """Bring a group that is there to its full size."""
    wanted = job.wanted
    return (Resize(name=job.name, capacity=wanted), await_healthy(job, wanted.desired))


def create(job: Job, capacity: Capacity) -> CreateServerGroup:
    """Make the new group, or what of it is not there yet."""
    spec, environment = job.spec, job.environment
    tags = {
        "Name": str(job.name),
        APP_TAG: spec.app,
        CLUSTER_TAG: str(job.cluster.name),
        DESIRED_TAG: str(environment.capacity.desired),
        ENVIRONMENT_TAG: environment.name,
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
    others = [group for group in job.cluster.groups if group.name != job.name]
    found = job.old or next(reversed(others), None)
    return found.name if found else None


def await_healthy(job: Job, instances: int) -> AwaitHealthy:
    """Wait for so many healthy instances of the new group."""
    within = timedelta(seconds=job.spec.health.startup_s)
    return AwaitHealthy(name=job.name, instances=instances, within=within)


def all_to(name: ServerGroupName) -> SetWeights:
    """Send everything to one group."""
    return SetWeights(weights=(Weight(name=name, percent=100),))


def needed(percent: int, wanted: Capacity) -> int:
    """Instances that can take this share of the traffic."""
    return max(1, math.ceil(percent * wanted.desired / 100))


def size_of(group: ServerGroup | None) -> int:
    """Return how many instances a group shall have; none when it is not there."""
    return group.capacity.desired if group else 0


def exactly(size: int, wanted: Capacity) -> Capacity:
    """Return a capacity that nothing shrinks while it is observed."""
    return Capacity(min=size, desired=size, max=max(size, wanted.max))
