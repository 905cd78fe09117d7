"""Verification of an image: from what runs back to the commit, each link looked at anew.

Nothing is mended. What cannot be looked at is a broken link, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ovenbird.domain import image_chain as chain
from ovenbird.domain.blocks import checksum, disk_digest
from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.image_chain import Link
from ovenbird.domain.image_ports import ImageEvidence
from ovenbird.domain.images import (
    BOOT_CHECK_TAG,
    COPIED_FROM_TAG,
    NO_EVIDENCE_TAG,
    PROVENANCE_TAG,
    STRATEGY_TAG,
    Image,
    ImageId,
)
from ovenbird.domain.packages import PackageFormat
from ovenbird.domain.ports import Progress
from ovenbird.domain.provenance import FILES, SBOM, Origin, Signed
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.image_comparison import opened_disk
from ovenbird.operations.images import list_images, meant
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.ports import Ports, mirror_of
from ovenbird.system import git
from ovenbird.system.disks.disk_differences import differing_blocks
from ovenbird.system.rooms import image_contents

_SERVER_GROUP = re.compile(r".+-v\d{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What was found of an image.

    Args:
        environment: As whose account sees it, the image was looked at.
        links: In the order of the chain.
    """

    image: Image
    environment: str
    links: tuple[Link, ...]

    @property
    def broken(self) -> tuple[Link, ...]:
        """The links that do not hold."""
        return tuple(link for link in self.links if link.is_broken)


def verify_image(
    installation: Installation,
    text: str,
    *,
    environment: str | None = None,
    deep: bool = False,
    progress: Progress,
) -> Chain:
    """Look at every link from an image to its commit.

    Args:
        installation: Whose images.
        text: An image's id, a unique beginning of it, its name, ``app@version``; or the name
            of a server group, for the image that it runs.
        environment: Whose account's tags count; None for the one that bakes, or for the one
            of the server group.
        deep: Read the disk again: its blocks, and every file.
        progress: Told what is read.

    Raises:
        NotFound: There is no such image, server group or environment.
        CloudError: AWS refused a call.
    """
    if _SERVER_GROUP.fullmatch(text):
        text, environment = _image_of(installation, text, environment)
    baking = installation.settings.bake_environment
    where = environment or baking
    image = meant(list_images(installation, environment=where), text)
    look = _Look(ports=installation.ports, state=installation.state, progress=progress)
    owned: Image | None = image
    links: list[Link] = []
    if installation.environment(where).account_id != installation.environment(baking).account_id:
        owned = _owned(installation, image)
        links.append(chain.other_side_link(image, owned, where))
    links += look.at(image, owned or image)
    if deep:
        links += look.at_disk(owned or image)
    return Chain(image=image, environment=where, links=tuple(links))


def _image_of(
    installation: Installation, name: str, environment: str | None
) -> tuple[ImageId, str]:
    for cluster in list_clusters(installation, environment):
        for group in cluster.groups:
            if str(group.name) == name:
                return group.image_id, cluster.environment
    raise NotFound(f"No server group `{name}`", hint="`ovenbird cluster list` shows them")


def _owned(installation: Installation, image: Image) -> Image | None:
    """Return an image as the account sees it that baked it; a copy's original."""
    original = image.tags.get(COPIED_FROM_TAG, image.image_id)
    with suppress(NotFound, InvalidRequest):
        return installation.ports.images.get(ImageId(original))
    return None


@dataclass(slots=True, kw_only=True)
class _Look:
    """One look along the chain; what was read is kept for the next link.

    Args:
        state: The directory of mirrors.
        origin: What the statement says, when there is one that counts.
    """

    ports: Ports
    state: Path
    progress: Progress
    origin: Origin | None = None
    files: bytes = b""

    def at(self, image: Image, owned: Image) -> Iterator[Link]:
        """Yield the links that need no disk."""
        self.progress("Reading the evidence")
        yield from self._of_statement(image)
        yield self._of_boot(image, owned)
        if self.origin is not None:
            self.progress("Comparing the packages with their records")
            for name, (version, digest) in self.origin.packages.items():
                yield self._of_package(name, version, digest)
            yield self._of_commit(self.origin)

    def at_disk(self, owned: Image) -> Iterator[Link]:
        """Yield the links that are found by reading the disk again."""
        if self.origin is None:
            yield chain.missing("blocks", "there is no statement to compare them with")
            return
        self.progress("Reading the image's disk")
        snapshots = self.ports.snapshots
        try:
            base = None if self.origin.is_whole else self._base_disk(self.origin)
            disk = snapshots.download(owned.root_snapshot_id)
            found = {n: checksum(block) for n, block in differing_blocks(base, disk)}
            yield chain.blocks_link(self.origin, disk_digest(found), len(found))
            with opened_disk(disk) as root:
                files = image_contents.files(root)
            yield chain.files_link(image_contents.unpacked(self.files), files)
        except (OvenbirdError, ValueError) as error:
            yield chain.failed("disk", f"it cannot be read: {error}")

    def _base_disk(self, origin: Origin) -> Path:
        base = self.ports.images.get(ImageId(origin.base_image_id))
        return self.ports.snapshots.download(base.root_snapshot_id)

    def _of_statement(self, image: Image) -> Iterator[Link]:
        digest, key = image.tags.get(PROVENANCE_TAG, ""), image.bake_key
        evidence = self.ports.evidence
        if not digest or evidence is None:
            yield chain.missing("statement", _why(image) if not digest else "none is kept")
            return
        try:
            signed = evidence.statement(key, digest)
            yield chain.statement_link(image, signed)
            yield chain.ok("signature", ", ".join(signed.fingerprints))
            origin = Origin.parse(signed.statement)
        except NotFound as error:
            yield chain.missing("statement", str(error))
        except (OvenbirdError, ValueError) as error:
            yield chain.failed("signature", str(error))
        else:
            self.origin = origin
            yield chain.tags_link(image, origin)
            yield chain.parts_link(origin, self._parts(evidence, key, digest))

    def _parts(self, evidence: ImageEvidence, key: str, digest: str) -> dict[str, bytes]:
        found = {}
        for name in (FILES, SBOM):
            with suppress(NotFound):
                found[name] = evidence.part(key, digest, name)
        self.files = found.get(FILES, b"")
        return found

    def _of_boot(self, image: Image, owned: Image) -> Link:
        said = image.tags.get(BOOT_CHECK_TAG, "")
        try:
            signed = self._boot_result(owned)
        except NotFound:
            if said:
                return chain.failed("boot check", f"the tag says `{said}`, and no result is kept")
            return chain.missing("boot check", "the image was not booted", required=False)
        except OvenbirdError as error:
            return chain.failed("boot check", str(error))
        return chain.boot_link(_as_tagged(owned, image), signed)

    def _boot_result(self, owned: Image) -> Signed:
        if self.ports.evidence is None:
            raise NotFound("No evidence is kept")
        return self.ports.evidence.boot_result(owned)

    def _of_package(self, name: str, version: str, digest: str) -> Link:
        assert self.origin is not None  # noqa: S101 - packages are its
        try:
            records = self.ports.repository.records_of(name, version)
        except OvenbirdError as error:
            return chain.failed(f"package {name}", str(error))
        debs = [one for one in records if one.package.format is PackageFormat.DEB]
        return chain.package_link(name, version, digest, origin=self.origin, records=debs)

    def _of_commit(self, origin: Origin) -> Link:
        url, commit = origin.source_url, origin.commit
        try:
            git.commits_between(commit, commit, url=url, mirror=mirror_of(self.state, url))
        except NotFound as error:
            return chain.failed("commit", str(error))
        return chain.ok("commit", f"`{url}` has {commit}")


def _why(image: Image) -> str:
    """Say why an image has no tag that names a statement."""
    if told := image.tags.get(NO_EVIDENCE_TAG):
        return f"none was made by the bake: {told}"
    strategy = image.tags.get(STRATEGY_TAG, "")
    return f"the image has no tag `{PROVENANCE_TAG}`; it was baked by `{strategy}`"


def _as_tagged(owned: Image, image: Image) -> Image:
    """Return the owner's image with the boot check's tag as another account has it."""
    return replace(owned, tags={**owned.tags, BOOT_CHECK_TAG: image.tags.get(BOOT_CHECK_TAG, "")})
