"""From packages to a numbered state of a signed repository."""

from __future__ import annotations

from collections.abc import Sequence

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Clock, Progress, Repository


def publish(
    packages: Sequence[Package],
    *,
    repository: Repository,
    channel: str,
    clock: Clock,
    progress: Progress,
) -> RepositoryState:
    """Add packages to the repository; publishing them again changes nothing.

    Raises:
        Conflict: Another package of the same name, version and architecture is published.
    """
    state = repository.publish(packages, channel=channel, at=clock.now())
    names = ", ".join(f"`{package.name}` {package.version}" for package in packages)
    progress(f"Published {names}: state {state.number} of channel `{state.channel}`")
    return state
