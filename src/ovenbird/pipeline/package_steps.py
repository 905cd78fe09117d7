"""The work of a release's steps with packages: build, publish, offer; each can run twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import CatalogEntry, RepositoryState
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.releases import ReleaseRequest
from ovenbird.domain.sources import Source
from ovenbird.packaging.versions import version_of
from ovenbird.pipeline.ports import Ports
from ovenbird.pipeline.steps import Step
from ovenbird.stages import build as build_stage
from ovenbird.stages import publish as publish_stage
from ovenbird.system import git


def build(step: Step, request: ReleaseRequest, app: AppSpec) -> tuple[Package, ...]:
    """Check out, build and package, or find what was published of this commit before.

    What is published never changes: a build that gives other bytes each time would only be
    refused, and no second attempt could come past it.
    """
    source, checkout = checked_out(step, request)
    outbox = step.ports.directory / "outbox" / request.release_id
    packages = _published(step, source, app, version_of(checkout, app.version))
    packages = packages or build_stage.build(
        source, app, checkout=checkout, outbox=outbox, progress=step.say
    )
    shutil.rmtree(work_place(step.ports, request), ignore_errors=True)
    step.ports.store.change_release(request.release_id, version=packages[0].version)
    return packages


def publish(
    step: Step, request: ReleaseRequest, source: Source, packages: tuple[Package, ...]
) -> RepositoryState:
    """Publish the packages and write them into the catalog."""
    ports = step.ports
    state = _published_to(step, packages, ports.channel)
    for package in packages:
        entry = CatalogEntry(
            package=package,
            source=source,
            channel=state.channel,
            state_number=state.number,
            published_at=ports.clock.now(),
            published_by=request.actor,
        )
        ports.store.put_catalog_entry(entry)
    return state


def offer(step: Step, packages: tuple[Package, ...]) -> None:
    """Publish the packages of a promoted release to the channel of what is in production.

    The release is promoted already: a repository that cannot be written is only told.
    """
    channel = step.ports.release_channel
    if not channel or channel == step.ports.channel:
        return
    try:
        _published_to(step, packages, channel)
    except OvenbirdError as error:
        step.note("failed_to_offer", f"Not published to channel `{channel}`: {error}")


def checked_out(step: Step, request: ReleaseRequest) -> tuple[Source, Path]:
    """Return the release's commit and a clean tree of it."""
    mirror = step.ports.mirror(request.url)
    found = git.resolve(request.url, request.commit, mirror=mirror, directory=request.directory)
    source = replace(found, ref=request.ref)
    into = work_place(step.ports, request) / "checkout"
    return source, git.checkout(source, mirror=mirror, into=into)


def work_place(ports: Ports, request: ReleaseRequest) -> Path:
    """Return the directory of a release's checkout."""
    return ports.directory / "work" / request.release_id


def _published(step: Step, source: Source, app: AppSpec, version: str) -> tuple[Package, ...]:
    """Return the packages of an earlier attempt at this commit; all of them, or none."""
    known: dict[tuple[str, str, PackageFormat], Package] = {
        (entry.package.name, entry.package.architecture, entry.package.format): entry.package
        for entry in step.ports.store.list_catalog(app.app)
        if (entry.package.version, entry.source.commit) == (version, source.commit)
    }
    wanted = [(p.name, p.architecture, format_) for p in app.packages for format_ in p.formats]
    found = tuple(known[key] for key in wanted if key in known)
    if len(found) < len(wanted) or not all(Path(package.path).exists() for package in found):
        return ()
    step.say(f"Found `{app.package.name}` {version}, published before from this commit")
    return found


def _published_to(step: Step, packages: tuple[Package, ...], channel: str) -> RepositoryState:
    ports = step.ports
    state = publish_stage.publish(
        packages,
        repository=ports.repository,
        channel=channel,
        clock=ports.clock,
        progress=step.say,
    )
    ports.store.put_repository_state(state)
    return state
