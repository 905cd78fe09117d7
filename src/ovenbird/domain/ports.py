"""Ports: what stages need from the outside, in domain words.

``aws``, ``system`` and the tests' worlds satisfy them by shape; nothing inherits from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.packages import Package

Progress = Callable[[str], None]
"""Takes one sentence about what is happening now, for a person who waits."""


class Clock(Protocol):
    """Time, which only adapters know."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class Repository(Protocol):
    """A signed package repository; publishing twice is publishing once."""

    def publish(self, packages: Sequence[Package], *, at: datetime) -> RepositoryState: ...
