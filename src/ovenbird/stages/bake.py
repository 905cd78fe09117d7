"""From a base image and packages to an image.

asked before? ─▶ base disk ─▶ recipe ─▶ packages ─▶ clean ─▶ changed blocks ─▶ snapshot ─▶ image
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic

from ovenbird.domain.blocks import GIB_BLOCKS, checksum, disk_digest
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import (
    APP_TAG,
    BAKE_KEY_TAG,
    BASE_IMAGE_TAG,
    BLOCKS_TOTAL_TAG,
    BLOCKS_UPLOADED_TAG,
    COMMIT_TAG,
    DISK_TAG,
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

ENGINE = 2  # raised when the same request gives another image
TAG_CHARS = 256  # Source: EC2 user guide, "Tag restrictions"
NAME_CHARS = 128
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9()\[\] ./'@_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kitchen:
    """What a bake needs from the outside.

    Args:
        builders: For bakes by a builder instance; None where there are none.
    """

    images: Images
    snapshots: Snapshots
    workshop: BakeWorkshop
    builders: Builders | None = None


@dataclass(slots=True, kw_only=True)
class _Bake:
    """One bake under way: what it is for, and how long each phase took."""

    request: BakeRequest
    base: Image
    key: str
    kitchen: Kitchen
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        begun = monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(monotonic() - begun, 3)


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
        progress(f"Found `{baked.name}`, baked before with the same inputs")
        return _found(baked)
    work = _Bake(request=request, base=base, key=key, kitchen=kitchen, progress=progress)
    if strategy_of(request, base, progress) is BakeStrategy.INSTANCE:
        return _by_instance(work)
    return _direct(work)


def strategy_of(request: BakeRequest, base: Image, progress: Progress) -> BakeStrategy:
    """Return how an image is made, and say so when the base image decides it.

    Raises:
        InvalidRequest: Asked for is what AWS does not bill rightly.
    """
    if base.is_billed and request.strategy is BakeStrategy.DIRECT:
        raise InvalidRequest(
            f"`{base.name}` has billing products, which RegisterImage does not carry over",
            hint="Set `image.strategy` to `instance`, or leave it out",
        )
    if request.strategy is not BakeStrategy.AUTO:
        return request.strategy
    if base.is_billed:
        progress(f"Baking with a builder instance: `{base.name}` has billing products")
        return BakeStrategy.INSTANCE
    return BakeStrategy.DIRECT


def _direct(work: _Bake) -> Baked:
    """Change blocks on this host; no machine runs."""
    request, base, snapshots = work.request, work.base, work.kitchen.snapshots
    with work.timed("download"):
        disk = snapshots.download(base.root_snapshot_id)
    opened = work.kitchen.workshop.open(
        disk, key=work.key, repository=request.repository, progress=work.progress
    )
    with opened as room:
        _fill(work, room)
        with work.timed("apply"):
            blocks = room.changed_blocks()
            total = room.total_blocks()
        notes = room.notes()
    tags = _tags(work, blocks=blocks, total=total)
    work.progress(f"Uploading {len(blocks)} of {total} blocks")
    with work.timed("upload"):
        snapshot_id = snapshots.upload(
            blocks,
            parent=base.root_snapshot_id,
            size_gib=base.size_gib,
            token=_token(request, base, tags),
            tags=tags,
        )
        # Not earlier: the upload goes on with what a killed bake of the same bits began.
        snapshots.forget_unfinished(BAKE_KEY_TAG, work.key, keep=snapshot_id)
    with work.timed("verify"):
        snapshots.verify(snapshot_id, parent=base.root_snapshot_id, blocks=blocks.keys())
    with work.timed("register"):
        image = work.kitchen.images.register(
            name=image_name(request, work.key), base=base, snapshot_id=snapshot_id, tags=tags
        )
    return Baked(
        image=image,
        blocks_uploaded=len(blocks),
        blocks_total=total,
        digest_sha256=tags[DISK_TAG],
        reused=False,
        seconds=work.seconds,
        notes=notes,
    )


def _by_instance(work: _Bake) -> Baked:
    """Let a builder instance become the image."""
    if work.kitchen.builders is None:
        raise InvalidRequest(
            "There is no network for builder instances", hint="Set `builders` in the settings"
        )
    tags = _common_tags(work, BakeStrategy.INSTANCE)
    opened = work.kitchen.builders.open(
        work.base, key=work.key, repository=work.request.repository, progress=work.progress
    )
    with opened as room:
        _fill(work, room)
        with work.timed("create image"):
            image = room.make_image(name=image_name(work.request, work.key), tags=tags)
    return Baked(
        image=image,
        blocks_uploaded=0,
        blocks_total=image.size_gib * GIB_BLOCKS,
        digest_sha256="",
        reused=False,
        seconds=work.seconds,
        strategy=BakeStrategy.INSTANCE,
    )


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
        "strategy": request.strategy.value,
    }
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()


def image_name(request: BakeRequest, key: str) -> str:
    """Return the image's name: app, version, key; a fresh bake adds its release.

    Source: EC2 API reference, RegisterImage, Name: 3..128 of ``[A-Za-z0-9()[] ./-'@_]``.
    """
    head = f"{request.app}-{request.version}"
    tail = f"-{key[:12]}-{request.release_id}" if request.fresh else f"-{key[:12]}"
    tail = tail[:NAME_CHARS]
    return _NOT_IN_NAMES.sub("-", head[: NAME_CHARS - len(tail)] + tail)


def _fill(work: _Bake, room: BakeRoom) -> None:
    """Recipe first, then the packages, then nothing that an image must not keep."""
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


def _tags(work: _Bake, *, blocks: Mapping[int, bytes], total: int) -> dict[str, str]:
    digest = disk_digest({index: checksum(block) for index, block in blocks.items()})
    return _common_tags(work, BakeStrategy.DIRECT) | {
        DISK_TAG: digest,
        BLOCKS_UPLOADED_TAG: str(len(blocks)),
        BLOCKS_TOTAL_TAG: str(total),
    }


def _common_tags(work: _Bake, strategy: BakeStrategy) -> dict[str, str]:
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
        PACKAGES_TAG: pins[:TAG_CHARS],
        STRATEGY_TAG: strategy.value,
    }


def _token(request: BakeRequest, base: Image, tags: Mapping[str, str]) -> str:
    """Return a client token: the same bits for the same release start one snapshot.

    It covers all that StartSnapshot is given: EBS refuses a token with other parameters.
    """
    given = {"parent": base.root_snapshot_id, "size": base.size_gib, "tags": dict(tags)}
    text = json.dumps(given | {"fresh": request.fresh}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _found(image: Image) -> Baked:
    return Baked(
        image=image,
        blocks_uploaded=0,
        strategy=BakeStrategy(image.tags.get(STRATEGY_TAG, BakeStrategy.DIRECT)),
        blocks_total=int(image.tags.get(BLOCKS_TOTAL_TAG, image.size_gib * GIB_BLOCKS)),
        digest_sha256=image.tags.get(DISK_TAG, ""),
        reused=True,
    )
