"""The work of a release's steps: each wraps one stage, and each can run twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from ovenbird.config.manifest import load_committed
from ovenbird.config.places import Places
from ovenbird.config.recipes import check_files
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import Aborted, InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.given_values import with_values
from ovenbird.domain.images import (
    BLOCKS_UPLOADED_TAG,
    RELEASE_TAG,
    Baked,
    BakeRequest,
    BakeStrategy,
    BaseSource,
    Image,
    PackagePin,
)
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.releases import Ending, Goal, Phase, ReleaseRequest
from ovenbird.domain.sharing import refuse_unshareable
from ovenbird.domain.sources import Source
from ovenbird.domain.strategies.refusals import refuse_nonsense
from ovenbird.domain.words import SUPERSEDE
from ovenbird.packaging.checking import checks
from ovenbird.pipeline.package_steps import checked_out, work_place
from ovenbird.pipeline.ports import Ports
from ovenbird.pipeline.rollout_steps import phase_of
from ovenbird.pipeline.steps import Step
from ovenbird.stages import bake as bake_stage
from ovenbird.stages import share as share_stage
from ovenbird.system import trees

_ARCHITECTURES = {"x86_64": "amd64"}  # EC2's words → Debian's, where they differ


def app_lock(app: str) -> str:
    """Return the name of the lock that one release of an app at a time holds."""
    return f"app {app}"


def read_manifest(step: Step, request: ReleaseRequest) -> tuple[Source, AppSpec]:
    """Read the commit's manifest and refuse what could not be carried out later.

    Raises:
        NotFound: The commit, its manifest, an environment or the base image is missing.
        InvalidRequest: The manifest is wrong.
    """
    source, checkout = checked_out(step, request)
    app = with_values(load_committed(source, checkout), request.values)
    app = app.confirmed(request.confirmed)
    with Places(source, checkout).named():
        check_files(app.image.recipe, checkout)
        check_feasible(app, step.ports)
    if request.goal is not Goal.IMAGE:
        check_sharing(app, step.ports)
    return source, app


def check_feasible(app: AppSpec, ports: Ports) -> None:
    """Refuse a manifest that the settings cannot serve.

    Raises:
        NotFound: An environment or the base image is not in the settings.
        InvalidRequest: A canary step is too short for the metrics, or no plan can be made; or
            no machine can have the packages, whatever else it has.
    """
    checks.refuse(checks.check_relations(app.packages))
    base_source(app, ports)
    _refuse_missing_debs(app)
    for spec in app.environments:
        if spec.name not in ports.environments:
            known = ", ".join(f"`{name}`" for name in ports.environments)
            raise NotFound(f"No environment `{spec.name}` in the settings", hint=f"Known: {known}")
        refuse_nonsense(spec, ports.environments[spec.name].period_s)


def _refuse_missing_debs(app: AppSpec) -> None:
    """Base images are Debian's: what they install must be built as a deb."""
    built = {package.name for package in app.packages if PackageFormat.DEB in package.formats}
    if missing := [name for name in app.image.packages if name not in built]:
        raise InvalidRequest(
            f"`{missing[0]}` is not built as a deb, as base image `{app.image.base}` needs it",
            hint="Add `deb` to `formats` in ovenbird.yaml, or leave it out of `image.packages`",
        )


def bake(
    step: Step,
    request: ReleaseRequest,
    app: AppSpec,
    packages: tuple[Package, ...],
    state: RepositoryState,
) -> Baked:
    """Bake an image of the packages, or find the one that was baked before."""
    ports = step.ports
    base = _ready_base(step, app)
    with (
        ports.repository.reachable(state) as reachable,
        recipe_files(step, request, app) as files,
        step.lines() as tell,
    ):
        baked = bake_stage.bake(
            BakeRequest(
                app=app.app,
                version=packages[0].version,
                commit=request.commit,
                release_id=request.release_id,
                base_image_id=base.image_id,
                recipe=app.image.recipe,
                packages=_pins(app, packages, base),
                repository=reachable,
                fresh=request.fresh,
                not_before=_not_before(app, ports),
                files=files.digests,
                directory=str(files.directory or ""),
                strategy=app.image.strategy,
                source_url=request.url,
                base_name=app.image.base,
            ),
            kitchen=ports.kitchen,
            progress=tell,
        )
    if baked.seconds:
        parts = ", ".join(f"{phase} {seconds:g}" for phase, seconds in baked.seconds.items())
        step.note("timed", f"Seconds: {parts}", baked.seconds)
    for note in baked.notes:
        step.note("warning", note)
    ports.store.put_image(baked, commit=request.commit, release_id=request.release_id)
    ports.store.change_release(
        request.release_id,
        image_id=baked.image.image_id,
        blocks_uploaded=_uploaded(baked, request),
        blocks_total=baked.blocks_total,
    )
    return baked


def _not_before(app: AppSpec, ports: Ports) -> datetime | None:
    """Return when an image must have been made to be young enough."""
    days = app.image.max_age_days
    return None if days is None else ports.clock.now() - timedelta(days=days)


def _ready_base(step: Step, app: AppSpec) -> Image:
    """Return the base image, readable; a builder instance also starts from one that is not.

    Raises:
        InvalidRequest: Its owner does not let it be copied, and its blocks are needed.
    """
    base = base_image(app, step.ports)
    try:
        return step.ports.bases.ready(base, progress=step.say)
    except InvalidRequest as error:
        if app.image.strategy is not BakeStrategy.INSTANCE:
            raise
        step.say(f"Starting from `{base.image_id}` itself: {error}")
        return base


def _uploaded(baked: Baked, request: ReleaseRequest) -> int:
    """Return how many blocks this release uploaded, also when it died right after its bake."""
    tags = baked.image.tags
    if baked.reused and tags.get(RELEASE_TAG) == request.release_id:
        return int(tags.get(BLOCKS_UPLOADED_TAG, 0))
    return baked.blocks_uploaded


def check_sharing(app: AppSpec, ports: Ports) -> None:
    """Refuse before the bake what could not be shared after it.

    Raises:
        InvalidRequest: What encrypts the image can be used by no other account.
        NotFound: The base image or a key does not exist.
    """
    base = base_image(app, ports)
    ours = replace(base, owner_id=ports.environments[ports.bake_environment].account_id)
    request = ports.share_request(ours, [spec.name for spec in app.environments])
    if request.regions:
        refuse_unshareable(request, ports.bases.key_of(base))


def share(step: Step, app: AppSpec, image: Image) -> dict[str, Image]:
    """Let each environment use the image; return what each one launches."""
    ports = step.ports
    request = ports.share_request(image, [spec.name for spec in app.environments])
    return share_stage.share(request, doors=ports.sharing, progress=step.say)


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
    if word == SUPERSEDE:
        raise Aborted(f"Superseded by `{actor}`", superseded=1)
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
    shutil.rmtree(work_place(step.ports, request), ignore_errors=True)
    store.unlock_all(owner=request.release_id)
    text = f"Release `{request.release_id}` {ending.phase.replace('_', ' ')}"
    step.note(ending.phase.value, f"{text}: {ending.error}" if ending.error else text)


def ending_of(error: OvenbirdError) -> Ending:
    """Return how a release ends that met an error outside of a rollout."""
    phase = phase_of(error) if isinstance(error, Aborted) else Phase.FAILED
    return Ending(phase=phase, error=str(error), hint=error.hint, cause=type(error).__name__)


def base_image(app: AppSpec, ports: Ports) -> Image:
    """Return the image that a bake of this app starts from.

    Raises:
        NotFound: The settings do not name it, or the account does not see it.
    """
    return ports.bases.find(base_source(app, ports))


def base_source(app: AppSpec, ports: Ports) -> BaseSource:
    """Return how the base image of an app is found.

    Raises:
        NotFound: The settings do not name it.
    """
    if app.image.base not in ports.base_images:
        known = ", ".join(f"`{name}`" for name in ports.base_images)
        raise NotFound(
            f"Base image `{app.image.base}` is not in the settings", hint=f"Known: {known}"
        )
    return ports.base_images[app.image.base]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFiles:
    """The files that a recipe reads.

    Args:
        digests: Path in the app's directory → mode and SHA-256.
        directory: The app's directory; None when the recipe reads no files.
    """

    digests: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


@contextmanager
def recipe_files(step: Step, request: ReleaseRequest, app: AppSpec) -> Iterator[RecipeFiles]:
    """Check out what a recipe reads, for as long as the block runs.

    Raises:
        NotFound: A file or directory that it names is not in the commit.
    """
    wanted = [source for one in app.image.recipe for source in one.sources]
    if not wanted:
        yield RecipeFiles()
        return
    _, checkout = checked_out(step, request)
    try:
        yield RecipeFiles(digests=trees.digests(checkout, wanted), directory=checkout)
    finally:
        shutil.rmtree(work_place(step.ports, request), ignore_errors=True)


_WORDS = {PackageFormat.DEB: "a deb", PackageFormat.RPM: "an rpm"}


def _pins(app: AppSpec, packages: tuple[Package, ...], base: Image) -> tuple[PackagePin, ...]:
    """Return what is installed: the packages that the manifest names, for the base's processor.

    Raises:
        InvalidRequest: None of the app's packages can be installed on the base image.
    """
    fitting = {"all", _ARCHITECTURES.get(base.architecture, base.architecture)}
    wanted = app.image.packages or (app.package.name,)
    built = {package.format for package in packages if package.name in wanted}
    only_rpm = built >= {PackageFormat.RPM} and PackageFormat.DEB not in built
    kind = PackageFormat.RPM if only_rpm else PackageFormat.DEB
    found = tuple(
        PackagePin(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            digest_sha256=package.digest_sha256,
        )
        for package in packages
        if package.format is kind and package.name in wanted and package.architecture in fitting
    )
    if missing := [name for name in wanted if name not in {pin.name for pin in found}]:
        raise InvalidRequest(
            f"`{missing[0]}` is not built as {_WORDS[kind]} for {base.architecture}, "
            "as the image needs it",
            hint="Mend `formats` and `architecture` in ovenbird.yaml, or `image.packages`",
        )
    return found
