"""Sharing: who may use an image, and what has to be done so that they may."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of KMS.

    Args:
        customer: Whether we manage it; AWS's own keys can be shared with nobody.
    """

    arn: str
    customer: bool
    enabled: bool
