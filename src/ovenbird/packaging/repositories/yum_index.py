"""yum's side of a repository: the XML of packages, the three indexes and ``repomd.xml``.

    yum/candidate-7/x86_64/repodata/{repomd.xml,repomd.xml.asc}     state 7, for ever
    yum/candidate-7/x86_64/repodata/DIGEST-{primary,filelists,other}.xml.zst
    yum/candidate/x86_64/mirrorlist                                 names the newest
    yum/candidate/x86_64/repodata/DIGEST-...                        of all states that are kept

Packages stand in the pool that apt reads too, at ``../../../pool/...`` as seen from an index:
dnf 4.14 takes that by ``file:`` and by HTTP; it reads indexes of many zstd frames; a mirrorlist
must name a whole URL, a relative one or a path is refused (all measured on 2026-11-25).

Source: createrepo_c's Python API; dnf.conf(5), ``mirrorlist``, ``repo_gpgcheck``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import createrepo_c

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.repositories.indexes import IndexKind, IndexRecord
from ovenbird.packaging.repositories.members import Encoding

_library: Any = createrepo_c  # it has no types
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # rpm's word → ours
INDEXES = ("primary", "filelists", "other")
UP_TO_ROOT = "../../../"  # from yum/SUITE/ARCHITECTURE/
CHANGELOG_ENTRIES = 10  # of the newest that an index has; createrepo_c's default
_NUMBER = re.compile(rb"-([0-9]{1,15})/[^/]+/?\n")
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_DUKE = "http://linux.duke.edu/metadata"
_AROUND = {
    "primary": (f'metadata xmlns="{_DUKE}/common" xmlns:rpm="{_DUKE}/rpm"', "metadata"),
    "filelists": (f'filelists xmlns="{_DUKE}/filelists"', "filelists"),
    "other": (f'otherdata xmlns="{_DUKE}/other"', "otherdata"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RpmFile:
    """What an rpm file says of itself.

    Args:
        file_name: As rpms are called: name, version, release, architecture.
        entries: XML for ``primary``, ``filelists`` and ``other``.
    """

    name: str
    file_name: str
    sha256: str
    entries: tuple[str, ...]


def kind(architecture: str, which: str) -> IndexKind:
    """Return one of an architecture's indexes; ``noarch`` is in each architecture.

    Args:
        architecture: rpm's word, as ``x86_64``.
        which: ``primary``, ``filelists`` or ``other``.
    """

    def by_digest(suite: str, encoding: Encoding, digest: str) -> str:
        return f"yum/{suite}/{architecture}/{_href(which, encoding, digest)}"

    def around(rows: int) -> tuple[bytes, bytes]:
        first, last = _AROUND[which]
        return f'{_XML}<{first} packages="{rows}">\n'.encode(), f"</{last}>\n".encode()

    return IndexKind(
        key=f"yum/{architecture}/{which}",
        shape=f"yum/{which}",
        encodings=(Encoding.ZST,),
        chosen=lambda row: (
            row.format == PackageFormat.RPM
            and row.architecture in {ARCHITECTURES[architecture], "all"}
        ),
        entry=INDEXES.index(which),
        around=around,
        by_digest=by_digest,
        in_suite=by_digest,
    )


def architectures(keys: Mapping[str, object]) -> tuple[str, ...]:
    """Return rpm's words for the architectures that records of indexes have, in order."""
    return tuple(sorted({key.split("/")[1] for key in keys if key.startswith("yum/")}))


def read(rpm: Path, *, pool: str) -> RpmFile:
    """Read an rpm file.

    Args:
        rpm: The file.
        pool: The directory of the storage that it will be in, as ``pool/h/hello``.

    Raises:
        InvalidRequest: It is no rpm, or damaged.
    """
    try:
        found = _library.package_from_rpm(
            str(rpm), checksum_type=_library.SHA256, changelog_limit=CHANGELOG_ENTRIES
        )
    except (OSError, _library.CreaterepoCError) as error:
        raise InvalidRequest(f"`{rpm}` cannot be read as an rpm: {error}") from error
    file_name = f"{found.name}-{found.version}-{found.release}.{found.arch}.rpm"
    found.location_href = f"{UP_TO_ROOT}{pool}/{file_name}"
    found.time_file = found.time_build  # not that of a copy: the same package says the same
    dumps = (
        _library.xml_dump_primary,
        _library.xml_dump_filelists,
        _library.xml_dump_other,
    )
    return RpmFile(
        name=found.name,
        file_name=file_name,
        sha256=found.pkgId,
        entries=tuple(dump(found) for dump in dumps),
    )


def repomd(
    indexes: Mapping[str, IndexRecord], *, architecture: str, number: int, at: datetime
) -> bytes:
    """Return the text that is signed: sizes and digests of one architecture's indexes.

    Two architectures with the same packages get the same text.
    """
    made = _library.Repomd()
    made.revision = str(number)
    for which in INDEXES:
        found = indexes[f"yum/{architecture}/{which}"]
        made.set_record(_repomd_record(which, found, epoch_s=int(at.timestamp())))
    return str(made.xml_dump()).encode()


def _repomd_record(which: str, found: IndexRecord, *, epoch_s: int) -> Any:
    file = found.files[Encoding.ZST]
    record = _library.RepomdRecord(which, None)
    record.location_href = _href(which, Encoding.ZST, file.sha256)
    record.checksum, record.checksum_type = file.sha256, "sha256"
    record.checksum_open, record.checksum_open_type = found.text.sha256, "sha256"
    record.size, record.size_open = file.size, found.text.size
    record.timestamp = epoch_s
    return record


def _href(which: str, encoding: Encoding, digest: str) -> str:
    return f"repodata/{digest}-{which}.xml.{encoding}"


def mirrorlist(base_url: str, *, suite: str, architecture: str) -> bytes:
    """Return the pointer to a state.

    Args:
        base_url: Of the whole repository, as clients reach it: ``https://...``, ``file:/...``.
        suite: The state's name, as ``candidate-7``.
        architecture: rpm's word.
    """
    whole = re.sub(r"^file:/(?!/)", "file:///", base_url)  # dnf looks for `://`
    return f"{whole.rstrip('/')}/yum/{suite}/{architecture}/\n".encode()


def state_number(pointer: bytes) -> int:
    """Return the number of the state that a mirrorlist names; 0 when it names none."""
    found = _NUMBER.search(pointer)
    return int(found[1]) if found else 0
