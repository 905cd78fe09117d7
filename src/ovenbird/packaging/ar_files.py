"""The outer form of a deb: an ar archive, whose members are found without reading them.

Source: deb(5); ar(5): a head of 60 bytes for each member, which begins at an even place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ovenbird.domain.errors import InvalidRequest

MAGIC = b"!<arch>\n"
HEAD_BYTES = 60
CHUNK_BYTES = 1 << 20
_END = b"`\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member.

    Args:
        head_at: Where its head begins, bytes from the start.
        size: Bytes, without head and padding.
    """

    name: str
    head_at: int
    size: int

    @property
    def begins_at(self) -> int:
        """Where its bytes begin."""
        return self.head_at + HEAD_BYTES

    @property
    def ends_at(self) -> int:
        """Where the next member's head begins."""
        return self.begins_at + self.size + self.size % 2


def members(path: Path) -> tuple[Member, ...]:
    """Return all members in order.

    Raises:
        InvalidRequest: It is no ar archive, or it is damaged.
    """
    with path.open("rb") as file:
        whole = file.seek(0, 2)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise InvalidRequest(f"`{path}` is no deb: it is no ar archive")
        return tuple(_members(file, whole, path))


def _members(file: BinaryIO, whole: int, path: Path) -> Iterator[Member]:
    at = len(MAGIC)
    while at < whole:
        file.seek(at)
        head = file.read(HEAD_BYTES)
        digits = head[48:58].strip()
        if len(head) < HEAD_BYTES or head[58:] != _END or not digits.isdigit():
            raise InvalidRequest(f"`{path}` is damaged: no member begins at byte {at}")
        name = head[:16].decode("ascii", "replace").rstrip().removesuffix("/")
        member = Member(name=name, head_at=at, size=int(digits))
        if member.begins_at + member.size > whole:
            raise InvalidRequest(f"`{path}` is damaged: `{name}` breaks off")
        yield member
        at = member.ends_at


def copy(source: BinaryIO, target: BinaryIO, *, start: int, size: int) -> None:
    """Append some bytes of one file to another."""
    source.seek(start)
    while size > 0:
        chunk = source.read(min(CHUNK_BYTES, size))
        if not chunk:
            raise InvalidRequest("A package became shorter while it was read")
        target.write(chunk)
        size -= len(chunk)


def member_bytes(name: str, data: bytes, *, epoch_s: int) -> bytes:
    """Return a whole member: head, bytes, padding; owner and group are root, mode 644.

    Args:
        name: At most 16 characters.
        data: Its bytes.
        epoch_s: Its time, seconds since 1970.
    """
    head = f"{name:<16}{epoch_s:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}".encode()
    return head + _END + data + b"\n" * (len(data) % 2)
