"""What is known of images, kept in the repository beside the packages that are in them.

    images/BAKE KEY/PROVENANCE SHA-256/provenance.json    where it comes from, signed
    images/BAKE KEY/PROVENANCE SHA-256/sbom.cdx.json      every package
    images/BAKE KEY/PROVENANCE SHA-256/files.jsonl.zst    every file
    images/BAKE KEY/boot/IMAGE ID.json                    whether it has booted, signed

The image's tags name the first two folders. Evidence is written once and stays: two bakes
that made the same have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.images import Image
from ovenbird.domain.ports import Signer, Storage
from ovenbird.domain.provenance import FILES, SBOM, Evidence, Signed
from ovenbird.packaging.keys import envelopes

TOP = "images"
STATEMENT = "provenance.json"


class ImageEvidence:
    """The :class:`ovenbird.domain.image_ports.ImageEvidence` of one repository.

    Args:
        storage: The repository's.
        signer: Whose signatures count, and who signs.
    """

    def __init__(self, storage: Storage, signer: Signer) -> None:
        self._storage, self._signer = storage, signer

    def keep(self, evidence: Evidence) -> None:
        """Sign and write evidence; what is there stays.

        The envelope comes last: who finds it finds the rest.

        Raises:
            InvalidRequest, NotFound: The key cannot sign.
        """
        place = f"{TOP}/{evidence.bake_key}/{evidence.digest_sha256}"
        if self._storage.exists(f"{place}/{STATEMENT}"):
            return
        self._storage.create(f"{place}/{FILES}", evidence.files)
        self._storage.create(f"{place}/{SBOM}", evidence.sbom)
        sealed = envelopes.sealed(evidence.statement, self._signer)
        self._storage.create(f"{place}/{STATEMENT}", sealed)

    def statement(self, bake_key: str, provenance_sha256: str) -> Signed:
        """Return the statement of where an image comes from.

        Raises:
            NotFound: There is none.
            InvalidRequest: It is not signed by a key of ours.
        """
        return self._opened(f"{TOP}/{bake_key}/{provenance_sha256}/{STATEMENT}")

    def part(self, bake_key: str, provenance_sha256: str, name: str) -> bytes:
        """Return what is kept beside a statement: ``FILES`` or ``SBOM``.

        Raises:
            NotFound: There is none.
        """
        return self._storage.read(f"{TOP}/{bake_key}/{provenance_sha256}/{name}")

    def keep_boot_result(self, image: Image, statement: bytes) -> None:
        """Sign and write whether an image has booted; the last word counts.

        Raises:
            InvalidRequest, NotFound: The key cannot sign.
        """
        self._storage.write(_boot_result(image), envelopes.sealed(statement, self._signer))

    def boot_result(self, image: Image) -> Signed:
        """Return the statement of whether an image has booted.

        Raises:
            NotFound: There is none.
            InvalidRequest: It is not signed by a key of ours.
        """
        return self._opened(_boot_result(image))

    def digests(self, bake_key: str) -> tuple[str, ...]:
        """Return the digests of all statements about images of one bake key."""
        return tuple(sorted(set(self._digests(bake_key))))

    def _digests(self, bake_key: str) -> Iterator[str]:
        for name in self._storage.names(f"{TOP}/{bake_key}/"):
            path = PurePosixPath(name)
            if path.name == STATEMENT:
                yield path.parent.name

    def _opened(self, name: str) -> Signed:
        envelope = self._storage.read(name)
        try:
            return envelopes.opened(envelope, public_keys=self._signer.known())
        except OvenbirdError as error:
            raise type(error)(f"`{name}`: {error}", hint=error.hint, **error.facts) from error


def _boot_result(image: Image) -> str:
    return f"{TOP}/{image.bake_key or 'none'}/boot/{image.image_id}.json"
