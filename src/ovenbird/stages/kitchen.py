"""What every bake has, whichever way it goes: its doors, its timings, its content, its names.

bake ─┬─▶ bake_direct ───┐
      └─▶ bake_instance ─┴─▶ kitchen
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from ovenbird.domain.blocks import GIB_BLOCKS
from ovenbird.domain.image_names import image_name
from ovenbird.domain.image_ports import ImageEvidence
from ovenbird.domain.images import (
    APP_TAG,
    BAKE_KEY_TAG,
    BASE_IMAGE_TAG,
    BASE_NAME_TAG,
    BLOCKS_TOTAL_TAG,
    BUILDER_TAG,
    COMMIT_TAG,
    DISK_TAG,
    NO_EVIDENCE_TAG,
    PACKAGES_TAG,
    RELEASE_TAG,
    STRATEGY_TAG,
    VERSION_TAG,
    Baked,
    BakeRequest,
    BakeStrategy,
    Image,
)
from ovenbird.domain.ports import (
    BakeRoom,
    BakeWorkshop,
    Builders,
    Images,
    Progress,
    Snapshots,
)

TAG_CHARS = 256  # Source: EC2 user guide, "Tag restrictions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kitchen:
    """What a bake needs from the outside.

    Args:
        builders: For bakes by a builder instance; None where there are none.
        evidence: Keeps what is known of images; None to keep nothing.
    """

    images: Images
    snapshots: Snapshots
    workshop: BakeWorkshop
    builders: Builders | None = None
    evidence: ImageEvidence | None = None


@dataclass(slots=True, kw_only=True)
class Work:
    """One bake under way: what it is for, and how long each phase took.

    Args:
        engine: Number of the bake engine.
    """

    request: BakeRequest
    base: Image
    key: str
    kitchen: Kitchen
    progress: Progress
    engine: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def image_name(self) -> str:
        """What the image will be called."""
        return self._name(is_own=self.request.fresh)

    @property
    def own_image_name(self) -> str:
        """What it will be called when an image that is not fit has that name."""
        return self._name(is_own=True)

    def _name(self, *, is_own: bool) -> str:
        request = self.request
        fresh_for = request.release_id if is_own else ""
        return image_name(request.app, request.version, key=self.key, fresh_for=fresh_for)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Take down how long the block runs, also when it fails; phases inside count alone."""
        begun, before = monotonic(), sum(self.seconds.values())
        try:
            yield
        finally:
            inside = sum(self.seconds.values()) - before
            self.seconds[phase] = round(max(0.0, monotonic() - begun - inside), 3)


def fill(work: Work, room: BakeRoom) -> None:
    """Fill an image: recipe first, then the packages; last goes what it must not keep."""
    request = work.request
    directory = Path(request.directory) if request.directory else None
    with work.timed("recipe"):
        for step in request.recipe:
            room.perform(step, directory=directory)
    names = ", ".join(f"{pin.name} {pin.version}" for pin in request.packages)
    work.progress(f"Installing {names}")
    with work.timed("install"):
        room.install(request.packages)
    with work.timed("clean"):
        room.clean()
        room.check()


def common_tags(work: Work, strategy: BakeStrategy) -> dict[str, str]:
    """Return the tags that image and snapshot have in any case."""
    request = work.request
    pins = " ".join(f"{pin.name}={pin.digest_sha256}" for pin in request.packages)
    return {
        "Name": f"{request.app} {request.version}",
        APP_TAG: request.app,
        VERSION_TAG: request.version,
        COMMIT_TAG: request.commit,
        RELEASE_TAG: request.release_id,
        BAKE_KEY_TAG: work.key,
        BASE_IMAGE_TAG: work.base.image_id,
        BASE_NAME_TAG: request.base_name,
        PACKAGES_TAG: pins[:TAG_CHARS],
        STRATEGY_TAG: strategy.value,
        BUILDER_TAG: f"ovenbird {builder_version()}, engine {work.engine}",
    }


def builder_version() -> str:
    """Return the version of the program that bakes."""
    return version("ovenbird")


def found(image: Image) -> Baked:
    """Return what an earlier bake is for this one."""
    return Baked(
        image=image,
        blocks_uploaded=0,
        strategy=BakeStrategy(image.tags.get(STRATEGY_TAG, BakeStrategy.DIRECT)),
        blocks_total=int(image.tags.get(BLOCKS_TOTAL_TAG, image.size_gib * GIB_BLOCKS)),
        digest_sha256=image.tags.get(DISK_TAG, ""),
        reused=True,
        notes=notes_of(image),
    )


def notes_of(image: Image) -> tuple[str, ...]:
    """Return what an image's own tags say that a person should know."""
    why = image.tags.get(NO_EVIDENCE_TAG)
    return (f"There is no evidence of `{image.name}`: {why}",) if why else ()
