"""Commands for clusters: a plan is made and shown, and what was confirmed is what runs.

    plan_* ─▶ Proposal ─▶ a person confirms ─▶ carry_out: the ``cluster_change`` workflow

A cluster on which a release works is left alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from ovenbird.domain import rollbacks
from ovenbird.domain.clusters import Capacity, Cluster
from ovenbird.domain.durations import spoken
from ovenbird.domain.errors import Conflict, InvalidRequest, NotFound
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import Plan
from ovenbird.domain.releases import ClusterChange, Lock
from ovenbird.domain.resting import window_of
from ovenbird.domain.retreats import WARM_UP
from ovenbird.operations.clusters import get_cluster, list_clusters, parse
from ovenbird.operations.opening import Installation
from ovenbird.operations.work import Result, Tell, Watch, at_work, result_of
from ovenbird.pipeline import changes
from ovenbird.pipeline.rollout_steps import cluster_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A change of one cluster that has not been confirmed yet.

    Args:
        kind: As ``rollback``, ``resize`` or ``reconcile``.
        cluster: As it was observed.
    """

    kind: str
    cluster: Cluster
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The parts of a capacity that a person wants to be different."""

    min: int | None = None
    desired: int | None = None
    max: int | None = None


def plan_rollback(
    installation: Installation,
    text: str,
    *,
    to: str | None = None,
    environment: str | None = None,
) -> Proposal:
    """Plan the way back to the server group that served before, or to a named one.

    Raises:
        NotFound: There is no such cluster or server group.
        Conflict: Something else changes it, or there is nothing to go back to.
    """
    cluster = free(installation, text, environment)
    target = _group(to) if to else None
    plan = rollbacks.plan_rollback(cluster, to=target, warm_up=WARM_UP)
    return Proposal(kind="rollback", cluster=cluster, plan=plan)


def plan_enable(
    installation: Installation, text: str, *, environment: str | None = None
) -> Proposal:
    """Plan to bring a server group into traffic.

    Raises:
        NotFound: There is no such cluster or server group.
        Conflict: Something else changes it.
    """
    name, cluster = _group(text), free(installation, text, environment)
    plan = rollbacks.plan_enable(cluster, name=name, warm_up=WARM_UP)
    return Proposal(kind="enable", cluster=cluster, plan=plan)


def plan_disable(
    installation: Installation, text: str, *, environment: str | None = None
) -> Proposal:
    """Plan to take a server group out of traffic.

    Raises:
        NotFound: There is no such cluster or server group.
        Conflict: Something else changes it, or nothing else serves.
    """
    name, cluster = _group(text), free(installation, text, environment)
    return Proposal(
        kind="disable", cluster=cluster, plan=rollbacks.plan_disable(cluster, name=name)
    )


def plan_resize(
    installation: Installation, text: str, *, size: Size, environment: str | None = None
) -> Proposal:
    """Plan another capacity for a server group, or for the one that serves.

    Raises:
        InvalidRequest: ``min <= desired <= max`` does not hold, or nothing is to be changed.
        NotFound: There is no such cluster or server group.
        Conflict: Something else changes it, or the size would leave it dark.
    """
    if size == Size():
        raise InvalidRequest("No size is given", hint="Give `--min`, `--desired` or `--max`")
    _, name = parse(text)
    cluster = free(installation, text, environment)
    plan = rollbacks.plan_resize(
        cluster, capacity=_capacity(cluster, name, size), warm_up=WARM_UP, name=name
    )
    return Proposal(kind="resize", cluster=cluster, plan=plan)


def plan_decommission(
    installation: Installation,
    text: str | None = None,
    *,
    environment: str | None = None,
    waived: bool = False,
) -> tuple[Proposal, ...]:
    """Plan to destroy what has rested long enough, or one server group by name.

    Args:
        installation: Where it is.
        text: A cluster, a server group, or None for all clusters.
        environment: None for the one that the name says; without a name, for all.
        waived: True to do without the rollback window of the named group.

    Raises:
        NotFound: There is no such cluster or server group.
        Conflict: Something else changes it, or the group is in traffic or still needed.
    """
    if text:
        name = parse(text)[1]
        return (
            _decommission(installation, free(installation, text, environment), name, waived=waived),
        )
    found = list_clusters(installation, environment)
    return tuple(
        _decommission(installation, cluster, None, waived=waived)
        for cluster in found
        if _lock(installation, cluster) is None
    )


def carry_out(installation: Installation, proposal: Proposal, *, actor: str, tell: Tell) -> Result:
    """Do what was confirmed, in this process.

    Raises:
        Conflict: Something else changes the cluster, or has changed it meanwhile.
    """
    cluster = proposal.cluster
    at = installation.ports.clock.now()
    # The time for people, the digits so that two within a second are two.
    mark = f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    change = ClusterChange(
        change_id=f"{cluster.name}-{proposal.kind}-{mark}",
        kind=proposal.kind,
        environment=cluster.environment,
        cluster=cluster.name,
        plan=proposal.plan,
        actor=actor,
        seen=cluster.weights,
    )
    with at_work(installation) as engine:
        watch = Watch(engine, tell)
        changes.start(change)
        watch.until_done([change.change_id])
        return result_of(engine, change.change_id)


def _decommission(
    installation: Installation, cluster: Cluster, name: ServerGroupName | None, *, waived: bool
) -> Proposal:
    plan = rollbacks.plan_decommission(
        cluster,
        now=installation.ports.clock.now(),
        window=window_of(cluster),
        name=name,
        waived=waived,
    )
    return Proposal(kind="decommission", cluster=cluster, plan=plan)


def _capacity(cluster: Cluster, name: ServerGroupName | None, size: Size) -> Capacity:
    """Return the capacity of a group with those parts changed that are given."""
    group = cluster.find(name) if name else cluster.serving
    now = group.capacity if group else Capacity(min=0, desired=0, max=0)
    given = {"min": size.min, "desired": size.desired, "max": size.max}
    return replace(now, **{key: value for key, value in given.items() if value is not None})


def _group(text: str) -> ServerGroupName:
    name = parse(text)[1]
    if name is None:
        raise InvalidRequest(
            f"`{text}` is a cluster; a server group is needed",
            hint=f"As `{text}-v001`: `ovenbird cluster show {text}` has their names",
        )
    return name


def free(installation: Installation, text: str, environment: str | None) -> Cluster:
    """Return a cluster that nothing changes now.

    Raises:
        Conflict: Something does.
    """
    cluster = get_cluster(installation, text, environment)
    lock = _lock(installation, cluster)
    if lock is None:
        return cluster
    is_release = _is_release(installation, lock.owner)
    way_out = f"`ovenbird release abort {lock.owner}`"
    raise Conflict(
        f"{lock.reason} on `{cluster.name}`: `{lock.owner}` since {lock.since:%H:%M:%S} UTC"
        f" ({spoken(installation.ports.clock.now() - lock.since)})",
        hint=f"{way_out} moves the traffic back, and ends it"
        if is_release
        else f"Wait for its end; if its process died, `ovenbird release resume {lock.owner}`",
        owner=lock.owner,
    )


def _lock(installation: Installation, cluster: Cluster) -> Lock | None:
    return installation.store.find_lock(cluster_lock(cluster.environment, cluster.name))


def _is_release(installation: Installation, owner: str) -> bool:
    try:
        installation.store.get_release(owner)
    except NotFound:
        return False
    return True
