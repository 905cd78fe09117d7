"""The catalog: which packages exist, what each came from, and which repository state holds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ovenbird.domain.packages import Package
from ovenbird.domain.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryState:
    """One numbered, immutable state of a repository's channel.

    In apt's words: ``deb [signed-by=KEY_PATH] file:DIRECTORY SUITE COMPONENT``.

    Args:
        number: Counts up by one with each publish, from 1.
        directory: Absolute directory on this host that is the root of the apt repository.
        suite: Names this very state for ever, as ``candidate-7``.
        key_path: Absolute path of the public key (binary, for ``signed-by``).
    """

    repository: str
    channel: str
    number: int
    directory: str
    suite: str
    component: str
    key_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One package with its provenance."""

    package: Package
    source: Source
    channel: str
    state_number: int
    published_at: datetime
    published_by: str
