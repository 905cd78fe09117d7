"""Going back to a named version: to its server group, or to its image when that is gone."""

from __future__ import annotations

import re
from dataclasses import replace

from ovenbird.domain.apps import AllAtOnce
from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.operations import rolling
from ovenbird.operations.changing import free
from ovenbird.operations.clusters import get_cluster
from ovenbird.operations.opening import Installation
from ovenbird.operations.rolling import Wanted
from ovenbird.store.records import Store

_SHORT = re.compile(r"v\d{3}")


def group_of(installation: Installation, text: str, to: str, environment: str | None) -> str:
    """Return the name of the server group that is meant; empty when it is gone.

    Args:
        installation: Where it is.
        text: The cluster.
        to: A version of the app, ``v012``, or a server group's name.
        environment: None for the one that the cluster's name says.
    """
    cluster = get_cluster(installation, text, environment)
    groups = [group for group in cluster.groups if not group.is_baseline and group.image_id]
    named = [group for group in groups if _full(cluster, to) == str(group.name)]
    # Of several that have the version, one in traffic counts first, then the newest.
    versions = sorted((g for g in groups if g.version == to), key=lambda group: group.enabled)
    found = (*versions, *named)
    return str(found[-1].name) if found else ""


def launch_again(installation: Installation, text: str, to: str, environment: str | None) -> Wanted:
    """Find the image of a version whose server group is gone, to launch it again all at once.

    Args:
        installation: Where it is.
        text: The cluster.
        to: As :func:`group_of` takes it.
        environment: None for the one that the cluster's name says.

    Raises:
        NotFound: Nobody knows the version, its image is gone or not shared, or its manifest
            cannot be had.
        InvalidRequest: The image is rolled out onto another cluster.
        Conflict: Something changes the cluster, or the image must not be launched.
    """
    cluster = free(installation, text, environment)
    name = _full(cluster, to)
    is_group = name.startswith(f"{cluster.name}-v")
    version = _version_of(installation.store, name) if is_group else to
    wanted = rolling.prepare(
        installation,
        image=version,
        environment=cluster.environment,
        app=cluster.name.app,
    )
    if wanted.cluster != cluster.name:
        raise InvalidRequest(f"Version `{to}` is rolled out onto `{wanted.cluster}`")
    at_once = tuple(
        replace(one, strategy=AllAtOnce()) if one.name == wanted.environment else one
        for one in wanted.spec.environments
    )
    return replace(wanted, spec=replace(wanted.spec, environments=at_once))


def _full(cluster: Cluster, to: str) -> str:
    return f"{cluster.name}-{to}" if _SHORT.fullmatch(to) else to


def _version_of(store: Store, name: str) -> str:
    """Return the version of a server group that is gone, as our records have it.

    Raises:
        NotFound: They do not.
    """
    made = re.compile(rf"Create server group `{re.escape(name)}` with .* of version (\S+) \(")
    for change in store.list_rollouts(name.rpartition("-v")[0]):  # the newest first
        for action in store.get_rollout(change.rollout_id).actions:
            if found := made.match(action.text):
                return found[1]
    raise NotFound(
        f"No server group `{name}`, and the records do not know its version",
        hint="Name the version, as `--to 1.0.0`; `ovenbird image list` shows what there is",
    )
