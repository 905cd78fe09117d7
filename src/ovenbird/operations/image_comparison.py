"""Two images side by side: from what is kept of them, and from their disks where need be."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote

from ovenbird.config.settings import cache_home
from ovenbird.domain import image_differences as differing
from ovenbird.domain.contents import ImageContents, InstalledPackage
from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.image_differences import ImageDifferences
from ovenbird.domain.images import BASE_IMAGE_TAG, PROVENANCE_TAG, Image, ImageId
from ovenbird.domain.ports import Progress
from ovenbird.domain.provenance import FILES, SBOM
from ovenbird.operations.images import list_images, meant
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.ports import Ports
from ovenbird.stages.boot_check import base_snapshot
from ovenbird.system.disks.disk_differences import differing_blocks
from ovenbird.system.disks.journals import replayed
from ovenbird.system.disks.root_file_systems import find_root, mounted_file_system
from ovenbird.system.rooms import image_contents

LISTS = "image-files"  # in the cache: what disks without evidence hold


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageComparison:
    """What differs between two images.

    Args:
        read: Ids of the images whose disks had to be read.
    """

    before: Image
    after: Image
    differences: ImageDifferences
    read: tuple[ImageId, ...] = ()


def compare_images(
    installation: Installation,
    first: str,
    second: str | None,
    *,
    texts: bool = False,
    progress: Progress,
) -> ImageComparison:
    """Compare two images, or one with the base image that it was made from.

    Args:
        installation: Whose images.
        first: An id, a unique beginning of it, a name, or ``app@version``.
        second: Likewise; None to compare the first one with its base.
        texts: Read the disks for the texts of changed files below ``/etc``.
        progress: Told what is read.

    Raises:
        NotFound: There is no such image, or its base or its snapshot is gone.
        CloudError: AWS refused a call.
    """
    images = list_images(installation)
    after = meant(images, second or first)
    before = meant(images, first) if second else _base(installation, after)
    sides = [
        _Side(image=one, ports=installation.ports, progress=progress) for one in (before, after)
    ]
    old, new = (side.contents for side in sides)
    files = differing.file_changes(old.files, new.files)
    found = ImageDifferences(
        settings=differing.setting_changes(before, after) if second else (),
        packages=differing.package_changes(old.packages, new.packages),
        files=files,
        blocks=_blocks(installation.ports, sides),
    )
    if texts:
        paths = differing.texts_to_read(files, old.files, new.files)
        changes = differing.text_changes(*(side.texts(paths) for side in sides))
        found = replace(found, texts=changes)
    read = tuple(side.image.image_id for side in sides if side.was_read)
    return ImageComparison(before=before, after=after, differences=found, read=read)


def _base(installation: Installation, image: Image) -> Image:
    base = image.tags.get(BASE_IMAGE_TAG, "")
    if not base:
        raise NotFound(f"`{image.name}` does not say what it was made from")
    return installation.ports.images.get(ImageId(base))


def _blocks(ports: Ports, sides: Sequence[_Side]) -> int | None:
    """Return how many blocks differ: as EBS knows it, or as the disks show that were read."""
    first, second = sides
    if first.image.root_snapshot_id == second.image.root_snapshot_id:
        return 0
    with suppress(OvenbirdError):  # EBS compares only snapshots of one origin
        ids = (side.image.root_snapshot_id for side in sides)
        return len(ports.snapshots.changed(*ids))
    if first.was_read and second.was_read:
        return sum(1 for _ in differing_blocks(first.disk, second.disk))
    return None


@dataclass(kw_only=True)
class _Side:
    """One of two images, and what is known of it.

    Args:
        was_read: Whether its disk was.
    """

    image: Image
    ports: Ports
    progress: Progress
    was_read: bool = False

    @cached_property
    def contents(self) -> ImageContents:
        """Its packages and files: as kept with its evidence, or read from its disk."""
        evidence, digest = self.ports.evidence, self.image.tags.get(PROVENANCE_TAG, "")
        if evidence is not None and digest:
            with suppress(NotFound, ValueError):
                key = self.image.bake_key
                files = image_contents.unpacked(evidence.part(key, digest, FILES))
                packages = packages_of(evidence.part(key, digest, SBOM))
                return ImageContents(packages=packages, files=files)
        return self._read()

    @cached_property
    def disk(self) -> Path:
        """Its disk, read once and kept."""
        self.progress(f"Reading the disk of `{self.image.name}`")
        self.was_read = True
        parent = base_snapshot(self.image, self.ports.images)
        return self.ports.snapshots.download(self.image.root_snapshot_id, parent=parent)

    def texts(self, paths: Sequence[str]) -> dict[str, str]:
        """Return path → text of files that it has; none that is no UTF-8."""
        found = {}
        if paths:
            with opened_disk(self.disk) as root:
                for path in paths:
                    file = root / path.lstrip("/")
                    if file.is_file() and not file.is_symlink():
                        with suppress(UnicodeDecodeError):
                            found[path] = file.read_text(encoding="utf-8")
        return found

    def _read(self) -> ImageContents:
        kept = cache_home() / LISTS / image_contents.kept_name(self.disk)
        with opened_disk(self.disk) as root:
            return ImageContents(
                distribution=image_contents.distribution(root),
                packages=image_contents.packages(root),
                files=image_contents.kept_files(root, kept),
            )


@contextmanager
def opened_disk(disk: Path) -> Iterator[Path]:
    """Mount a disk's root file system for as long as the block runs; it is only read.

    What its journal holds is there, too.

    Raises:
        InvalidRequest: It has none that can be used, or its journal cannot be replayed.
        CommandFailed: It cannot be mounted, as without root.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ovenbird-") as place,
        replayed(find_root(disk), place=Path(place)) as found,
        mounted_file_system(found, Path(place, "root")) as root,
    ):
        yield root


def kept_packages(ports: Ports, image: Image) -> tuple[InstalledPackage, ...] | None:
    """Return the packages of an image as its evidence has them; None when none is kept."""
    digest = image.tags.get(PROVENANCE_TAG, "")
    if ports.evidence is None or not digest:
        return None
    try:
        return packages_of(ports.evidence.part(image.bake_key, digest, SBOM))
    except (NotFound, ValueError):
        return None


def packages_of(sbom: bytes) -> tuple[InstalledPackage, ...]:
    """Return the packages that an image's bill of materials names.

    Raises:
        ValueError: It is something else.
    """
    try:
        parts = [one for one in json.loads(sbom)["components"] if "purl" in one]
        return tuple(_package(one["name"], one["version"], one["purl"]) for one in parts)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"no bill of materials of an image: {error!r}") from error


def _package(name: str, version: str, url: str) -> InstalledPackage:
    manager = url.removeprefix("pkg:").partition("/")[0]
    qualifiers = parse_qs(url.partition("?")[2])
    return InstalledPackage(
        name=name,
        version=version,
        architecture=unquote(qualifiers.get("arch", [""])[0]),
        manager=manager,
    )
