"""Images: what a bake is asked for, and what EC2 knows of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from ovenbird.domain.catalog import RepositoryState

ImageId = NewType("ImageId", str)
SnapshotId = NewType("SnapshotId", str)

TAG = "ovenbird:"  # every tag of ours begins so
APP_TAG = TAG + "app"
VERSION_TAG = TAG + "version"
COMMIT_TAG = TAG + "commit"
BAKE_KEY_TAG = TAG + "bake-key"
BASE_IMAGE_TAG = TAG + "base-image"
PACKAGES_TAG = TAG + "packages"
RELEASE_TAG = TAG + "release"
DISK_TAG = TAG + "disk-sha256"
BLOCKS_UPLOADED_TAG = TAG + "blocks-uploaded"
BLOCKS_TOTAL_TAG = TAG + "blocks-total"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellStep:
    """A recipe step that runs shell lines in the image, in order, as root.

    Args:
        lines: Each is run by ``sh -e -c``; a non-zero status fails the bake.
    """

    lines: tuple[str, ...]


RecipeStep = ShellStep  # a sum type as soon as there is a second kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What the manifest says about the app's image.

    Args:
        base: Name of the base image in the settings, as ``debian-12``.
        packages: Names of the app's packages that are installed; empty for its own.
    """

    base: str
    packages: tuple[str, ...] = ()
    recipe: tuple[RecipeStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An AMI, as far as we use it.

    Args:
        root_device_name: As ``/dev/xvda``.
        boot_mode: ``legacy-bios``, ``uefi``, ``uefi-preferred``, or empty.
        size_gib: Size of the root volume.
    """

    image_id: ImageId
    name: str
    owner_id: str
    root_snapshot_id: SnapshotId
    root_device_name: str
    architecture: str
    boot_mode: str
    ena: bool
    imds_v2: bool
    size_gib: int
    created_at: datetime
    state: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def bake_key(self) -> str:
        """The key of the bake that made it; empty for images of other makers."""
        return self.tags.get(BAKE_KEY_TAG, "")

    @property
    def app(self) -> str:
        """The app inside; empty for base images."""
        return self.tags.get(APP_TAG, "")

    @property
    def version(self) -> str:
        """The app's package version; empty for base images."""
        return self.tags.get(VERSION_TAG, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePin:
    """One package at one exact version, to be installed from a repository."""

    name: str
    version: str
    architecture: str
    digest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeRequest:
    """Everything that decides what an image contains.

    Args:
        base_image_id: The resolved base image.
        repository: The numbered state from which the packages are installed.
        fresh: Bake anew even if an image with the same key exists.
    """

    app: str
    version: str
    commit: str
    release_id: str
    base_image_id: ImageId
    recipe: tuple[RecipeStep, ...]
    packages: tuple[PackagePin, ...]
    repository: RepositoryState
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """The result of a bake.

    Args:
        blocks_uploaded: 512 KiB blocks that were uploaded; 0 when the image was found.
        blocks_total: 512 KiB blocks of the whole image that are not holes.
        digest_sha256: Of the root disk's bytes, lowercase hex; equal inputs give equal digests.
        reused: True when an earlier bake had the same key.
        seconds: Phase → seconds, as ``{"download": 0.1, "install": 4.0, "upload": 0.3}``.
    """

    image: Image
    blocks_uploaded: int
    blocks_total: int
    digest_sha256: str
    reused: bool
    seconds: Mapping[str, float] = field(default_factory=dict)
