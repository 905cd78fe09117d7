"""Waiting for AWS: one function, which says at the end what it last saw."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from ovenbird.domain.errors import Unhealthy
from ovenbird.domain.ports import Clock

Seen = TypeVar("Seen")


def await_state(
    what: str,
    look: Callable[[], Seen],
    *,
    done: Callable[[Seen], bool],
    within: timedelta,
    every: timedelta | tuple[timedelta, timedelta],
    clock: Clock,
) -> Seen:
    """Look again and again until it is done, and return what was seen last.

    Args:
        what: For the error, as in "snapshot `snap-1`".
        look: Asks AWS; raises when waiting longer is of no use.
        done: Tells whether what was seen is enough.
        within: How long to look.
        every: How long to pause between two looks; of two, it grows from the first to the second.
        clock: Knows the time.

    Raises:
        Unhealthy: It was not done in time; says the last state seen.
    """
    deadline = clock.now() + within
    pause, longest = every if isinstance(every, tuple) else (every, every)
    while not done(seen := look()):
        if clock.now() >= deadline:
            raise Unhealthy(
                f"{what} is still `{seen}` after {within.total_seconds():g} s",
                hint="Look at it in the account, then start the same command again",
            )
        clock.sleep(pause.total_seconds())
        pause = min(pause * 1.5, longest)
    return seen
