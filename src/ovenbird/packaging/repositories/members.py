"""Compressed files that are made of members, so that one can change and the rest is copied.

    file = head + member + member + ... + tail

A member is what one shard of a repository adds to an index. A gzip file may hold several
members and a zstd file several frames: real apt and dnf read them all. Of an xz file apt reads
the first *stream* only (measured on 2026-11-25 with apt 2.6.2: an index of 256 streams was
refused for its size), so xz members are the *blocks* of one stream, whose index of blocks is
written anew; apt and xz read that completely.

Source: RFC 1952, 2.2 (members); RFC 8878, 3 (frames); "The .xz File Format" 1.1.0.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import zstandard

GZIP_LEVEL = 6
ZSTD_LEVEL = 9  # 10,240 stanzas in 256 members: 0.03 s; measured on 2026-11-25
_XZ_HEAD_BYTES = 12
_XZ_FOOT_BYTES = 12
_XZ_CHECK = lzma.CHECK_CRC64
_XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 2, "dict_size": 1 << 20}]

_XZ_HEAD = lzma.compress(b"", check=_XZ_CHECK)[:_XZ_HEAD_BYTES]  # magic, flags, their CRC32


class Encoding(StrEnum):
    """How an index file is compressed; the value is the ending of its name."""

    GZ = "gz"
    XZ = "xz"
    ZST = "zst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One compressed piece.

    Args:
        size: Bytes; of an xz block without the padding that *data* ends with.
        text_bytes: Bytes before compression.
    """

    data: bytes
    size: int
    text_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFile:
    """A file made of members.

    Args:
        head_bytes: How many bytes stand before the first member.
    """

    data: bytes
    head_bytes: int


def member(encoding: Encoding, text: bytes) -> Member:
    """Compress one piece."""
    if encoding is Encoding.GZ:
        data = gzip.compress(text, GZIP_LEVEL, mtime=0)
    elif encoding is Encoding.ZST:
        data = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(text)
    else:
        return _xz_block(text)
    return Member(data=data, size=len(data), text_bytes=len(text))


def joined(
    encoding: Encoding, members: Iterable[Member], *, before: bytes = b"", after: bytes = b""
) -> MemberFile:
    """Make a file of members.

    Args:
        encoding: Of the members.
        members: In their order.
        before: Text that stands before them; never in xz.
        after: Text that stands after them; never in xz.
    """
    pieces = list(members)
    if encoding is Encoding.XZ:
        data = b"".join([_XZ_HEAD, *(piece.data for piece in pieces), _xz_tail(pieces)])
        return MemberFile(data=data, head_bytes=_XZ_HEAD_BYTES)
    # A file without any member would be no file of its kind: then the head is an empty one.
    head = member(encoding, before).data if before or not pieces else b""
    tail = member(encoding, after).data if after else b""
    data = b"".join([head, *(piece.data for piece in pieces), tail])
    return MemberFile(data=data, head_bytes=len(head))


def cut(
    encoding: Encoding, data: bytes, sizes: Mapping[int, tuple[int, int]], *, head_bytes: int
) -> dict[int, Member]:
    """Take a file apart into its members.

    Args:
        encoding: Of the file.
        data: The file.
        sizes: Number of the member → its size and that of its text, in the file's order.
        head_bytes: As :class:`MemberFile` has it.
    """
    found, at = {}, head_bytes
    for number, (size, text_bytes) in sizes.items():
        end = at + (size + (-size % 4 if encoding is Encoding.XZ else 0))
        found[number] = Member(data=data[at:end], size=size, text_bytes=text_bytes)
        at = end
    return found


def zstd_texts(pieces: Iterable[Member]) -> Iterator[bytes]:
    """Yield what zstd members were made of.

    Raises:
        ValueError: One is damaged.
    """
    reader = zstandard.ZstdDecompressor()  # one for all: making it costs as much as a member
    for piece in pieces:
        try:
            text = reader.decompress(piece.data, max_output_size=piece.text_bytes)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        if len(text) != piece.text_bytes:
            raise ValueError(f"{len(text)} bytes instead of {piece.text_bytes}")
        yield text


def _xz_block(text: bytes) -> Member:
    """Compress into a stream of one block, and take the block."""
    stream = lzma.compress(text, check=_XZ_CHECK, filters=_XZ_FILTERS)
    index_bytes = (struct.unpack("<I", stream[-8:-4])[0] + 1) * 4
    index = stream[-_XZ_FOOT_BYTES - index_bytes : -_XZ_FOOT_BYTES]
    size = _read_number(index, 2)  # after the indicator and the number of records, which is 1
    block = stream[_XZ_HEAD_BYTES : _XZ_HEAD_BYTES + size + -size % 4]
    return Member(data=block, size=size, text_bytes=len(text))


def _xz_tail(pieces: list[Member]) -> bytes:
    """Return a stream's index of blocks, and its footer."""
    records = b"".join(_number(piece.size) + _number(piece.text_bytes) for piece in pieces)
    index = b"\0" + _number(len(pieces)) + records
    index += b"\0" * (-len(index) % 4)
    index += struct.pack("<I", zlib.crc32(index))
    sizes_and_flags = struct.pack("<I", len(index) // 4 - 1) + bytes([0, _XZ_CHECK])
    return index + struct.pack("<I", zlib.crc32(sizes_and_flags)) + sizes_and_flags + b"YZ"


def _number(value: int) -> bytes:
    """Write a number in seven bits a byte, the lowest first; the last byte has no high bit."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_number(data: bytes, at: int) -> int:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift
