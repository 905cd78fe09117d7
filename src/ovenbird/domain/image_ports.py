"""Ports of what happens to images after the bake: evidence is kept, and they are booted once.

They are satisfied by shape, as those in :mod:`ovenbird.domain.ports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ovenbird.domain.boot_checks import BootReport, Probe
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


class Boots(Protocol):
    """Boots disks on this host, each once; nothing is left of a guest when it was looked at."""

    @property
    def engine(self) -> str: ...  # ``container`` or ``qemu``

    def missing(self, image: Image) -> str: ...  # why it cannot be booted here; or empty

    def boot(  # *disk* has the image's bytes and is only read
        self, image: Image, disk: Path, *, probe: Probe, progress: Progress
    ) -> BootReport: ...
