"""A bake by a builder instance, for base images that only CreateImage carries over rightly.

builder launched ─▶ recipe ─▶ packages ─▶ clean ─▶ stopped ─▶ image ─▶ evidence ─▶ builder gone
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from ovenbird.domain.blocks import GIB_BLOCKS
from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.images import DISK_TAG, STRATEGY_TAG, Baked, BakeStrategy, Image
from ovenbird.domain.ports import Progress
from ovenbird.stages.attest import attest_made
from ovenbird.stages.kitchen import Kitchen, Work, common_tags, fill, found, notes_of


def sweep_builders(baked: Image, kitchen: Kitchen, progress: Progress) -> None:
    """Remove the builder of an image, when the bake that made it was killed right after that."""
    if kitchen.builders and baked.tags.get(STRATEGY_TAG) == BakeStrategy.INSTANCE:
        kitchen.builders.sweep(progress)


def by_instance(work: Work) -> Baked:
    """Let a builder instance become the image, or find that it did so for this release.

    Raises:
        Conflict: Another image has the name.
        CapacityShortage: AWS has no such instance now.
        Unhealthy: The builder did not answer in time.
    """
    builders = work.kitchen.builders
    if builders is None:
        raise InvalidRequest(
            "There is no network for builder instances", hint="Set `builders` in the settings"
        )
    builders.sweep(work.progress)  # first: what is left may have the name
    name = work.image_name
    earlier = work.kitchen.images.find_by_name(name)
    if earlier is not None and not earlier.is_offered:
        name = work.own_image_name
        earlier = work.kitchen.images.find_by_name(name)
    if earlier is not None:
        return _earlier(work, earlier)
    tags = common_tags(work, BakeStrategy.INSTANCE)

    def complete(made: Image) -> Mapping[str, str]:
        with work.timed("evidence"):
            return attest_made(work, made)

    opened = builders.open(
        work.base, key=work.key, repository=work.request.repository, progress=work.progress
    )
    with ExitStack() as stack:
        with work.timed("launch"):
            room = stack.enter_context(opened)
        fill(work, room)
        with work.timed("create image"):
            image = room.make_image(name=name, tags=tags, complete=complete)
        with work.timed("terminate"):
            stack.close()
    return Baked(
        image=image,
        blocks_uploaded=0,
        blocks_total=image.size_gib * GIB_BLOCKS,
        digest_sha256=image.tags.get(DISK_TAG, ""),
        reused=False,
        seconds=work.seconds,
        strategy=BakeStrategy.INSTANCE,
        notes=notes_of(image),
    )


def _earlier(work: Work, image: Image) -> Baked:
    """Return what a fresh bake of this release made before it was killed."""
    if image.bake_key != work.key or not image.is_offered:
        state = "of another bake" if image.bake_key else "still being made, by another host"
        state = state if image.is_offered else "not to be offered"
        raise Conflict(
            f"Image `{image.image_id}` has the name `{image.name}`, and is {state}",
            hint="Wait for that bake, or deregister the image",
        )
    return found(image)
