"""apt's side of a repository: stanzas, ``Packages`` files and the ``Release`` that is signed.

    dists/candidate-7/{Release,Release.gpg,InRelease}               state 7, for ever
    dists/candidate-7/main/binary-amd64/Packages.{gz,xz,zst}
    dists/candidate-7/main/binary-amd64/by-hash/SHA256/DIGEST
    dists/candidate/InRelease                                       the newest; moves in one step
    dists/candidate/main/binary-amd64/by-hash/SHA256/DIGEST         of all states that are kept

Source: Debian wiki, DebianRepository/Format; apt-get(8); apt.conf(5), ``Acquire::By-Hash``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.indexes import IndexKind, IndexRecord
from ovenbird.packaging.members import Encoding
from ovenbird.system.commands import run

ARCHITECTURES = ("amd64", "arm64")
ENCODINGS = (Encoding.GZ, Encoding.XZ, Encoding.ZST)
TIMEOUT_S = 60.0
_NUMBER = re.compile(rb"^X-Ovenbird-State: ([0-9]{1,15})$", re.MULTILINE)


def kind(component: str, architecture: str) -> IndexKind:
    """Return the index of one component and architecture; ``all`` is in each of them."""

    def names(suite: str, encoding: Encoding, digest: str) -> tuple[str, ...]:
        place = f"dists/{suite}/{component}/binary-{architecture}"
        return f"{place}/by-hash/SHA256/{digest}", f"{place}/Packages.{encoding}"

    return IndexKind(
        key=f"apt/{component}/{architecture}",
        shape=f"apt/{component}",
        encodings=ENCODINGS,
        chosen=lambda row: (
            row.format == PackageFormat.DEB
            and row.component == component
            and row.architecture in {architecture, "all"}
        ),
        entry=0,
        around=lambda _rows: (b"", b""),
        names=names,
    )


def components(keys: Mapping[str, object]) -> tuple[str, ...]:
    """Return the components that records of indexes have, in order."""
    return tuple(sorted({key.split("/")[1] for key in keys if key.startswith("apt/")}))


def control(deb: Path) -> str:
    """Return the control fields of a package file.

    Raises:
        CommandFailed: It is no deb, or damaged.
    """
    return run(["dpkg-deb", "--field", deb], timeout_s=TIMEOUT_S).strip("\n")


def field(text: str, name: str) -> str:
    """Return one control field's first line; empty when there is none."""
    found = re.search(rf"^{re.escape(name)}:[ \t]*(.*)$", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else ""


def stanza(text: str, *, file: str, size: int, sha256: str) -> str:
    """Return what ``Packages`` says of one package, with the empty line that ends it."""
    return f"{text}\nFilename: {file}\nSize: {size}\nSHA256: {sha256}\n\n"


def release(
    indexes: Mapping[str, IndexRecord], *, suite: str, name: str, number: int, at: datetime
) -> bytes:
    """Return the text that is signed: sizes and digests of all index files.

    Args:
        indexes: Key → index, of the whole state.
        suite: Name under which apt asks for it.
        name: The repository's name.
        number: Of the state.
        at: The time that it carries.
    """
    head = {
        "Origin": f"ovenbird {name}",
        "Label": f"ovenbird {name}",
        "Suite": suite,
        "Codename": suite,
        "Date": format_datetime(at.astimezone(UTC), usegmt=True).replace("GMT", "UTC"),
        "Acquire-By-Hash": "yes",
        "Architectures": " ".join(ARCHITECTURES),
        "Components": " ".join(components(indexes)),
        "X-Ovenbird-State": str(number),
    }
    lines = [f"{key}: {value}" for key, value in head.items()]
    for key, found in sorted(indexes.items()):
        if key.startswith("apt/"):
            _, component, architecture = key.split("/")
            path = f"{component}/binary-{architecture}/Packages"
            files = {path: found.text, **{f"{path}.{e}": file for e, file in found.files.items()}}
            lines += [f" {file.sha256} {file.size:>9} {path}" for path, file in files.items()]
    at_sums = len(head)
    return "\n".join([*lines[:at_sums], "SHA256:", *lines[at_sums:], ""]).encode()


def state_number(signed: bytes) -> int:
    """Return the number of the state that an ``InRelease`` names; 0 when it names none."""
    found = _NUMBER.search(signed)
    return int(found[1]) if found else 0
