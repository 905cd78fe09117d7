"""Serial numbers of bills of materials, from what they are about."""

from __future__ import annotations

import uuid


def serial(digest_sha256: str) -> uuid.UUID:
    """Return a number from a digest. Source: RFC 9562, 5.8: version 8 is free for such use."""
    number = int(digest_sha256[:32], 16)
    number = (number & ~(0xF << 76)) | (8 << 76)
    return uuid.UUID(int=(number & ~(0x3 << 62)) | (0x2 << 62))
