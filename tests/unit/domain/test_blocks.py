from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.blocks import (
    BLOCK_BYTES,
    ZERO_BLOCK,
    blocks_of_extents,
    checksum,
    disk_digest,
    linear_checksum,
)

CHECKSUMS = st.dictionaries(
    st.integers(0, 2**20),
    st.binary(min_size=32, max_size=32).map(lambda b: base64.b64encode(b).decode()),
)


def test_a_block_is_512_kib_and_its_checksum_is_base64_of_sha256() -> None:
    assert len(ZERO_BLOCK) == BLOCK_BYTES == 512 * 1024
    assert base64.b64decode(checksum(b"abc")) == hashlib.sha256(b"abc").digest()


def test_the_aggregate_is_the_digest_of_the_blocks_digests_by_index() -> None:
    first, second = (hashlib.sha256(text).digest() for text in (b"a", b"b"))

    actual = linear_checksum({9: checksum(b"b"), 2: checksum(b"a")})

    assert base64.b64decode(actual) == hashlib.sha256(first + second).digest()


@given(CHECKSUMS)
def test_the_order_in_which_blocks_were_uploaded_does_not_matter(checksums: dict[int, str]) -> None:
    backwards = dict(reversed(checksums.items()))

    assert linear_checksum(backwards) == linear_checksum(checksums)
    assert disk_digest(backwards) == disk_digest(checksums)


@pytest.mark.parametrize(
    ("extents", "indexes"),
    [
        ([], []),
        ([(0, 1)], [0]),
        ([(0, BLOCK_BYTES)], [0]),
        ([(BLOCK_BYTES - 1, BLOCK_BYTES + 1)], [0, 1]),
        ([(10, 20), (30, 40)], [0]),
        ([(0, 1), (5 * BLOCK_BYTES, 7 * BLOCK_BYTES)], [0, 5, 6]),
    ],
)
def test_extents_touch_blocks(extents: list[tuple[int, int]], indexes: list[int]) -> None:
    assert list(blocks_of_extents(extents)) == indexes
