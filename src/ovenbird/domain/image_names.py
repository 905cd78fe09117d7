"""Names of images: the same for the same bake, and what EC2 takes.

    hello-1.2.0-3f2a91c0b7de                app, version, bake key
    hello-1.2.0-3f2a91c0b7de-5e9d1c44       of a fresh bake: its release, too

Source: EC2 API reference, RegisterImage and CreateImage, ``Name``: 3 to 128 letters, digits,
parentheses, square brackets, spaces, periods, slashes, dashes, single quotes, at-signs and
underscores; known answers from Packer's tests in ``tests/cases/ami_names.json``.
"""

from __future__ import annotations

import hashlib
import re

from ovenbird.domain.errors import InvalidRequest

SHORTEST, LONGEST = 3, 128
KEY_CHARS, RELEASE_CHARS = 12, 8
_ALLOWED = r"a-zA-Z0-9()\[\] ./'@_-"


def image_name(app: str, version: str, *, key: str, fresh_for: str = "") -> str:
    """Return the name of an image.

    What is too long loses the end of app and version; the key stays whole.

    Args:
        app: Whose.
        version: Of its package.
        key: The bake's key, 64 hex digits.
        fresh_for: Release that wanted a bake of its own; empty for what any may use.
    """
    tail = f"-{key[:KEY_CHARS]}"
    if fresh_for:
        tail += f"-{hashlib.sha256(fresh_for.encode()).hexdigest()[:RELEASE_CHARS]}"
    return clean(f"{app}-{version}"[: LONGEST - len(tail)] + tail)


def clean(text: str) -> str:
    """Put a dash in the place of each character that EC2 does not take."""
    return re.sub(f"[^{_ALLOWED}]", "-", text)


def refuse_wrong(name: str) -> None:
    """Refuse a name that EC2 would not take.

    Raises:
        InvalidRequest: It is too short or too long, or has another character.
    """
    if not SHORTEST <= len(name) <= LONGEST:
        raise InvalidRequest(
            f"An image's name has {SHORTEST} to {LONGEST} characters, `{name}` has {len(name)}"
        )
    if wrong := re.sub(f"[{_ALLOWED}]", "", name):
        raise InvalidRequest(f"`{wrong[0]}` cannot be in an image's name: `{name}`")
