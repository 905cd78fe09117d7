"""What is known of an image that was just made, before EC2 knows it.

contents of the disk ─▶ list of files, SBOM ─▶ statement ─▶ signed and kept while blocks upload
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ovenbird.domain.contents import ImageContents
from ovenbird.domain.provenance import FILES, SBOM, Evidence, Made, provenance
from ovenbird.packaging.reading.image_sbom import image_sbom
from ovenbird.stages.kitchen import Work, builder_version
from ovenbird.system.image_contents import packed


def attest(work: Work, contents: ImageContents, *, disk_sha256: str) -> Evidence:
    """Return what is to be kept of an image; the same for the same image.

    Args:
        work: The bake.
        contents: What is in the image.
        disk_sha256: Of the blocks that differ from the base's.
    """
    made = Made(
        request=work.request,
        base=work.base,
        bake_key=work.key,
        disk_sha256=disk_sha256,
        engine=work.engine,
        builder_version=builder_version(),
    )
    parts = {FILES: packed(contents.files), SBOM: image_sbom(made, contents)}
    statement = provenance(made, parts)
    return Evidence(bake_key=work.key, statement=statement, files=parts[FILES], sbom=parts[SBOM])


@contextmanager
def kept_meanwhile(work: Work, evidence: Evidence | None) -> Iterator[None]:
    """Sign and write evidence while the block runs; the block ends when both are done.

    Raises:
        InvalidRequest, NotFound: The key cannot sign.
    """
    if evidence is None or work.kitchen.evidence is None:
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="evidence") as pool:
        writing = pool.submit(work.kitchen.evidence.keep, evidence)
        yield
        writing.result()
