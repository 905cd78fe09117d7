"""Images: what a bake is asked for, and what EC2 knows of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.recipes import RecipeStep

ImageId = NewType("ImageId", str)
SnapshotId = NewType("SnapshotId", str)

TAG = "ovenbird:"  # every tag of ours begins so
APP_TAG = TAG + "app"
VERSION_TAG = TAG + "version"
COMMIT_TAG = TAG + "commit"
BAKE_KEY_TAG = TAG + "bake-key"
BASE_IMAGE_TAG = TAG + "base-image"
BASE_NAME_TAG = TAG + "base-name"  # what the settings call it
PACKAGES_TAG = TAG + "packages"
RELEASE_TAG = TAG + "release"
DISK_TAG = TAG + "disk-sha256"
BLOCKS_UPLOADED_TAG = TAG + "blocks-uploaded"
BLOCKS_TOTAL_TAG = TAG + "blocks-total"
STRATEGY_TAG = TAG + "strategy"
COPIED_FROM_TAG = TAG + "copied-from"
PROVENANCE_TAG = TAG + "provenance-sha256"
NO_EVIDENCE_TAG = TAG + "no-evidence"  # why there is none
BUILDER_TAG = TAG + "builder"
BOOT_CHECK_TAG = TAG + "boot-check"
FIT, UNFIT = "passed", "failed"  # values of the last one
UNREGISTERED_TAG = TAG + "unregistered"  # on a snapshot, until an image has it
DISABLED = "disabled"  # the state of an image that nobody can launch; it keeps its name


class BakeStrategy(StrEnum):
    """How an image is made."""

    AUTO = "auto"  # direct, unless the base image forbids it
    DIRECT = "direct"  # changed blocks on this host, no machine; needs a base we may read
    INSTANCE = "instance"  # a builder instance, then CreateImage


class BootCheck(StrEnum):
    """Which images are booted once before they are offered."""

    OFF = "off"
    FIRST = "first"  # the first image of each base
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSource:
    """How a base image is found: one of four ways.

    Args:
        name: Exact name of the image.
        image_id: The image itself.
        parameter: SSM parameter whose value is an image id.
        tags: Tags that it has; the newest that has them all is taken.
        owner: Account that must own it, twelve digits, ``amazon``, or ``self``; anyone may
            publish an image under any name and with any tags.
        architecture: As ``x86_64``; empty for any.
    """

    name: str = ""
    image_id: str = ""
    parameter: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str = "self"
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What the manifest says about the app's image.

    Args:
        base: Name of the base image in the settings, as ``debian-12``.
        packages: Names of the app's packages that are installed; empty for its own.
        max_age_days: How old an image of the same inputs may be; None for any age.
    """

    base: str
    packages: tuple[str, ...] = ()
    recipe: tuple[RecipeStep, ...] = ()
    strategy: BakeStrategy = BakeStrategy.AUTO
    boot_check: BootCheck = BootCheck.FIRST
    max_age_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An AMI, as far as we use it.

    Args:
        root_device_name: As ``/dev/xvda``.
        boot_mode: ``legacy-bios``, ``uefi``, ``uefi-preferred``, or empty.
        size_gib: Size of the root volume.
        product_codes: Of the marketplace; they make every copy cost money.
        usage_operation: What is billed: ``RunInstances``, or with a number for another
            platform than Linux.
        public: Whether everybody may launch it; then nobody but its owner reads its snapshot.
        kms_key: Id or ARN of the key of its root snapshot; empty when it is not encrypted.
        tpm: ``v2.0`` or empty.
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
    product_codes: tuple[str, ...] = ()
    usage_operation: str = "RunInstances"
    public: bool = False
    kms_key: str = ""
    tpm: str = ""

    @property
    def is_billed(self) -> bool:
        """Whether AWS bills for what is inside: then only CreateImage keeps it right."""
        return bool(self.product_codes) or self.usage_operation not in {"", "RunInstances"}

    @property
    def is_unfit(self) -> bool:
        """Whether it was booted and must not be offered."""
        return self.tags.get(BOOT_CHECK_TAG) == UNFIT

    @property
    def is_offered(self) -> bool:
        """Whether it may be launched: neither found to be unfit nor disabled."""
        return not self.is_unfit and self.state != DISABLED

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
        not_before: An image that was made earlier is too old to be used; None for any.
        files: Path in the app's directory → SHA-256 in hex (and mode) of each file that the
            recipe reads.
        directory: Where those files are on this host; empty when there are none.
        source_url: Git remote of *commit*.
        base_name: What the settings call the base image.
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
    not_before: datetime | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""
    strategy: BakeStrategy = BakeStrategy.AUTO
    source_url: str = ""
    base_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """The result of a bake.

    Args:
        blocks_uploaded: 512 KiB blocks that were uploaded; 0 when the image was found.
        blocks_total: 512 KiB blocks of the whole image that are not holes.
        digest_sha256: Of the root disk's bytes, lowercase hex; equal inputs give equal digests.
        reused: True when an earlier bake had the same key.
        seconds: Phase → seconds, in order: ``{"download": 0.1, "install": 4.0, ...}``.
        strategy: How it was made.
        notes: What a person should know, as that this image is less exact than others.
    """

    image: Image
    blocks_uploaded: int
    blocks_total: int
    digest_sha256: str
    reused: bool
    seconds: Mapping[str, float] = field(default_factory=dict)
    strategy: BakeStrategy = BakeStrategy.DIRECT
    notes: tuple[str, ...] = ()
