"""Questions about clusters: what serves, what rests and until when, what is under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.errors import NotFound
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.releases import Lock, Rollout
from ovenbird.domain.resting import previous, rested_since, window_of
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.rollout_steps import cluster_lock

RECENT = 5  # changes that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One cluster as a person wants to see it.

    Args:
        previous: The group that a rollback would go to.
        window: How long the previous group is kept, at least.
        under_way: Who changes it now.
        recent: Its last changes, newest first.
        at: When it was looked at.
    """

    cluster: Cluster
    previous: ServerGroup | None
    window: timedelta
    under_way: Lock | None
    recent: tuple[Rollout, ...]
    at: datetime

    def rests_until(self, group: ServerGroup) -> datetime | None:
        """Return when a group has rested long enough; None while it is in traffic."""
        return None if group.enabled else rested_since(group) + self.window


def list_clusters(
    installation: Installation, environment: str | None = None
) -> tuple[Cluster, ...]:
    """Return the clusters of all environments, or of one.

    Raises:
        NotFound: There is no such environment.
        CloudError: AWS refused a call.
    """
    names = [environment] if environment else list(installation.settings.environments)
    return tuple(
        cluster
        for name in names
        for cluster in installation.environment(name).groups.list_clusters(name)
    )


def get_cluster(installation: Installation, text: str, environment: str | None = None) -> Cluster:
    """Return one cluster with the health of its instances.

    Args:
        installation: Where it lives.
        text: Name of the cluster, or of one of its server groups.
        environment: None for the one that its name says.

    Raises:
        InvalidRequest: It is not such a name.
        NotFound: There is no such cluster, or no such environment.
        CloudError: AWS refused a call.
    """
    name, _ = parse(text)
    found = installation.environment_of(name, environment)
    cluster = found.groups.get_cluster(name, found.name)
    if not cluster.groups:
        raise NotFound(
            f"No cluster `{name}` in `{found.name}`", hint="`ovenbird cluster list` shows them"
        )
    return cluster


def view(installation: Installation, text: str, environment: str | None = None) -> View:
    """Return one cluster with what there is to know about it.

    Raises:
        InvalidRequest: It is not such a name.
        NotFound: There is no such cluster, or no such environment.
        CloudError: AWS refused a call.
    """
    cluster, store = get_cluster(installation, text, environment), installation.store
    cluster = _with_addresses(installation, cluster)
    return View(
        cluster=cluster,
        previous=previous(cluster),
        window=window_of(cluster),
        under_way=store.find_lock(cluster_lock(cluster.environment, cluster.name)),
        recent=store.list_rollouts(str(cluster.name))[:RECENT],
        at=installation.ports.clock.now(),
    )


def _with_addresses(installation: Installation, cluster: Cluster) -> Cluster:
    """Return a cluster whose instances have their addresses, in one more call."""
    every = [one.instance_id for group in cluster.groups for one in group.instances]
    known = installation.environment(cluster.environment).groups.addresses(every)
    groups = (
        replace(
            group,
            instances=tuple(
                replace(one, address=known.get(one.instance_id, one.address))
                for one in group.instances
            ),
        )
        for group in cluster.groups
    )
    return replace(cluster, groups=tuple(groups))


def parse(text: str) -> tuple[ClusterName, ServerGroupName | None]:
    """Return the cluster, and the server group when it is one that is named.

    Raises:
        InvalidRequest: It is neither.
    """
    head, _, version = text.rpartition("-v")
    if head and len(version) == 3 and version.isdigit():
        group = ServerGroupName.parse(text)
        return group.cluster, group
    return ClusterName.parse(text), None
