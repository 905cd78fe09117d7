"""The chain from an image to the commit that it comes from, link by link.

image's tags ─▶ statement, signed ─▶ its parts ─▶ packages ─▶ their records ─▶ commit
     └─ the disk's blocks and files, when they are read again
     └─ whether it booted, signed
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.contents import ImageFile
from ovenbird.domain.images import (
    APP_TAG,
    BAKE_KEY_TAG,
    BASE_IMAGE_TAG,
    BOOT_CHECK_TAG,
    COMMIT_TAG,
    COPIED_FROM_TAG,
    DISK_TAG,
    FIT,
    PROVENANCE_TAG,
    VERSION_TAG,
    Image,
)
from ovenbird.domain.provenance import Origin, Signed, has_passed, sha256

SHOWN = 3  # differences that are named


class Standing(StrEnum):
    """What was found of a link."""

    OK = "ok"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link of the chain.

    Args:
        name: Short, as ``signature``.
        text: What was found, or why it does not hold.
        required: Whether the chain is broken without it.
    """

    name: str
    standing: Standing
    text: str
    required: bool = True

    @property
    def is_broken(self) -> bool:
        """Whether the chain does not hold because of it."""
        missing = self.standing is Standing.MISSING and self.required
        return self.standing is Standing.FAILED or missing


def ok(name: str, text: str) -> Link:
    """Return a link that holds."""
    return Link(name=name, standing=Standing.OK, text=text)


def failed(name: str, text: str) -> Link:
    """Return a link that does not hold."""
    return Link(name=name, standing=Standing.FAILED, text=text)


def missing(name: str, text: str, *, required: bool = True) -> Link:
    """Return a link that is not there."""
    return Link(name=name, standing=Standing.MISSING, text=text, required=required)


def statement_link(image: Image, signed: Signed) -> Link:
    """Compare a statement with the tag that names it."""
    digest, wanted = sha256(signed.statement), image.tags.get(PROVENANCE_TAG, "")
    if digest != wanted:
        return failed("statement", f"it has the digest {digest}, the tag says {wanted}")
    return ok("statement", f"sha256 {digest}")


def tags_link(image: Image, origin: Origin) -> Link:
    """Compare what a statement says of an image with its tags."""
    said = {
        APP_TAG: origin.app,
        VERSION_TAG: origin.version,
        COMMIT_TAG: origin.commit,
        BAKE_KEY_TAG: origin.bake_key,
        DISK_TAG: origin.disk_sha256,
        BASE_IMAGE_TAG: origin.base_image_id,
    }
    wrong = [
        f"`{tag}` is `{image.tags.get(tag, '')}`, by the statement `{value}`"
        for tag, value in said.items()
        if image.tags.get(tag, "") != value
    ]
    return failed("tags", "; ".join(wrong)) if wrong else ok("tags", f"{len(said)} say the same")


def parts_link(origin: Origin, parts: Mapping[str, bytes]) -> Link:
    """Compare what is kept beside a statement with what it says.

    Args:
        origin: As the statement says.
        parts: Name → bytes of what is there.
    """
    absent = sorted(origin.byproducts.keys() - parts.keys())
    if absent:
        return missing("parts", f"`{absent[0]}` is not kept any more")
    wrong = [name for name, digest in origin.byproducts.items() if sha256(parts[name]) != digest]
    if wrong:
        return failed("parts", f"`{wrong[0]}` has another digest than the statement says")
    return ok("parts", ", ".join(sorted(parts)))


def boot_link(image: Image, signed: Signed) -> Link:
    """Compare a signed boot result with the image and its tag."""
    said = image.tags.get(BOOT_CHECK_TAG, "")
    passed = has_passed(signed.statement, image)
    if not passed:
        return failed("boot check", f"the signed result is no pass of this image; tag: `{said}`")
    if said != FIT:
        return failed("boot check", f"the signed result is a pass, the tag says `{said}`")
    return ok("boot check", "the image was booted and found fit")


def package_link(
    name: str, version: str, digest: str, *, origin: Origin, records: Iterable[CatalogEntry]
) -> Link:
    """Compare a package of an image with the repository's record of it.

    Args:
        name: The package's.
        version: The package's.
        digest: By the statement, SHA-256.
        origin: As the statement says.
        records: All that the repository has of this version.
    """
    title = f"package {name}"
    alike = [one for one in records if one.package.digest_sha256 == digest]
    found = [one.package.digest_sha256 for one in records]
    if not alike and found:
        return failed(title, f"{version} has the digest {digest}, its record {', '.join(found)}")
    if not alike:
        return missing(title, f"the repository has no record of {version}")
    commits = {one.source.commit for one in alike}
    if commits != {origin.commit}:
        texts = ", ".join(sorted(commits))
        return failed(title, f"{version} was built from {texts}, the image from {origin.commit}")
    by = f" by {alike[0].facts.builder}" if alike[0].facts.builder else ""
    return ok(title, f"{version}, built{by} from {origin.commit[:7]}")


def blocks_link(origin: Origin, digest: str, count: int) -> Link:
    """Compare the blocks that differ from the base's, or all, with what a statement says."""
    if digest != origin.disk_sha256:
        text = f"{count} blocks have the digest {digest}, by the statement {origin.disk_sha256}"
        return failed("blocks", text)
    what = "have data" if origin.is_whole else f"differ from `{origin.base_snapshot_id}`"
    return ok("blocks", f"{count} {what}, as stated")


def files_link(stated: Sequence[ImageFile], found: Sequence[ImageFile]) -> Link:
    """Compare the files of a disk with the list that was kept."""
    if wrong := sorted({one.path for one in set(stated) ^ set(found)}):
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        named = ", ".join(f"`{path}`" for path in wrong[:SHOWN])
        return failed("files", f"other than listed: {named}{more}")
    return ok("files", f"{len(found)} paths, as listed")


def other_side_link(image: Image, owned: Image | None, environment: str) -> Link:
    """Compare an image as another account sees it with what its owner says."""
    name = f"tags in {environment}"
    if owned is None:
        return missing(name, f"the account that bakes has no image `{image.image_id}`")
    wrong = list(_other_tags(image, owned))
    is_copy = COPIED_FROM_TAG in image.tags
    if owned.root_snapshot_id != image.root_snapshot_id and not is_copy:
        wrong.append(f"snapshot `{image.root_snapshot_id}`, not `{owned.root_snapshot_id}`")
    return failed(name, "; ".join(wrong)) if wrong else ok(name, "as in the account that bakes")


def _other_tags(image: Image, owned: Image) -> Iterator[str]:
    for tag in (APP_TAG, VERSION_TAG, COMMIT_TAG, BAKE_KEY_TAG, DISK_TAG, PROVENANCE_TAG):
        here, there = image.tags.get(tag, ""), owned.tags.get(tag, "")
        if here != there:
            yield f"`{tag}` is `{here}`, at its owner `{there}`"
