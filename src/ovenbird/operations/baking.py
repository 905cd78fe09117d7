"""Baking alone: what a bake of a commit would start from, and how long one took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovenbird.domain.images import COMMIT_TAG
from ovenbird.operations.opening import Installation
from ovenbird.operations.preparing import Prepared
from ovenbird.pipeline.release_steps import base_image
from ovenbird.stages.bake import strategy_of
from ovenbird.store.records import Store

TIMED = "bake.timed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BakePlan:
    """What a bake would do.

    Args:
        strategy: ``direct`` or ``instance``.
        recipe: Each step in words.
        packages: Names of the app's packages that are installed.
        image_id: An image of this commit, which is used if its bake key is still the same.
    """

    app: str
    version: str
    commit: str
    base_name: str
    base_id: str
    size_gib: int
    strategy: str
    recipe: tuple[str, ...]
    packages: tuple[str, ...]
    image_id: str


def plan_bake(installation: Installation, prepared: Prepared, *, fresh: bool) -> BakePlan:
    """Say what a bake of a commit would do; nothing is changed.

    Raises:
        NotFound: The base image is missing.
        InvalidRequest: The base image cannot be baked in the way that is asked for.
        CloudError: AWS refused a call.
    """
    ports, spec = installation.ports, prepared.spec
    base = base_image(spec, ports)
    commit = prepared.source.commit
    made = [] if fresh else ports.images.list_baked(spec.app)
    found = next((one.image_id for one in made if one.tags.get(COMMIT_TAG) == commit), "")
    return BakePlan(
        app=spec.app,
        version=prepared.version,
        commit=commit,
        base_name=base.name,
        base_id=base.image_id,
        size_gib=base.size_gib,
        strategy=strategy_of(spec.image.strategy, base).value,
        recipe=tuple(step.shown for step in spec.image.recipe),
        packages=spec.image.packages,
        image_id=found,
    )


def timings(store: Store, release_id: str) -> Mapping[str, float]:
    """Return how long each phase of a release's last bake took: phase → seconds, in order."""
    events = [event for event in store.list_events(release_id) if event.kind == TIMED]
    return {str(k): float(v) for k, v in events[-1].facts.items()} if events else {}
