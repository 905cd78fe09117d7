"""The work of a release's steps with packages: build, publish, offer; each can run twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ovenbird.config.places import Places
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import PackageFacts, RepositoryState
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.packages import Package
from ovenbird.domain.releases import ReleaseRequest
from ovenbird.domain.sources import Source
from ovenbird.packaging.versions import version_of
from ovenbird.pipeline.ports import Ports
from ovenbird.pipeline.steps import Step
from ovenbird.stages import build as build_stage
from ovenbird.stages import describe as describe_stage
from ovenbird.stages import publish as publish_stage
from ovenbird.stages.build import Means
from ovenbird.stages.publish import Shop
from ovenbird.system import git


def build(step: Step, request: ReleaseRequest, app: AppSpec) -> tuple[Package, ...]:
    """Check out, build, package and check, or find what was published of this commit before."""
    source, checkout = checked_out(step, request)
    with Places(source, checkout).named():
        packages = _built(step, request, source, app, checkout)
    shutil.rmtree(work_place(step.ports, request), ignore_errors=True)
    step.ports.store.change_release(request.release_id, version=packages[0].version)
    return packages


def _built(
    step: Step, request: ReleaseRequest, source: Source, app: AppSpec, checkout: Path
) -> tuple[Package, ...]:
    outbox = step.ports.directory / "outbox" / request.release_id
    version = version_of(checkout, app.version)
    shop = _shop(step, request)
    packages = publish_stage.published_before(source, app, version, shop, outbox=outbox)
    if not packages:
        means = Means(sign=step.ports.sign, rooms=step.ports.rooms, version=version)
        with step.lines() as tell:
            packages = build_stage.build(
                source, app, checkout=checkout, outbox=outbox, progress=tell, means=means
            )
        _describe(step, source, app, packages)
    return packages


def publish(
    step: Step, request: ReleaseRequest, source: Source, packages: tuple[Package, ...]
) -> RepositoryState:
    """Publish the packages and write them into the catalog."""
    facts = tuple(describe_stage.kept(package) or PackageFacts() for package in packages)
    return publish_stage.publish_new(
        packages, facts, _shop(step, request), source=source, channel=step.ports.channel
    )


def offer(step: Step, request: ReleaseRequest, packages: tuple[Package, ...]) -> None:
    """Publish the packages of a promoted release to the channel of what is in production.

    The release is promoted already: a repository that cannot be written is only told.
    """
    channel = step.ports.release_channel
    if not channel or channel == step.ports.channel:
        return
    try:
        publish_stage.publish(packages, _shop(step, request), channel=channel)
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


def _describe(step: Step, source: Source, app: AppSpec, packages: tuple[Package, ...]) -> None:
    describe_stage.describe(
        packages,
        app,
        epoch_s=source.committed_at_epoch_s,
        branch=git.branch_of(source, mirror=step.ports.mirror(source.url)),
        progress=step.say,
    )


def _shop(step: Step, request: ReleaseRequest) -> Shop:
    ports = step.ports
    return Shop(
        repository=ports.repository,
        records=ports.store,
        clock=ports.clock,
        progress=step.say,
        actor=request.actor,
    )
