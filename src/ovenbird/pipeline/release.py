"""The release workflow: from a commit to all its environments.

    manifest ─▶ build ─▶ publish ─▶ bake ─▶ share ─▶ for each environment: [approval] ─▶ rollout
                                             all promoted: ─▶ offer (channel of releases)
                                └─ when only the image was asked for: baked

A release that may be queued waits for its turn before all that.

A workflow only orders steps, waits and decides on what was recorded; all work is in the
steps, which wrap stages. Names are stored in the database and never changed; a change of
order needs a new ``runtime.VERSION``. ``tests/pipeline/test_step_names.py`` holds the list.
"""

from __future__ import annotations

from dbos import DBOS, SetWorkflowID

from ovenbird.domain.apps import AppSpec, EnvironmentSpec
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.images import Image
from ovenbird.domain.names import ClusterName
from ovenbird.domain.releases import Ending, Goal, Phase, ReleaseRequest, RolloutRequest
from ovenbird.pipeline import boot_steps as checking
from ovenbird.pipeline import package_steps as packaging
from ovenbird.pipeline import release_steps as work
from ovenbird.pipeline import turns
from ovenbird.pipeline.rollout import rollout
from ovenbird.pipeline.signals import approval_topic
from ovenbird.pipeline.steps import recorded, recorded_always, word_on


@DBOS.workflow(name="release")
def release(request: ReleaseRequest) -> Ending:
    """Bring a commit to all environments of its manifest, in their order.

    Raises:
        OvenbirdError: Something failed before or between rollouts; it is recorded.
    """
    try:
        ending = _all_stages(request)
    except OvenbirdError as error:
        _finish(request, work.ending_of(error))
        raise
    _finish(request, ending)
    return ending


def start(request: ReleaseRequest) -> None:
    """Start a release in this process and return at once; an id that is known is not new."""
    with SetWorkflowID(request.release_id):
        DBOS.start_workflow(release, request)


def _all_stages(request: ReleaseRequest) -> Ending:
    release_id = request.release_id
    if request.queue:
        recorded("turn", release_id, turns.await_release, request)
    source, app = recorded("manifest", release_id, work.read_manifest, request)
    packages = recorded("build", release_id, packaging.build, request, app)
    state = recorded("publish", release_id, packaging.publish, request, source, packages)
    baked = recorded("bake", release_id, work.bake, request, app, packages, state)
    baked = recorded("boot", release_id, checking.boot, app, baked)
    if request.goal is Goal.IMAGE:
        return Ending(phase=Phase.BAKED)
    images = recorded("share", release_id, work.share, app, baked.image)
    for environment in app.environments:
        if environment.approval:
            _await_approval(request, environment.name)
        ending = _roll_out(request, app, environment, images[environment.name])
        if ending.phase is not Phase.PROMOTED:
            return ending
    recorded_always("offer", release_id, packaging.offer, request, packages)
    return Ending(phase=Phase.PROMOTED)


def _await_approval(request: ReleaseRequest, environment: str) -> None:
    release_id = request.release_id
    recorded(f"{environment}/ask", release_id, work.ask, request, environment)
    said = word_on(approval_topic(environment), within_s=request.approval_within_s)
    word, actor = said.get("word", ""), said.get("actor", "")
    name = f"{environment}/answer"
    recorded_always(name, release_id, work.answer, request, environment, word, actor)


def _roll_out(
    request: ReleaseRequest, app: AppSpec, environment: EnvironmentSpec, image: Image
) -> Ending:
    rollout_id = f"{request.release_id}-{environment.name}"
    with SetWorkflowID(rollout_id):
        ending: Ending = rollout(
            RolloutRequest(
                rollout_id=rollout_id,
                release_id=request.release_id,
                environment=environment.name,
                cluster=ClusterName(app=app.app, stack=environment.name),
                image_id=image.image_id,
                version=image.version,
                actor=request.actor,
                queue=request.queue,
            ),
            app,
        )
    return ending


def _finish(request: ReleaseRequest, ending: Ending) -> None:
    recorded_always("finish", request.release_id, work.finish, request, ending)
