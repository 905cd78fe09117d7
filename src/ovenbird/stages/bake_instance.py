"""A bake by a builder instance, for base images that only CreateImage carries over rightly.

builder launched ─▶ recipe ─▶ packages ─▶ clean ─▶ stopped ─▶ image ─▶ builder gone
"""

from __future__ import annotations

from ovenbird.domain.blocks import GIB_BLOCKS
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import Baked, BakeStrategy
from ovenbird.stages.kitchen import Work, common_tags, fill


def by_instance(work: Work) -> Baked:
    """Let a builder instance become the image."""
    if work.kitchen.builders is None:
        raise InvalidRequest(
            "There is no network for builder instances", hint="Set `builders` in the settings"
        )
    tags = common_tags(work, BakeStrategy.INSTANCE)
    opened = work.kitchen.builders.open(
        work.base, key=work.key, repository=work.request.repository, progress=work.progress
    )
    with opened as room:
        fill(work, room)
        with work.timed("create image"):
            image = room.make_image(name=work.image_name, tags=tags)
    return Baked(
        image=image,
        blocks_uploaded=0,
        blocks_total=image.size_gib * GIB_BLOCKS,
        digest_sha256="",
        reused=False,
        seconds=work.seconds,
        strategy=BakeStrategy.INSTANCE,
    )
