"""A bake without a machine: changed blocks on this host, then a snapshot and an image of them.

base disk ─▶ recipe ─▶ packages ─▶ clean ─▶ changed blocks ─▶ snapshot ─▶ verified ─▶ image
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from ovenbird.domain.blocks import checksum, disk_digest
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import (
    BAKE_KEY_TAG,
    BLOCKS_TOTAL_TAG,
    BLOCKS_UPLOADED_TAG,
    DISK_TAG,
    PROVENANCE_TAG,
    Baked,
    BakeRequest,
    BakeStrategy,
    Image,
    SnapshotId,
)
from ovenbird.domain.ports import DirectRoom
from ovenbird.domain.provenance import Evidence
from ovenbird.stages.attest import attest, kept_meanwhile
from ovenbird.stages.kitchen import Work, common_tags, fill, found


def direct(work: Work) -> Baked:
    """Change blocks on this host; no machine runs.

    Raises: as :func:`ovenbird.stages.bake.bake`.
    """
    request, base, snapshots = work.request, work.base, work.kitchen.snapshots
    with work.timed("download"):
        disk = snapshots.download(base.root_snapshot_id)
    opened = work.kitchen.workshop.open(
        disk, key=work.key, repository=request.repository, progress=work.progress
    )
    with ExitStack() as stack:
        with work.timed("open"):
            room = stack.enter_context(opened)
        fill(work, room)
        with work.timed("apply"):
            blocks = room.changed_blocks()
            total = room.total_blocks()
        notes = room.notes()
        tags = _tags(work, blocks=blocks, total=total)
        with work.timed("evidence"):
            evidence = _evidence(work, room, tags)
    work.progress(f"Uploading {len(blocks)} of {total} blocks")
    with work.timed("upload"), kept_meanwhile(work, evidence):
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
        image = _registered(work, snapshot_id, tags)
    if image.root_snapshot_id != snapshot_id:
        return replace(found(image), seconds=work.seconds, notes=notes)
    return Baked(
        image=image,
        blocks_uploaded=len(blocks),
        blocks_total=total,
        digest_sha256=tags[DISK_TAG],
        reused=False,
        seconds=work.seconds,
        notes=notes,
    )


def _registered(work: Work, snapshot_id: SnapshotId, tags: Mapping[str, str]) -> Image:
    """Register the snapshot, or return what another bake of the same made of its own.

    A bake that was killed when it had registered its image may not give the same bits again,
    and another host may have been faster: whoever came first has the name.
    """
    images, base = work.kitchen.images, work.base
    try:
        return images.register(name=work.image_name, base=base, snapshot_id=snapshot_id, tags=tags)
    except Conflict:
        earlier = images.find_by_name(work.image_name)
        if earlier is None:
            raise
        if earlier.is_offered:
            if earlier.bake_key != work.key or earlier.state != "available":
                raise
            return earlier
    return images.register(name=work.own_image_name, base=base, snapshot_id=snapshot_id, tags=tags)


def _tags(work: Work, *, blocks: Mapping[int, bytes], total: int) -> dict[str, str]:
    digest = disk_digest({index: checksum(block) for index, block in blocks.items()})
    return common_tags(work, BakeStrategy.DIRECT) | {
        DISK_TAG: digest,
        BLOCKS_UPLOADED_TAG: str(len(blocks)),
        BLOCKS_TOTAL_TAG: str(total),
    }


def _evidence(work: Work, room: DirectRoom, tags: dict[str, str]) -> Evidence | None:
    """Return what is to be kept of the image, and name it in the tags."""
    if work.kitchen.evidence is None:
        return None
    evidence = attest(work, room.contents(), disk_sha256=tags[DISK_TAG])
    tags[PROVENANCE_TAG] = evidence.digest_sha256
    return evidence


def _token(request: BakeRequest, base: Image, tags: Mapping[str, str]) -> str:
    """Return a client token: the same bits for the same release start one snapshot.

    It covers all that StartSnapshot is given: EBS refuses a token with other parameters.
    """
    given = {"parent": base.root_snapshot_id, "size": base.size_gib, "tags": dict(tags)}
    text = json.dumps(given | {"fresh": request.fresh}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
