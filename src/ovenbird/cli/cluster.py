"""`ovenbird cluster`: what serves and what rests, and to change it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.lazy import LazyGroup
from ovenbird.cli.options import opened, query, settings_option
from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.durations import spoken
from ovenbird.operations import clusters

CHANGES = "ovenbird.cli.changing"
NAMES = ("unlock", "rollback", "enable", "disable", "resize", "decommission")


class _Group(LazyGroup):
    places = {  # noqa: RUF012 - a constant
        **{name: f"{CHANGES}:{name}" for name in NAMES},
        "reconcile": "ovenbird.cli.reconciling:reconcile",
    }


@click.group("cluster", cls=_Group)
@settings_option
def group() -> None:
    """See what serves and what rests, and change it by hand.

    CLUSTER is a name as `hello-prod`, GROUP one of its server groups as `hello-prod-v002`.
    The environment is the second part of the name, or the one of --environment.
    """


@group.command("list")
@click.option("--environment", help="Only clusters of this environment.")
@query
def list_(*, environment: str | None, as_json: bool) -> None:
    """Show the clusters: who serves, what rests.

    Example: `ovenbird cluster list`
    """
    with opened() as installation:
        found = clusters.list_clusters(installation, environment)
        urls = {name: e.url for name, e in installation.settings.environments.items()}
    if as_json:
        output.answer([_cluster_data(cluster) for cluster in found])
        return
    output.table(
        ("cluster", "environment", "serves", "version", "healthy", "rests", "url"),
        (_row(cluster, urls.get(cluster.environment) or "-") for cluster in found),
    )


@group.command()
@click.argument("cluster")
@click.option("--environment", help="Where it lives, if its name does not say.")
@query
def show(*, cluster: str, environment: str | None, as_json: bool) -> None:
    """Show one cluster: who serves with which weight, its instances, what rests until when.

    Example: `ovenbird cluster show hello-prod`
    """
    with opened() as installation:
        view = clusters.view(installation, cluster, environment)
        url = installation.settings.environment(view.cluster.environment).url or ""
    if as_json:
        output.answer(_view_data(view, url))
        return
    for line in _lines(view, url):
        click.echo(line)


def _row(cluster: Cluster, url: str) -> tuple[str, ...]:
    serving = cluster.serving
    resting = [str(group.name) for group in cluster.groups if not group.enabled]
    return (
        str(cluster.name),
        cluster.environment,
        " + ".join(_share(group) for group in cluster.groups if group.enabled) or "nothing",
        serving.version if serving else "-",
        _health(serving) if serving else "-",
        ", ".join(resting) or "-",
        url,
    )


def _lines(view: clusters.View, url: str) -> Iterator[str]:
    cluster = view.cluster
    yield f"Cluster {cluster.name} in {cluster.environment}" + (f" at {url}" if url else "")
    yield from _state_lines(view)
    yield from ["", "Instances"]
    for group in cluster.groups:
        for one in group.instances:
            reason = f"  {one.reason}" if one.reason else ""
            yield f"  {group.name}  {one.instance_id}  {one.state:<11}  {one.address}{reason}"
    yield from ["", "Last changes"] if view.recent else []
    for change in view.recent:
        version = f" of {change.version}" if change.version else ""
        yield (
            f"  {output.at(change.started_at)}  {change.kind}{version} by {change.actor}:"
            f" {change.state}"
        )


def _state_lines(view: clusters.View) -> Iterator[str]:
    """Say who serves, what rests and what is under way."""
    groups = view.cluster.groups
    serving = sorted((g for g in groups if g.enabled), key=lambda g: -g.weight)
    if not serving:
        yield "  serves     nothing: requests are answered by nobody"
    for group in serving:
        yield f"  serves     {group.name} {group.weight} %: {_words(group)}"
    for group in groups:
        if not group.enabled:
            yield f"  rests      {group.name}{_rest(view, group)}: {_words(group)}"
    if lock := view.under_way:
        age = spoken(view.at - lock.since)
        yield f"  under way  {lock.reason} (`{lock.owner}`, since {output.at(lock.since)}, {age})"


def _words(group: ServerGroup) -> str:
    return (
        f"version {group.version} ({group.image_id}), {_health(group)} healthy,"
        f" capacity {group.capacity}"
    )


def _rest(view: clusters.View, group: ServerGroup) -> str:
    until = view.rests_until(group)
    return f" until {output.at(until)}" + (
        ", a rollback goes there" if view.previous and group.name == view.previous.name else ""
    )


def _health(group: ServerGroup) -> str:
    return f"{group.healthy} of {group.capacity.desired}"


def _share(group: ServerGroup) -> str:
    return str(group.name) if group.weight == 100 else f"{group.name} {group.weight} %"


def _cluster_data(cluster: Cluster) -> dict[str, Any]:
    return {
        "name": str(cluster.name),
        "environment": cluster.environment,
        "serves": str(cluster.serving.name) if cluster.serving else None,
        "groups": [
            {**output.to_data(g), "enabled": g.enabled, "healthy": g.healthy}
            for g in cluster.groups
        ],
    }


def _view_data(view: clusters.View, url: str) -> dict[str, Any]:
    return {
        **_cluster_data(view.cluster),
        "url": url,
        "previous": str(view.previous.name) if view.previous else None,
        "rollback_window_s": view.window.total_seconds(),
        "rests_until": {
            str(group.name): output.to_data(view.rests_until(group))
            for group in view.cluster.groups
            if not group.enabled
        },
        "under_way": output.to_data(view.under_way),
        "recent": output.to_data(view.recent),
    }
