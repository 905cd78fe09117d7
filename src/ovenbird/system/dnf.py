"""dnf's command lines and configuration for installing inside a bake.

Source: dnf(8), dnf.conf(5), ``gpgcheck``, ``repo_gpgcheck``, ``install_weak_deps``; rpm(8)
on ``gpg-pubkey``; RFC 9580, 6 (ASCII armor), 5.5.2 and 5.5.4 (key packets, fingerprints).
"""

from __future__ import annotations

import base64
import hashlib
import textwrap
from collections.abc import Iterable, Iterator

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import PackagePin

OURS = "/etc/yum.repos.d/ovenbird.repo"  # only while the bake runs
NAME = "ovenbird"
RELEASE = "1"  # what nfpm gives an rpm whose version says none
_ARCHITECTURES = {"all": "noarch", "amd64": "x86_64", "arm64": "aarch64"}
_ARMOR = b"-----BEGIN PGP"
_PUBLIC_KEY, _PUBLIC_SUBKEY = 6, 14


def update(*, only_ours: bool = False) -> list[str]:
    """Read the indexes of all repositories, or of our own alone."""
    ours = [f"--repo={NAME}"] if only_ours else []
    return ["dnf", "makecache", "--assumeyes", *ours]


def install(packages: Iterable[str]) -> list[str]:
    """Install exact versions and nothing that is merely recommended.

    Args:
        packages: As :func:`wanted` says them.
    """
    return [
        "dnf", "install",
        "--assumeyes",
        "--setopt=install_weak_deps=False",
        "--setopt=best=True",
        *sorted(packages),
    ]  # fmt: skip


def wanted(pin: PackagePin) -> str:
    """Return a package with its version, release and architecture, as dnf takes it."""
    version = pin.version if "-" in pin.version else f"{pin.version}-{RELEASE}"
    return f"{pin.name}-{version}.{_ARCHITECTURES.get(pin.architecture, pin.architecture)}"


def source(*, key: str, url: str, suite: str) -> str:
    """Return the repository's file; the key signs indexes and packages."""
    if url.startswith("file:/") and not url.startswith("file://"):
        url = url.replace("file:", "file://", 1)  # which is all that librepo takes
    return "\n".join(
        (
            f"[{NAME}]",
            "name=Ovenbird, while this image is baked",
            f"baseurl={url.rstrip('/')}/yum/{suite}/$basearch/",
            f"gpgkey=file://{key}",
            "gpgcheck=1",
            "repo_gpgcheck=1",
            "enabled=1",
            "skip_if_unavailable=0",
            "",
        )
    )


def armored(keys: bytes) -> bytes:
    """Return public keys as text, which is all that rpm takes.

    Args:
        keys: Binary, or text already.
    """
    if keys.startswith(_ARMOR):
        return keys
    text = textwrap.fill(base64.b64encode(keys).decode(), 64)
    check = base64.b64encode(_crc24(keys).to_bytes(3, "big")).decode()
    begin, end = (f"-----{word} PGP PUBLIC KEY BLOCK-----" for word in ("BEGIN", "END"))
    return f"{begin}\n\n{text}\n={check}\n{end}\n".encode()


def forget(keys: bytes) -> list[str]:
    """Return the command that takes our keys out of rpm's database, where dnf has put them.

    Args:
        keys: Binary.

    Raises:
        InvalidRequest: They are no public keys.
    """
    # Older ones are called by the last 8 digits of the key's fingerprint, newer by all.
    known = "|".join(f"{mark[-8:]}-|{mark}" for mark in fingerprints(keys))
    return ["sh", "-c", _FORGET, "forget", f"^gpg-pubkey-({known})"]


_FORGET = 'rpm -q gpg-pubkey | grep -E "$1" | xargs -r rpm -e'


def fingerprints(keys: bytes) -> tuple[str, ...]:
    """Return the fingerprints of primary keys (version 4), lowercase hex.

    Raises:
        InvalidRequest: They are no binary public keys.
    """
    found = tuple(
        hashlib.sha1(  # noqa: S324 - what the format calls a key by
            b"\x99" + len(body).to_bytes(2, "big") + body
        ).hexdigest()
        for tag, body in _packets(keys)
        if tag == _PUBLIC_KEY
    )
    if not found:
        raise InvalidRequest("The repository's key file has no public key")
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        head, at = data[at], at + 1
        if head & 0x40:
            tag, (length, at) = head & 0x3F, _new_length(data, at)
        elif head & 0x80:
            size = 1 << (head & 3)
            tag, length, at = (
                (head >> 2) & 0xF,
                int.from_bytes(data[at : at + size], "big"),
                at + size,
            )
        else:
            raise InvalidRequest("The repository's key file is damaged, or no binary key")
        yield tag, data[at : at + length]
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a packet's length, and where its body begins."""
    first = data[at]
    if first < 192:
        return first, at + 1
    if first < 224:
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5


def _crc24(data: bytes) -> int:
    value = 0xB704CE
    for byte in data:
        value ^= byte << 16
        for _ in range(8):
            value = (value << 1) ^ (0x1864CFB if value & 0x800000 else 0)
    return value
