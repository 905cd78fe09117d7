"""The work of a release's steps: each wraps one stage, and each can run twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ovenbird.config.manifest import load_committed
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import CatalogEntry, RepositoryState
from ovenbird.domain.errors import Aborted, NotFound, OvenbirdError
from ovenbird.domain.images import (
    BLOCKS_UPLOADED_TAG,
    RELEASE_TAG,
    Baked,
    BakeRequest,
    Image,
    PackagePin,
)
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.releases import Ending, Phase, ReleaseRequest
from ovenbird.domain.rollouts import refuse_nonsense
from ovenbird.domain.sources import Source
from ovenbird.packaging.versions import version_of
from ovenbird.pipeline.ports import Ports
from ovenbird.pipeline.steps import Step
from ovenbird.stages import bake as bake_stage
from ovenbird.stages import build as build_stage
from ovenbird.stages import publish as publish_stage
from ovenbird.stages import share as share_stage
from ovenbird.system import git


def app_lock(app: str) -> str:
    """Return the name of the lock that one release of an app at a time holds."""
    return f"app {app}"


def read_manifest(step: Step, request: ReleaseRequest) -> tuple[Source, AppSpec]:
    """Read the commit's manifest and refuse what could not be carried out later.

    Raises:
        NotFound: The commit, its manifest, an environment or the base image is missing.
        InvalidRequest: The manifest is wrong.
    """
    source, checkout = _checkout(step, request)
    app = load_committed(source, checkout)
    check_feasible(app, step.ports)
    return source, app


def check_feasible(app: AppSpec, ports: Ports) -> None:
    """Refuse a manifest that the settings cannot serve.

    Raises:
        NotFound: An environment or the base image is not in the settings.
        InvalidRequest: A canary step is too short for the metrics, or no plan can be made.
    """
    _base_image_name(app, ports)
    for spec in app.environments:
        if spec.name not in ports.environments:
            known = ", ".join(f"`{name}`" for name in ports.environments)
            raise NotFound(f"No environment `{spec.name}` in the settings", hint=f"Known: {known}")
        refuse_nonsense(spec, ports.environments[spec.name].period_s)


def build(step: Step, request: ReleaseRequest, app: AppSpec) -> tuple[Package, ...]:
    """Check out, build and package, or find what was published of this commit before.

    What is published never changes: a build that gives other bytes each time would only be
    refused, and no second attempt could come past it.
    """
    source, checkout = _checkout(step, request)
    outbox = step.ports.directory / "outbox" / request.release_id
    packages = _published(step, source, app, version_of(checkout, app.version))
    packages = packages or build_stage.build(
        source, app, checkout=checkout, outbox=outbox, progress=step.say
    )
    shutil.rmtree(_work(step.ports, request), ignore_errors=True)
    step.ports.store.change_release(request.release_id, version=packages[0].version)
    return packages


def _published(step: Step, source: Source, app: AppSpec, version: str) -> tuple[Package, ...]:
    """Return the packages of an earlier attempt at this commit; all of them, or none."""
    wanted = (app.package.name, version, source.commit)
    known = {
        entry.package.format: entry.package
        for entry in step.ports.store.list_catalog(app.package.name)
        if (entry.package.name, entry.package.version, entry.source.commit) == wanted
    }
    found = tuple(known[name] for name in app.package.formats if name in known)
    if len(found) < len(app.package.formats) or not all(Path(p.path).exists() for p in found):
        return ()
    step.say(f"Found `{app.package.name}` {version}, published before from this commit")
    return found


def publish(
    step: Step, request: ReleaseRequest, source: Source, packages: tuple[Package, ...]
) -> RepositoryState:
    """Publish the packages and write them into the catalog."""
    ports = step.ports
    state = publish_stage.publish(
        packages,
        repository=ports.repository,
        channel=ports.channel,
        clock=ports.clock,
        progress=step.say,
    )
    ports.store.put_repository_state(state)
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


def bake(
    step: Step,
    request: ReleaseRequest,
    app: AppSpec,
    packages: tuple[Package, ...],
    state: RepositoryState,
) -> Baked:
    """Bake an image of the packages, or find the one that was baked before."""
    ports = step.ports
    baked = bake_stage.bake(
        BakeRequest(
            app=app.app,
            version=packages[0].version,
            commit=request.commit,
            release_id=request.release_id,
            base_image_id=base_image(app, ports).image_id,
            recipe=app.image.recipe,
            packages=tuple(map(_pin, _debs(packages))),
            repository=state,
            fresh=request.fresh,
        ),
        images=ports.images,
        snapshots=ports.snapshots,
        workshop=ports.workshop,
        progress=step.say,
    )
    ports.store.put_image(baked, commit=request.commit, release_id=request.release_id)
    ports.store.change_release(
        request.release_id,
        image_id=baked.image.image_id,
        blocks_uploaded=_uploaded(baked, request),
        blocks_total=baked.blocks_total,
    )
    return baked


def _uploaded(baked: Baked, request: ReleaseRequest) -> int:
    """Return how many blocks this release uploaded, also when it died right after its bake."""
    tags = baked.image.tags
    if baked.reused and tags.get(RELEASE_TAG) == request.release_id:
        return int(tags.get(BLOCKS_UPLOADED_TAG, 0))
    return baked.blocks_uploaded


def share(step: Step, app: AppSpec, image: Image) -> None:
    """Share the image with the account of each environment that is not the baking one."""
    ports = step.ports
    for spec in app.environments:
        environment = ports.environments[spec.name]
        if environment.account_id != image.owner_id:
            share_stage.share(
                image,
                account_id=environment.account_id,
                images=ports.images,
                there=environment.images,
                progress=step.say,
            )


def ask(step: Step, request: ReleaseRequest, environment: str) -> None:
    """Let everyone see that the release waits for a word."""
    step.ports.store.change_release(request.release_id, phase=Phase.WAITING)
    step.note(
        "waiting",
        f"Waiting for approval of `{environment}`: `ovenbird release approve {request.release_id}`",
        {"environment": environment},
    )


def answer(step: Step, request: ReleaseRequest, environment: str, word: str, actor: str) -> None:
    """Take note of a person's word, or of its absence.

    Raises:
        Aborted: It is not ``approve``.
    """
    step.ports.store.change_release(request.release_id, phase=Phase.RUNNING)
    if word == "approve":
        step.note("approved", f"`{environment}` approved by {actor}", {"actor": actor})
        return
    if word == "abort":
        raise Aborted(f"Aborted by {actor}", actor=actor)
    who = f"by {actor}" if actor else f"after {request.approval_within_s:g} s without a word"
    raise Aborted(f"`{environment}` rejected {who}", rejected=1)


def finish(step: Step, request: ReleaseRequest, ending: Ending) -> None:
    """Write the ending and let the next release of the app begin."""
    store = step.ports.store
    store.change_release(
        request.release_id,
        phase=ending.phase,
        error=ending.error,
        hint=ending.hint,
        ended_at=step.ports.clock.now(),
    )
    shutil.rmtree(_work(step.ports, request), ignore_errors=True)
    store.unlock_all(owner=request.release_id)
    text = f"Release `{request.release_id}` {ending.phase.replace('_', ' ')}"
    step.note(ending.phase.value, f"{text}: {ending.error}" if ending.error else text)


def ending_of(error: OvenbirdError) -> Ending:
    """Return how a release ends that met an error outside of a rollout."""
    phase = Phase.FAILED
    if isinstance(error, Aborted):
        phase = Phase.REJECTED if "rejected" in error.facts else Phase.ABORTED
    return Ending(phase=phase, error=str(error), hint=error.hint, cause=type(error).__name__)


def base_image(app: AppSpec, ports: Ports) -> Image:
    """Return the image that a bake of this app starts from.

    Raises:
        NotFound: The settings do not name it, or the account does not see it.
    """
    name = _base_image_name(app, ports)
    image = ports.images.find_by_name(name)
    if image is None:
        raise NotFound(
            f"Base image `{app.image.base}` is missing: no image is named `{name}`",
            hint="Run `ovenbird sandbox up`, or mend `base_images` in the settings",
        )
    return image


def _base_image_name(app: AppSpec, ports: Ports) -> str:
    if app.image.base not in ports.base_images:
        known = ", ".join(f"`{name}`" for name in ports.base_images)
        raise NotFound(
            f"Base image `{app.image.base}` is not in the settings", hint=f"Known: {known}"
        )
    return ports.base_images[app.image.base]


def _checkout(step: Step, request: ReleaseRequest) -> tuple[Source, Path]:
    mirror = step.ports.mirror(request.url)
    found = git.resolve(request.url, request.commit, mirror=mirror, directory=request.directory)
    source = replace(found, ref=request.ref)
    into = _work(step.ports, request) / "checkout"
    return source, git.checkout(source, mirror=mirror, into=into)


def _work(ports: Ports, request: ReleaseRequest) -> Path:
    return ports.directory / "work" / request.release_id


def _debs(packages: tuple[Package, ...]) -> tuple[Package, ...]:
    return tuple(package for package in packages if package.format is PackageFormat.DEB)


def _pin(package: Package) -> PackagePin:
    return PackagePin(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        digest_sha256=package.digest_sha256,
    )
