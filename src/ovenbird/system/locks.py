"""A lock between processes of this host; the kernel lets go of it when its holder dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import Conflict


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock that belongs to *path* for as long as the block runs.

    Args:
        path: A file; made when it is missing, never removed.
        wait: Wait for another holder; otherwise raise at once.

    Raises:
        Conflict: Another process holds it and *wait* is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise Conflict(f"`{path}` is held by another process") from error
        yield
