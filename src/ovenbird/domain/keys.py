"""Keys that sign packages and repositories, as a person sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class KeyRole(StrEnum):
    """What a key is for.

    ``signs``: everything is signed with it. ``retired``: what it signed is still accepted by
    us, and clients no longer get it. ``unused``: it is in the home for something else.
    """

    SIGNS = "signs"
    RETIRED = "retired"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key.

    Args:
        fingerprint: Of the primary key, 40 uppercase hex digits.
        user_id: Who it says it is.
        algorithm: ``rsa3072``, ``ed25519``, ...
        expires_at: None for never.
        problem: Why it cannot sign now, as ``it expired on 2026-01-02``; empty when it can.
    """

    fingerprint: str
    user_id: str
    algorithm: str
    created_at: datetime
    expires_at: datetime | None = None
    problem: str = ""
    role: KeyRole = KeyRole.UNUSED
