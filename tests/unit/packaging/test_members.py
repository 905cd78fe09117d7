from __future__ import annotations

import gzip
import lzma

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.packaging.repositories.members import Encoding, cut, joined, member, zstd_texts

TEXTS = st.lists(st.binary(min_size=1, max_size=500), max_size=6)


def opened(encoding: Encoding, data: bytes) -> bytes:
    """Decompress with the library, as one who knows nothing of members."""
    if encoding is Encoding.GZ:
        return gzip.decompress(data)
    if encoding is Encoding.XZ:
        return lzma.decompress(data)
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    return reader.read()


@pytest.mark.parametrize("encoding", list(Encoding))
@settings(deadline=None, max_examples=50)
@given(texts=TEXTS)
def test_a_file_of_members_reads_as_their_texts(encoding: Encoding, texts: list[bytes]) -> None:
    made = joined(encoding, [member(encoding, text) for text in texts])

    assert opened(encoding, made.data) == b"".join(texts)


@pytest.mark.parametrize("encoding", list(Encoding))
@settings(deadline=None, max_examples=50)
@given(texts=TEXTS)
def test_cutting_is_the_inverse_of_joining(encoding: Encoding, texts: list[bytes]) -> None:
    pieces = [member(encoding, text) for text in texts]
    made = joined(encoding, pieces)
    sizes = {number: (piece.size, piece.text_bytes) for number, piece in enumerate(pieces)}

    found = cut(encoding, made.data, sizes, head_bytes=made.head_bytes)
    assert list(found.values()) == pieces


def test_text_around_the_members_is_compressed_too() -> None:
    pieces = [member(Encoding.ZST, text) for text in (b"one", b"two")]
    made = joined(Encoding.ZST, pieces, before=b"<", after=b">")

    assert opened(Encoding.ZST, made.data) == b"<onetwo>"
    assert list(zstd_texts(pieces)) == [b"one", b"two"]


def test_a_spliced_xz_file_is_one_stream_as_apt_needs_it() -> None:
    pieces = [member(Encoding.XZ, bytes([number]) * 1000) for number in range(256)]
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    text = reader.decompress(joined(Encoding.XZ, pieces).data)

    assert (len(text), reader.eof, reader.unused_data) == (256_000, True, b"")


def test_a_damaged_member_is_said_to_be_so() -> None:
    piece = member(Encoding.ZST, b"some text" * 100)
    torn = type(piece)(data=piece.data[:-3], size=piece.size, text_bytes=piece.text_bytes)

    with pytest.raises(ValueError, match="decompress"):
        list(zstd_texts([torn]))
