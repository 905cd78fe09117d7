"""From a base image and packages to an image.

asked before? ─▶ which way? ─┬─▶ bake_direct:   blocks changed on this host
                             └─▶ bake_instance: a builder instance becomes the image
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import (
    Baked,
    BakeRequest,
    BakeStrategy,
    Image,
)
from ovenbird.domain.ports import Progress
from ovenbird.stages.bake_direct import direct
from ovenbird.stages.bake_instance import by_instance, sweep_builders
from ovenbird.stages.kitchen import Kitchen, Work, found

ENGINE = 2  # raised when the same request gives another image


def bake(request: BakeRequest, *, kitchen: Kitchen, progress: Progress) -> Baked:
    """Bake one image, or return the one that the same request made before.

    Nothing is left behind on this host, whatever fails; in AWS an unfinished snapshot may
    be, which the next bake with the same key completes or removes.

    Raises:
        NotFound: The base image does not exist.
        InvalidRequest: The base image cannot be baked in the way that is asked for.
        CommandFailed: A recipe step failed, or a package could not be installed or verified.
        CloudError: AWS refused a call.
    """
    base = kitchen.images.get(request.base_image_id)
    key = bake_key(request, base)
    if not request.fresh and (baked := kitchen.images.find_baked(key)) is not None:
        if not request.not_before or baked.created_at >= request.not_before:
            progress(f"Found `{baked.name}`, baked before with the same inputs")
            sweep_builders(baked, kitchen, progress)
            return found(baked)
        progress(f"Baking anew: `{baked.name}` is older than `image.max_age_days`")
        request = replace(request, fresh=True)
    work = Work(
        request=request, base=base, key=key, kitchen=kitchen, progress=progress, engine=ENGINE
    )
    if strategy_of(request.strategy, base) is BakeStrategy.INSTANCE:
        why = "has billing products" if base.is_billed else "is to be baked so"
        progress(f"Baking with a builder instance: `{base.name}` {why}")
        return by_instance(work)
    return direct(work)


def strategy_of(asked: BakeStrategy, base: Image) -> BakeStrategy:
    """Return how an image of this base is made: ``direct`` or ``instance``.

    Raises:
        InvalidRequest: Asked for is what AWS would not bill rightly.
    """
    if base.is_billed and asked is BakeStrategy.DIRECT:
        raise InvalidRequest(
            f"`{base.name}` has billing products, which RegisterImage does not carry over",
            hint="Set `image.strategy` to `instance`, or leave it out",
        )
    if asked is not BakeStrategy.AUTO:
        return asked
    return BakeStrategy.INSTANCE if base.is_billed else BakeStrategy.DIRECT


def bake_key(request: BakeRequest, base: Image) -> str:
    """Return the identity of what a request asks for, 64 hex digits.

    It covers the base's snapshot, the recipe with the digests of its files, the packages with
    theirs, the strategy, and the engine. What a recipe step fetches from elsewhere is not in it.
    """
    declared = {
        "engine": ENGINE,
        "base": base.root_snapshot_id,
        "recipe": [[type(step.work).__name__, asdict(step)] for step in request.recipe],
        "files": dict(request.files),
        "packages": [asdict(pin) for pin in request.packages],
        "strategy": strategy_of(request.strategy, base).value,
    }
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()
