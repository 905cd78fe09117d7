"""Standalone rollouts: an image that is there, onto one cluster.

    prepare ─▶ image, manifest ─▶ preview: what would be done ─▶ start: do it, watch

The manifest is the one of the app's directory, or of the commit that the image was baked
from. Apart from that it is the rollout that releases do.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovenbird.config.manifest import load_committed, load_manifest
from ovenbird.domain.apps import AppSpec, EnvironmentSpec
from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import Conflict, InvalidRequest, NotFound
from ovenbird.domain.images import COMMIT_TAG, Image
from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import Plan
from ovenbird.domain.releases import Phase, RolloutRequest
from ovenbird.domain.rollouts import plan_rollout
from ovenbird.domain.strategies.refusals import refuse_unconfirmed
from ovenbird.operations.images import list_images, meant
from ovenbird.operations.opening import Installation
from ovenbird.operations.queueing import REFUSED, Turn, refuse_taken, supersede_rollouts
from ovenbird.operations.releases import phase_of
from ovenbird.operations.releasing import going
from ovenbird.operations.work import Result, Tell, Watch, at_work, result_of, starting, take_over
from ovenbird.pipeline import rollout
from ovenbird.pipeline.rollout_steps import UNDER_WAY, cluster_lock, record
from ovenbird.pipeline.runtime import Runtime
from ovenbird.store.records import Store
from ovenbird.system import git

GIVE = "Name the app's directory with `--app`: its manifest is used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image that can be rolled out: it may be launched, and its manifest is known.

    Args:
        image: As the environment's account has it.
        spec: The manifest.
        source: Where the manifest comes from, in words.
    """

    image: Image
    environment: str
    cluster: ClusterName
    spec: AppSpec
    source: str

    @property
    def deployment(self) -> EnvironmentSpec:
        """The manifest's part for the environment."""
        return next(one for one in self.spec.environments if one.name == self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a rollout would do.

    Args:
        cluster: As it was observed.
    """

    wanted: Wanted
    cluster: Cluster
    plan: Plan


def prepare(
    installation: Installation,
    *,
    image: str,
    environment: str,
    app: str = "",
    directory: str = "",
    confirmed: Sequence[str] = (),
) -> Wanted:
    """Find an image and its manifest, and refuse what could not be rolled out.

    Args:
        installation: Where it would be rolled out.
        image: An id, a unique beginning of it, a name, ``app@version``, or a version.
        environment: Where to.
        app: Only images of this app; empty for any.
        directory: The app's, whose manifest is used; empty for the one of the image's commit.
        confirmed: Clusters that a person named to do without everything else in them.

    Raises:
        NotFound: The image, the environment or the manifest is not there.
        InvalidRequest: The image or the manifest does not fit.
        CloudError: AWS refused a call.
    """
    spec = load_manifest(Path(directory).expanduser()) if directory else None
    found = _image(installation, image, environment, app or (spec.app if spec else ""))
    source = f"`{directory}`" if spec else f"commit {found.tags.get(COMMIT_TAG, '')[:7]}"
    wanted = Wanted(
        image=found,
        environment=environment,
        cluster=ClusterName(app=found.app, stack=environment),
        spec=(spec or _committed(installation, found)).confirmed(confirmed),
        source=source,
    )
    _refuse_unfit(wanted)
    return wanted


def preview(installation: Installation, wanted: Wanted) -> Preview:
    """Plan a rollout on its cluster as it is now; nothing is changed.

    Raises:
        Conflict: A plan is not possible now.
        InvalidRequest: The capacity or a canary's step makes no sense.
        CloudError: AWS refused a call.
    """
    doors = installation.environment(wanted.environment)
    cluster = doors.groups.get_cluster(wanted.cluster, wanted.environment)
    plan = plan_rollout(
        cluster,
        image_id=wanted.image.image_id,
        version=wanted.image.version,
        release_id="rollout to come",  # nothing has it
        spec=wanted.spec,
        environment=wanted.deployment,
        period_s=doors.period_s,
        now=installation.ports.clock.now(),
    )
    return Preview(wanted=wanted, cluster=cluster, plan=plan)


def start(
    installation: Installation, wanted: Wanted, *, actor: str, tell: Tell, turn: Turn = REFUSED
) -> Result:
    """Roll an image out in this process, until it has ended or waits for a person.

    What dead processes left on this cluster goes on to its end first.

    Args:
        installation: Where.
        wanted: What.
        actor: Who asks.
        tell: Takes each event.
        turn: What to do when something else works on the cluster.

    Raises:
        InvalidRequest: The strategy leaves no way back, and nobody confirmed that.
        Conflict: Something else changes the cluster.
    """
    refuse_unconfirmed(wanted.deployment, wanted.cluster)
    lock = cluster_lock(wanted.environment, wanted.cluster)
    with at_work(installation) as engine:
        watch, store = Watch(engine, tell), engine.ports.store
        taken = take_over(engine)
        watch.hear(taken)
        mine = [one for one in going(engine, taken) if _is_on(store, lock, one)]
        queued = [one for one in mine if turn.supersede and phase_of(store, one) is Phase.QUEUED]
        watch.until_done(set(mine) - set(queued))
        rollout_id = _id(engine, wanted)
        if turn.supersede:
            watch.until_done(supersede_rollouts(engine, wanted.cluster, by=rollout_id))
        _begin(engine, wanted, rollout_id, lock, actor=actor, turn=turn)
        watch.until_done([rollout_id])
        result = result_of(engine, rollout_id)
        watch.until_done(going(engine, taken))
        return result


def _begin(
    engine: Runtime, wanted: Wanted, rollout_id: str, lock: str, *, actor: str, turn: Turn
) -> None:
    """Write a rollout down and start its workflow; both or neither, for who looks later."""
    store, now = engine.ports.store, engine.ports.clock.now()
    request = RolloutRequest(
        rollout_id=rollout_id,
        release_id="",
        environment=wanted.environment,
        cluster=wanted.cluster,
        image_id=wanted.image.image_id,
        version=wanted.image.version,
        actor=actor,
        queue=turn.waits,
    )
    with starting(engine):
        if not turn.waits:
            refuse_taken(store, lock, now)
        # Before the lock, which so never belongs to a rollout that nobody knows.
        store.put_rollout(record(request, now, Phase.RUNNING))
        if not turn.waits:
            store.lock(lock, owner=rollout_id, reason=UNDER_WAY, at=now)
        rollout.start(request, wanted.spec)


def _is_on(store: Store, lock: str, subject: str) -> bool:
    """Tell whether somebody holds a lock, or waits for it."""
    holder = store.find_lock(lock)
    return subject in {
        one.owner for one in (*store.list_turns(lock), *([holder] if holder else []))
    }


def _id(engine: Runtime, wanted: Wanted) -> str:
    """Return a new id: the time for people, the digits so that two within a second are two."""
    at = engine.ports.clock.now()
    return f"{wanted.cluster}-rollout-{at:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def _image(installation: Installation, text: str, environment: str, app: str) -> Image:
    images = list_images(installation, app=app or None, environment=environment)
    versions = [image for image in images if image.version == text]
    if len({image.app for image in versions}) > 1:
        apps = ", ".join(sorted(f"`{image.app}`" for image in versions))
        raise InvalidRequest(f"`{text}` is a version of {apps}", hint="Name the app, too")
    if versions:
        return versions[0]
    try:
        return meant(images, text)
    except NotFound as error:
        raise _missing(installation, error, text, environment, app) from error


def _missing(
    installation: Installation, error: NotFound, text: str, environment: str, app: str
) -> NotFound:
    """Return the error for an image that an environment does not have, though others may."""
    if environment == installation.settings.bake_environment:
        return error
    baked = list_images(installation, app=app or None)
    found = [one for one in baked if text in {one.image_id, one.name, one.version}]
    if not found:
        return error
    return NotFound(
        f"`{environment}` does not have image `{text}`",
        hint=f"`ovenbird image share {found[0].image_id} --environment {environment}` gives it",
    )


def _committed(installation: Installation, image: Image) -> AppSpec:
    """Return the manifest of the commit that an image was baked from.

    Raises:
        NotFound: Nobody knows where that commit is.
    """
    commit = image.tags.get(COMMIT_TAG, "")
    entries = installation.store.list_catalog(image.app)
    known = next((one.source for one in entries if commit and one.source.commit == commit), None)
    if known is None:
        raise NotFound(f"The catalog does not know the commit of `{image.name}`", hint=GIVE)
    mirror = installation.ports.mirror(known.url)
    source = git.resolve(known.url, commit, mirror=mirror, directory=known.directory)
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as place:
        tree = git.checkout(source, mirror=mirror, into=Path(place) / "checkout")
        return load_committed(source, tree)


def _refuse_unfit(wanted: Wanted) -> None:
    """Refuse what must not be launched, or does not belong together.

    Raises:
        InvalidRequest: The manifest is another app's.
        Conflict: The image must not be launched.
        NotFound: The manifest does not know the environment.
    """
    image, spec = wanted.image, wanted.spec
    if spec.app != image.app:
        raise InvalidRequest(
            f"`{image.name}` is an image of `{image.app}`, the manifest is of `{spec.app}`",
            hint="Name the directory of the image's app with `--app`",
        )
    if not image.is_offered:
        why = "did not pass its boot check" if image.is_unfit else "is disabled"
        raise Conflict(f"`{image.name}` {why}", hint="`ovenbird image list` shows others")
    if wanted.environment not in {one.name for one in spec.environments}:
        known = ", ".join(f"`{one.name}`" for one in spec.environments)
        raise NotFound(
            f"The manifest of `{spec.app}` has no environment `{wanted.environment}`",
            hint=f"It has {known}",
        )
