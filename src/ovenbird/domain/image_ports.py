"""Ports of what happens to images after the bake: evidence, one boot, uses, and their end.

They are satisfied by shape, as those in :mod:`ovenbird.domain.ports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ovenbird.domain.boot_checks import BootReport, Probe
from ovenbird.domain.image_retention import ImageUse
from ovenbird.domain.images import Image, ImageId
from ovenbird.domain.ports import Progress
from ovenbird.domain.provenance import Evidence, Signed


class ImageEvidence(Protocol):
    """What is known of images: signed statements, lists of files, bills of materials."""

    def keep(self, evidence: Evidence) -> None: ...  # what is there stays

    def statement(  # NotFound; InvalidRequest: not signed by a key of ours
        self, bake_key: str, provenance_sha256: str
    ) -> Signed: ...

    def part(  # NotFound; ``FILES`` or ``SBOM`` of domain.provenance
        self, bake_key: str, provenance_sha256: str, name: str
    ) -> bytes: ...

    def keep_boot_result(self, image: Image, statement: bytes) -> None: ...  # the last counts

    def boot_result(self, image: Image) -> Signed: ...  # as `statement`


class ImageTags(Protocol):
    """Tags on images of one account."""

    def write_tags(self, image_id: ImageId, tags: Mapping[str, str]) -> None: ...


class ImageLives(Protocol):
    """The last days of images of one account; each change can be made twice."""

    def deprecate(self, image: Image, *, at: datetime) -> None: ...

    def disable(self, image: Image) -> None: ...

    def restore(self, image: Image) -> None: ...

    def remove(self, image: Image) -> None: ...  # with its snapshot


class ImageUses(Protocol):
    """What needs images in one account, besides server groups of ours."""

    def list_uses(self) -> tuple[ImageUse, ...]: ...


class Boots(Protocol):
    """Boots disks on this host, each once; nothing is left of a guest when it was looked at."""

    @property
    def engine(self) -> str: ...  # ``container`` or ``qemu``

    def missing(self, image: Image) -> str: ...  # why it cannot be booted here; or empty

    def boot(  # *disk* has the image's bytes and is only read
        self, image: Image, disk: Path, *, probe: Probe, progress: Progress
    ) -> BootReport: ...
