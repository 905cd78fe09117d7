"""From a base image and packages to an image.

asked before? ─▶ base disk ─▶ recipe ─▶ packages ─▶ clean ─▶ changed blocks ─▶ snapshot ─▶ image
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from ovenbird.domain.blocks import GIB_BLOCKS, checksum, disk_digest
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
    VERSION_TAG,
    Baked,
    BakeRequest,
    Image,
)
from ovenbird.domain.ports import BakeRoom, BakeWorkshop, Images, Progress, Snapshots

ENGINE = 1  # raised when the same request gives another image
TAG_CHARS = 256  # Source: EC2 user guide, "Tag restrictions"
NAME_CHARS = 128
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9()\[\] ./'@_-]")


def bake(
    request: BakeRequest,
    *,
    images: Images,
    snapshots: Snapshots,
    workshop: BakeWorkshop,
    progress: Progress,
) -> Baked:
    """Bake one image, or return the one that the same request made before.

    Nothing is left behind on this host, whatever fails; in AWS an unfinished snapshot may
    be, which the next bake with the same key completes or removes.

    Raises:
        NotFound: The base image does not exist.
        CommandFailed: A recipe step failed, or a package could not be installed or verified.
        CloudError: AWS refused a call.
    """
    base = images.get(request.base_image_id)
    key = bake_key(request, base)
    if not request.fresh and (baked := images.find_baked(key)) is not None:
        progress(f"Found `{baked.name}`, baked before with the same inputs")
        return _found(baked)
    seconds: dict[str, float] = {}
    with _timed(seconds, "download"):
        disk = snapshots.download(base.root_snapshot_id)
    with workshop.open(disk, key=key, repository=request.repository, progress=progress) as room:
        with _timed(seconds, "install"):
            _fill(room, request, progress)
        with _timed(seconds, "apply"):
            blocks = room.changed_blocks()
            total = room.total_blocks()
    tags = _tags(request, base, key, blocks=blocks, total=total)
    progress(f"Uploading {len(blocks)} of {total} blocks")
    with _timed(seconds, "upload"):
        snapshot_id = snapshots.upload(
            blocks,
            parent=base.root_snapshot_id,
            size_gib=base.size_gib,
            token=_token(request, base, tags),
            tags=tags,
        )
        # Not earlier: the upload goes on with what a killed bake of the same bits began.
        snapshots.forget_unfinished(BAKE_KEY_TAG, key, keep=snapshot_id)
        image = images.register(
            name=image_name(request, key), base=base, snapshot_id=snapshot_id, tags=tags
        )
    return Baked(
        image=image,
        blocks_uploaded=len(blocks),
        blocks_total=total,
        digest_sha256=tags[DISK_TAG],
        reused=False,
        seconds=seconds,
    )


def bake_key(request: BakeRequest, base: Image) -> str:
    """Return the identity of what a request asks for, 64 hex digits.

    It covers the base's snapshot, the recipe, the packages with their digests, and the
    engine. What a recipe step fetches from elsewhere is not in it.
    """
    declared = {
        "engine": ENGINE,
        "base": base.root_snapshot_id,
        "recipe": [asdict(step) for step in request.recipe],
        "packages": [asdict(pin) for pin in request.packages],
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


def _fill(room: BakeRoom, request: BakeRequest, progress: Progress) -> None:
    """Recipe first, then the packages, then nothing that an image must not keep."""
    for step in request.recipe:
        for line in step.lines:
            room.shell(line)
    names = ", ".join(f"{pin.name} {pin.version}" for pin in request.packages)
    progress(f"Installing {names}")
    room.install(request.packages)
    room.clean()


def _tags(
    request: BakeRequest, base: Image, key: str, *, blocks: Mapping[int, bytes], total: int
) -> dict[str, str]:
    pins = " ".join(f"{pin.name}={pin.digest_sha256}" for pin in request.packages)
    digest = disk_digest({index: checksum(block) for index, block in blocks.items()})
    return {
        "Name": f"{request.app} {request.version}",
        APP_TAG: request.app,
        VERSION_TAG: request.version,
        COMMIT_TAG: request.commit,
        RELEASE_TAG: request.release_id,
        BAKE_KEY_TAG: key,
        BASE_IMAGE_TAG: base.image_id,
        PACKAGES_TAG: pins[:TAG_CHARS],
        DISK_TAG: digest,
        BLOCKS_UPLOADED_TAG: str(len(blocks)),
        BLOCKS_TOTAL_TAG: str(total),
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
        blocks_total=int(image.tags.get(BLOCKS_TOTAL_TAG, image.size_gib * GIB_BLOCKS)),
        digest_sha256=image.tags.get(DISK_TAG, ""),
        reused=True,
    )


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds[phase] = round(time.monotonic() - begun, 3)
