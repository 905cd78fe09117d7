"""apt's side of a repository: stanzas, ``Packages`` files and the ``Release`` that is signed.

    dists/candidate-7/{Release,Release.gpg,InRelease}               state 7, for ever
    dists/candidate-7/main/binary-amd64/Packages.{gz,xz,zst}
    dists/candidate/InRelease                                       the newest; moves in one step
    dists/candidate/main/binary-amd64/by-hash/SHA256/DIGEST         of all states that are kept

What never changes needs no names by digest: a numbered suite has the plain ones, which every
apt, mirror and debootstrap knows. The channel's suite has names by digest alone.

Source: Debian wiki, DebianRepository/Format; apt-get(8); apt.conf(5), ``Acquire::By-Hash``.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path, PurePath

import zstandard

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging import ar_files
from ovenbird.packaging.repositories.indexes import IndexKind, IndexRecord
from ovenbird.packaging.repositories.members import Encoding

ARCHITECTURES = ("amd64", "arm64")
ENCODINGS = (Encoding.GZ, Encoding.XZ, Encoding.ZST)
_DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {  # Source: deb(5)
    ".tar": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, KeyError)
_NUMBER = re.compile(rb"^X-Ovenbird-State: ([0-9]{1,15})$", re.MULTILINE)


def kind(component: str, architecture: str) -> IndexKind:
    """Return the index of one component and architecture; ``all`` is in each of them."""

    def by_digest(channel: str, _encoding: Encoding, digest: str) -> str:
        return f"dists/{channel}/{component}/binary-{architecture}/by-hash/SHA256/{digest}"

    def in_suite(suite: str, encoding: Encoding, _digest: str) -> str:
        return f"dists/{suite}/{component}/binary-{architecture}/Packages.{encoding}"

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
        by_digest=by_digest,
        in_suite=in_suite,
    )


def components(keys: Mapping[str, object]) -> tuple[str, ...]:
    """Return the components that records of indexes have, in order."""
    return tuple(sorted({key.split("/")[1] for key in keys if key.startswith("apt/")}))


def control(deb: Path) -> str:
    """Return the control fields of a package file, without an empty line.

    Raises:
        InvalidRequest: It is no deb, or damaged.
    """
    member = next((m for m in ar_files.members(deb) if m.name.startswith("control.tar")), None)
    if member is None:
        raise InvalidRequest(f"`{deb}` is no deb: it has no `control.tar`")
    with deb.open("rb") as file:
        file.seek(member.begins_at)
        data = file.read(member.size)
    try:
        text = _control_text(_DECOMPRESS[PurePath(member.name).suffix](data)).strip("\n")
    except (*_BROKEN, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise InvalidRequest(f"`{deb}` is damaged: `{member.name}`: {error}") from error
    if "\n\n" in text:
        raise InvalidRequest(f"`{deb}` has an empty line among its control fields")
    return text


def _control_text(tar: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            if file and entry.name.removeprefix("./") == "control":
                return file.read().decode()
    raise ValueError("it has no file `control`")


def field(text: str, name: str) -> str:
    """Return one control field's first line; empty when there is none."""
    found = re.search(rf"^{re.escape(name)}:[ \t]*(.*)$", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else ""


def stanza(text: str, *, file: str, size: int, sha256: str) -> str:
    """Return what ``Packages`` says of one package, with the empty line that ends it."""
    return f"{text}\nFilename: {file}\nSize: {size}\nSHA256: {sha256}\n\n"


def release(
    indexes: Mapping[str, IndexRecord],
    *,
    suite: str,
    name: str,
    number: int,
    at: datetime,
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
        "Acquire-By-Hash": "no" if suite.endswith(f"-{number}") else "yes",
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
