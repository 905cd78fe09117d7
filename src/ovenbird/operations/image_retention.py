"""Retiring images: what nothing uses is deprecated, later disabled, later removed.

    AWS in all environments, records ─▶ plan ─▶ a person confirms ─▶ plan again ─▶ step by step

What uses images is asked of every environment both times: when one cannot be asked, nothing
is done. Killed between two images, the next run goes on; nothing is half-done but a snapshot
whose image is gone, which the next bake removes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ovenbird.config.settings import Settings
from ovenbird.domain.clusters import Cluster
from ovenbird.domain.image_ports import ImageLives
from ovenbird.domain.image_retention import (
    ImageChoice,
    ImageLimits,
    ImageUse,
    Step,
    plan_images,
    refuse_strange,
)
from ovenbird.domain.images import COPIED_FROM_TAG, ImageId
from ovenbird.domain.ports import Clock, Progress
from ovenbird.domain.releases import Phase
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.ports import Environment

_DONE = {
    Step.RESTORE: "Restored",
    Step.DEPRECATE: "Deprecated",
    Step.DISABLE: "Disabled",
    Step.REMOVE: "Removed",
}


def limits_of(
    settings: Settings, *, keep_last: int | None = None, keep_days: float | None = None
) -> ImageLimits:
    """Return the limits of the settings, with others where they are given."""
    found = settings.retention.images
    return ImageLimits(
        keep_last=found.keep_last if keep_last is None else keep_last,
        keep_days=found.keep_days if keep_days is None else keep_days,
        disable_after_days=found.disable_after_days,
        remove_after_days=found.remove_after_days,
    )


def plan_retirement(
    installation: Installation, limits: ImageLimits, *, app: str | None = None
) -> tuple[ImageChoice, ...]:
    """Plan what becomes of each image of the account that bakes; nothing is changed.

    Args:
        installation: Whose images.
        limits: What is kept beside what is used.
        app: Only of this app.

    Raises:
        CloudError: An environment could not be asked what it uses.
        Conflict: What was observed cannot be true.
        NotFound: The sandbox is not running.
    """
    ports = installation.ports
    account_id = ports.environments[ports.bake_environment].account_id
    found = ports.images.list_baked(app, disabled=True)
    images = [one for one in found if one.owner_id == account_id]
    clusters = list_clusters(installation)
    uses = (*_of_groups(clusters), *_elsewhere(installation), *_of_releases(installation))
    refuse_strange(images, uses, expected=dict(_expected(installation, clusters)))
    return plan_images(images, uses, limits=limits, now=ports.clock.now())


def retire(
    installation: Installation,
    confirmed: tuple[ImageChoice, ...],
    limits: ImageLimits,
    *,
    app: str | None = None,
    progress: Progress,
) -> tuple[ImageChoice, ...]:
    """Carry out what was confirmed, as far as it still holds, and return what was done.

    Raises:
        CloudError: AWS refused a call; what was done before is consistent.
        Conflict: What was observed cannot be true; nothing was done.
    """
    seen = {(one.image.image_id, one.step) for one in confirmed}
    again = plan_retirement(installation, limits, app=app)
    ports = installation.ports
    lives = ports.environments[ports.bake_environment].lives
    return tuple(
        _carried_out(choice, lives, clock=ports.clock, progress=progress)
        if (choice.image.image_id, choice.step) in seen
        else replace(choice, step=Step.STAY, reason=f"it was not confirmed: {choice.reason}")
        for choice in again
    )


def _carried_out(
    choice: ImageChoice, lives: ImageLives, *, clock: Clock, progress: Progress
) -> ImageChoice:
    image = choice.image
    match choice.step:
        case Step.STAY:
            return choice
        case Step.RESTORE:
            lives.restore(image)
        case Step.DEPRECATE:
            lives.deprecate(image, at=clock.now())
        case Step.DISABLE:
            lives.disable(image)
        case Step.REMOVE:
            lives.remove(image)
    progress(f"{_DONE[choice.step]} `{image.name}` ({image.image_id})")
    return choice


def _of_groups(clusters: tuple[Cluster, ...]) -> Iterator[ImageUse]:
    for cluster in clusters:
        for group in cluster.groups:
            word = "serves it" if group.enabled else "rests with it, for a rollback"
            reason = f"{group.name} in {cluster.environment} {word}"
            yield ImageUse(image_id=group.image_id, reason=reason)


def _elsewhere(installation: Installation) -> Iterator[ImageUse]:
    """Yield what each account uses, by itself or through a copy; asked once in each Region."""
    asked: dict[tuple[str, str], Environment] = {}
    for environment in installation.ports.environments.values():
        asked.setdefault((environment.account_id, environment.target.region), environment)
    for environment in asked.values():
        yield from environment.uses.list_uses()
        for image in environment.images.list_baked():
            if origin := image.tags.get(COPIED_FROM_TAG):
                reason = f"its copy {image.image_id} is in {environment.name}"
                yield ImageUse(image_id=ImageId(origin), reason=reason)


def _of_releases(installation: Installation) -> Iterator[ImageUse]:
    for release in installation.store.list_releases():
        if not release.phase.ended and release.image_id:
            reason = f"release {release.release_id} is under way with it"
            yield ImageUse(image_id=ImageId(release.image_id), reason=reason)


def _expected(
    installation: Installation, clusters: tuple[Cluster, ...]
) -> Iterator[tuple[str, str]]:
    """Yield the image that each cluster must run: its last change was to promote that one."""
    standing = {f"{cluster.environment} {cluster.name}" for cluster in clusters if cluster.groups}
    seen: set[str] = set()
    for change in installation.store.list_rollouts():  # newest first
        place = f"{change.environment} {change.cluster}"
        if place in standing - seen and change.kind == "rollout" and change.phase is Phase.PROMOTED:
            yield change.image_id, change.cluster
        seen.add(place)
