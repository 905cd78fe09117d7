"""What a stored thing may be called, in a directory as in a bucket."""

from __future__ import annotations

from ovenbird.domain.errors import InvalidRequest

NAME_BYTES = 900  # S3 allows 1,024 for prefix and name; Source: S3 user guide, "Object keys"
PART_BYTES = 240  # a file name may have 255, of which the parts of writers take some


def stored_name(name: str) -> str:
    """Return *name* when it is a relative path that stays inside of the storage.

    Raises:
        InvalidRequest: It is empty, absolute, too long, or has a part that is empty, ``.``
            or ``..``, or a control character.
    """
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise InvalidRequest(f"`{name}` is no name for stored bytes: it is no plain relative path")
    if not name.isprintable():
        raise InvalidRequest(f"{name!r} is no name for stored bytes: it has control characters")
    if len(name.encode()) > NAME_BYTES or any(len(part.encode()) > PART_BYTES for part in parts):
        raise InvalidRequest(f"`{name[:80]}...` is no name for stored bytes: it is too long")
    return name
