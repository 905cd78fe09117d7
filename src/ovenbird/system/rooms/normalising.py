"""What differs between two bakes of the same input, made the same; or named, where it cannot be.

Most programs keep to ``SOURCE_DATE_EPOCH`` (see :mod:`ovenbird.system.rooms.hands`):
initramfs-tools, useradd, Python's compiler and fontconfig do. What is left is mended here, in the
files that the bake changed:

    Java key stores        the time at which each certificate came in
    shadow                 the day of a password's change, where a program did not keep to it
    compiled modules       the time of a source that is newer than an image's newest file
    indexes of man pages   made again by a timer on the machine
    sockets                nobody listens any more

Measured on 2026-11-28: nginx, a virtual environment with Flask, a Java run time with
certificates and a second kernel, baked on two days, under two umasks, time zones and
directories, differ in the Java key store alone.

Source: shadow(5); PEP 552 (pyc files); JDK, ``sun.security.provider.JavaKeyStore`` (JKS);
RFC 7292 (PKCS #12 salts its encryption by chance); man-db, mandb(8).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from ovenbird.system.disks.debugfs import EPOCH_S

DAY_S = 86_400
INDEXES = re.compile(r"var/cache/man/(.*/)?(index\.db|index\.bt|CACHEDIR\.TAG)")
JKS = bytes.fromhex("feedfeed")
DER_SEQUENCE = 0x30
JKS_SALT = b"Mighty Aphrodite"  # Source: JavaKeyStore.getPreKeyedHash
STORE_PASSWORD = "changeit"  # of every distribution's trust store  # noqa: S105
TRUSTED = 2  # tag of an entry with a certificate
STORES = re.compile(r"(?:etc|usr|var)/.*(?:/cacerts|\.jks|\.p12|\.pfx|\.keystore)")
SECRETS = re.compile(r"(?:etc|var/lib|opt|srv|usr)/.*\.(?:pem|key)|etc/ssl/private/.*|etc/.*_key")
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
HEAD_BYTES = 4096
PYC_TIMED = 0  # flags of a module that is checked by its source's time


def normalise(root: Path, *, upper: Path, lower: Path) -> tuple[str, ...]:
    """Make the changed files of an image the same for each bake, and name what cannot be.

    Args:
        root: The overlay's merged view; written to.
        upper: What the bake changed.
        lower: The base.

    Returns:
        What a person should know, one sentence each.
    """
    notes: list[str] = []
    for rel in list(_changed(upper)):
        path = root / rel
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode) or INDEXES.fullmatch(rel):
            path.unlink()
        elif rel.endswith(".pyc"):
            _settle_module(path)
        elif rel == "etc/shadow":
            _settle_shadow(path, lower / rel)
        elif STORES.fullmatch(rel):
            notes += _settle_store(path, rel)
        elif SECRETS.fullmatch(rel) and not os.path.lexists(lower / rel):
            notes += _named_secret(path, rel)
    if _has_rpm_database(upper):
        notes.append("rpm's database has the time of each installation: it differs in each bake")
    return tuple(sorted(notes))


def _changed(upper: Path) -> Iterator[str]:
    """Yield regular files and sockets that the bake changed, sorted."""
    top = len(str(upper)) + 1
    for directory, names, files in os.walk(upper):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)  # noqa: PTH118 - for a hundred thousand files
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
                yield path[top:]


def _settle_shadow(path: Path, below: Path) -> None:
    """Let passwords that were set in the bake be of the epoch's day."""
    was = _days(below.read_text()) if below.exists() else {}
    epoch = str(EPOCH_S // DAY_S)
    lines = []
    for line in path.read_text().splitlines():
        fields = line.split(":")
        # 0 asks for a new password at the next login; empty has no age at all.
        if len(fields) > 2 and fields[2] not in {"", "0", was.get(fields[0])}:
            fields[2] = epoch
        lines.append(":".join(fields))
    _write(path, "".join(f"{line}\n" for line in lines).encode())


def _days(text: str) -> dict[str, str]:
    rows = (line.split(":") for line in text.splitlines())
    return {fields[0]: fields[2] for fields in rows if len(fields) > 2}


def _settle_module(path: Path) -> None:
    """Let a module be of a source that is as old as the image says it is."""
    with path.open("r+b") as file:
        head = file.read(16)
        if len(head) < 16:
            return
        flags, modified_s = struct.unpack_from("<II", head, 4)
        if flags == PYC_TIMED and modified_s > EPOCH_S:
            file.seek(8)
            file.write(struct.pack("<I", EPOCH_S))


def _settle_store(path: Path, rel: str) -> Iterator[str]:
    data = path.read_bytes()
    if data.startswith(JKS):
        settled = settled_store(data)
        if settled is None:
            yield f"`/{rel}` is a Java key store with another password, or of keys: it has times"
        elif settled != data:
            _write(path, settled)
    elif data[:1] == bytes([DER_SEQUENCE]):
        yield f"`/{rel}` is a PKCS #12 key store made in the bake: it has salts made by chance"


def settled_store(data: bytes) -> bytes | None:
    """Return a Java trust store whose entries are of the epoch, sorted by name.

    Returns:
        None when it has anything but certificates, or another password than usual.
    """
    body = data[:-20]
    if data[-20:] != _store_digest(body):
        return None
    _, version, count = struct.unpack_from(">III", body)
    entries, at = [], 12
    for _ in range(count):
        (tag,) = struct.unpack_from(">I", body, at)
        if tag != TRUSTED or version not in {1, 2}:
            return None
        name_end = _after_text(body, at + 4)
        end = name_end + 8
        end = _after_text(body, end) if version == 2 else end
        (size,) = struct.unpack_from(">I", body, end)
        entry = body[at:name_end] + struct.pack(">Q", EPOCH_S * 1000) + body[name_end + 8 : end]
        entries.append((body[at + 6 : name_end], entry + body[end : end + 4 + size]))
        at = end + 4 + size
    made = body[:12] + b"".join(entry for _, entry in sorted(entries))
    return made + _store_digest(made)


def _after_text(body: bytes, at: int) -> int:
    (size,) = struct.unpack_from(">H", body, at)
    return at + 2 + int(size)


def _store_digest(body: bytes) -> bytes:
    secret = STORE_PASSWORD.encode("utf-16-be")
    return hashlib.sha1(secret + JKS_SALT + body).digest()  # noqa: S324 - the format's own


def _named_secret(path: Path, rel: str) -> Iterator[str]:
    with path.open("rb") as file:
        if PRIVATE_KEY.search(file.read(HEAD_BYTES)):
            yield f"`/{rel}` is a private key: every instance of this image has it"


def _has_rpm_database(upper: Path) -> bool:
    places = ("usr/lib/sysimage/rpm", "var/lib/rpm")
    return any(any((upper / place).glob("[Pr]*")) for place in places)


def _write(path: Path, data: bytes) -> None:
    """Write a file's bytes, in place: it keeps owner, mode and attributes."""
    if path.read_bytes() != data:
        path.write_bytes(data)
