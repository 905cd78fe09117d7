"""What is known of an image that was just made, before anybody finds it.

contents of the disk ─▶ list of files, SBOM ─▶ statement ─▶ signed and kept while blocks upload
a machine's snapshot ─▶ read back ─▶ the same, then kept, then named in the tags
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.blocks import checksum, disk_digest
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.errors import CommandFailed, InvalidRequest, OvenbirdError
from ovenbird.domain.images import DISK_TAG, NO_EVIDENCE_TAG, PROVENANCE_TAG, Image
from ovenbird.domain.provenance import FILES, SBOM, Evidence, Made, provenance
from ovenbird.packaging.reading.image_sbom import image_sbom
from ovenbird.stages.kitchen import TAG_CHARS, Work, builder_version
from ovenbird.system.disks.disk_differences import differing_blocks
from ovenbird.system.rooms.image_contents import packed


def attest(
    work: Work, contents: ImageContents, *, disk_sha256: str, is_whole: bool = False
) -> Evidence:
    """Return what is to be kept of an image; the same for the same image.

    Args:
        work: The bake.
        contents: What is in the image.
        disk_sha256: Of the blocks that differ from the base's.
        is_whole: Of all blocks instead, since the base cannot be read.
    """
    made = Made(
        request=work.request,
        base=work.base,
        bake_key=work.key,
        disk_sha256=disk_sha256,
        engine=work.engine,
        builder_version=builder_version(),
        is_whole=is_whole,
    )
    parts = {FILES: packed(contents.files), SBOM: image_sbom(made, contents)}
    statement = provenance(made, parts)
    return Evidence(bake_key=work.key, statement=statement, files=parts[FILES], sbom=parts[SBOM])


@contextmanager
def kept_meanwhile(work: Work, evidence: Evidence | None) -> Iterator[None]:
    """Sign and write evidence while the block runs; the block ends when both are done.

    Raises:
        InvalidRequest, NotFound: The key cannot sign.
    """
    if evidence is None or work.kitchen.evidence is None:
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="evidence") as pool:
        writing = pool.submit(work.kitchen.evidence.keep, evidence)
        yield
        writing.result()


def attest_made(work: Work, image: Image) -> dict[str, str]:
    """Keep evidence of an image that a machine made, and return the tags that name it.

    Its snapshot is read back. Where AWS or this host cannot do that, there is no evidence,
    and a tag says why. Safe to repeat.

    Raises:
        InvalidRequest, NotFound: The key cannot sign.
        CloudError: AWS failed; what it refuses is no error here.
        OvenbirdError: There is no room for the disk.
    """
    if work.kitchen.evidence is None:
        return {}
    work.progress(f"Reading the disk of `{image.name}`")
    try:
        evidence, disk_sha256 = _read_back(work, image)
    except OvenbirdError as error:
        if not (_is_refused(error) or isinstance(error, InvalidRequest | CommandFailed)):
            raise
        return {NO_EVIDENCE_TAG: str(error)[:TAG_CHARS]}
    work.kitchen.evidence.keep(evidence)  # first: what tags name is there
    return {DISK_TAG: disk_sha256, PROVENANCE_TAG: evidence.digest_sha256}


def _read_back(work: Work, image: Image) -> tuple[Evidence, str]:
    """Return an image's evidence and the digest of its disk."""
    snapshots, parent = work.kitchen.snapshots, work.base.root_snapshot_id
    base = _base_disk(work)
    disk = snapshots.download(image.root_snapshot_id, parent=parent if base else None)
    among = _suspects(work, image) if base else None
    found = differing_blocks(base, disk, among=among)
    disk_sha256 = disk_digest({index: checksum(block) for index, block in found})
    contents = work.kitchen.workshop.contents(disk)
    return attest(work, contents, disk_sha256=disk_sha256, is_whole=base is None), disk_sha256


def _base_disk(work: Work) -> Path | None:
    """Return the base's disk; None where only its owner may read it, as of what is billed."""
    try:
        return work.kitchen.snapshots.download(work.base.root_snapshot_id)
    except OvenbirdError as error:
        if not _is_refused(error):
            raise
        return None


def _suspects(work: Work, image: Image) -> Collection[int] | None:
    """Return blocks outside of which nothing differs from the base; None where EBS cannot say.

    It cannot for snapshots of another origin, as one that was encrypted with another key.
    """
    try:
        return work.kitchen.snapshots.changed(work.base.root_snapshot_id, image.root_snapshot_id)
    except OvenbirdError as error:
        if not _is_refused(error):
            raise
        return None


def _is_refused(error: OvenbirdError) -> bool:
    """Tell whether AWS has answered, with a no that stays one."""
    return "code" in error.facts and not error.retryable
