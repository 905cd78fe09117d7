"""Tags, as values and as AWS writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def to_aws(tags: Mapping[str, str]) -> list[Any]:
    """Return tags as ``{"Key": k, "Value": v}`` pairs, sorted by key; all services take these."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def from_aws(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}
