"""Evidence of images that a test keeps in memory."""

from __future__ import annotations

from ovenbird.domain.errors import CommandFailed, NotFound
from ovenbird.domain.images import Image, ImageId
from ovenbird.domain.provenance import FILES, Evidence, Signed

FINGERPRINT = "F" * 40


class Shelf:
    """The port :class:`ovenbird.domain.image_ports.ImageEvidence`; nothing is signed.

    Args:
        breaks: Whether nothing can be kept.
    """

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks = breaks
        self.kept: dict[tuple[str, str], Evidence] = {}
        self.boots: dict[ImageId, bytes] = {}

    def keep(self, evidence: Evidence) -> None:
        if self.breaks:
            raise CommandFailed("The key's agent is gone")
        self.kept.setdefault((evidence.bake_key, evidence.digest_sha256), evidence)

    def statement(self, bake_key: str, provenance_sha256: str) -> Signed:
        found = self._found(bake_key, provenance_sha256)
        return Signed(statement=found.statement, fingerprints=(FINGERPRINT,))

    def part(self, bake_key: str, provenance_sha256: str, name: str) -> bytes:
        found = self._found(bake_key, provenance_sha256)
        return found.files if name == FILES else found.sbom

    def keep_boot_result(self, image: Image, statement: bytes) -> None:
        self.boots[image.image_id] = statement

    def boot_result(self, image: Image) -> Signed:
        if image.image_id not in self.boots:
            raise NotFound(f"No boot result of `{image.image_id}`")
        return Signed(statement=self.boots[image.image_id], fingerprints=(FINGERPRINT,))

    def _found(self, bake_key: str, provenance_sha256: str) -> Evidence:
        if (bake_key, provenance_sha256) not in self.kept:
            raise NotFound(f"No evidence `{provenance_sha256}`")
        return self.kept[bake_key, provenance_sha256]
