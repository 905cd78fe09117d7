"""An image is booted once before it is offered.

needed? ─▶ its own disk, read back ─▶ booted ─▶ judged ─▶ kept, signed ─▶ tag ─▶ offered, or not
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ovenbird.domain.boot_checks import BootReport, Probe, is_needed, why_unfit
from ovenbird.domain.errors import InvalidRequest, NotFound, Unhealthy
from ovenbird.domain.image_ports import Boots, ImageEvidence, ImageTags
from ovenbird.domain.images import (
    BASE_IMAGE_TAG,
    BOOT_CHECK_TAG,
    DISK_TAG,
    FIT,
    PROVENANCE_TAG,
    UNFIT,
    BootCheck,
    Image,
    ImageId,
    SnapshotId,
)
from ovenbird.domain.ports import Images, Progress, Snapshots
from ovenbird.domain.provenance import boot_result

NOT_HERE = "there is nothing that boots images on this host"
WAY_OUT = "Set `image.boot_check` to `off`, or bake where images can be booted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proving:
    """What a boot check needs from the outside.

    Args:
        boots: None where nothing can be booted.
        evidence: Keeps the result; None to keep it in the tag alone.
    """

    images: Images
    tags: ImageTags
    snapshots: Snapshots
    boots: Boots | None = None
    evidence: ImageEvidence | None = None


def boot_check(
    image: Image, *, policy: BootCheck, probe: Probe, proving: Proving, progress: Progress
) -> Image:
    """Boot an image if its policy wants it, and return it with what came of it in its tags.

    By the policy ``first`` an image is offered unchecked where nothing can be booted, and
    this is said.

    Raises:
        Unhealthy: It did not boot, a unit failed, or the app is not healthy; the image is
            tagged so, and no bake returns it any more.
        InvalidRequest: The policy is ``always``, and nothing can be booted here.
        CloudError: AWS refused a call.
    """
    if policy is BootCheck.OFF:
        progress("Not booted: `image.boot_check` is off")
        return image
    earlier = proving.images.list_baked(image.app) if policy is BootCheck.FIRST else ()
    if not is_needed(policy, image, earlier):
        progress("An image of this base has booted before: not booted again")
        return image
    boots = proving.boots
    why = boots.missing(image) if boots else NOT_HERE
    if boots is None or why:
        if policy is BootCheck.ALWAYS:
            raise InvalidRequest(f"`{image.name}` cannot be booted: {why}", hint=WAY_OUT)
        progress(f"Not booted: {why}")
        return image
    return booted(image, probe=probe, proving=proving, boots=boots, progress=progress)


def booted(
    image: Image, *, probe: Probe, proving: Proving, boots: Boots, progress: Progress
) -> Image:
    """Boot an image, whatever was known of it; return it with what came of it in its tags.

    Raises:
        Unhealthy: It is not fit.
        CloudError: AWS refused a call.
    """
    parent = base_snapshot(image, proving.images)
    disk = proving.snapshots.download(image.root_snapshot_id, parent=parent)
    report = boots.boot(image, disk, probe=probe, progress=progress)
    reason = why_unfit(report, probe)
    if proving.evidence is not None:
        proving.evidence.keep_boot_result(image, _statement(image, report, reason))
    told = {BOOT_CHECK_TAG: UNFIT if reason else FIT}
    proving.tags.write_tags(image.image_id, told)
    if reason:
        raise Unhealthy(
            f"`{image.name}` is not fit to be offered: {reason}",
            hint="The lines below are its console's last; mend the app or the recipe",
            image_id=image.image_id,
            stderr=report.console,
        )
    health = f", `{probe.path}` answers" if probe.port else ""
    progress(f"Booted in {report.seconds:.0f} s ({report.engine}): no unit failed{health}")
    return replace(image, tags={**image.tags, **told})


def base_snapshot(image: Image, images: Images) -> SnapshotId | None:
    """Return the snapshot of an image's base, from which little differs.

    None when it is gone, or of another account, as the base of a builder may be: its blocks
    are not ours to read.
    """
    if not (base := image.tags.get(BASE_IMAGE_TAG, "")):
        return None
    try:
        found = images.get(ImageId(base))
    except NotFound:
        return None
    return found.root_snapshot_id if found.owner_id == image.owner_id else None


def _statement(image: Image, report: BootReport, reason: str) -> bytes:
    return boot_result(
        image,
        provenance_sha256=image.tags.get(PROVENANCE_TAG, ""),
        disk_sha256=image.tags.get(DISK_TAG, ""),
        engine=report.engine,
        reason=reason,
    )
