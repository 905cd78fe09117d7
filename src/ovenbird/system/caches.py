"""Room on this host's disks: a full disk is said to be one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, OvenbirdError

IDLE = timedelta(hours=6)  # longer than any work takes: what is in use is never idle
_FULL = ("No space left on device", "enough free space in")  # the second are apt's words
FULL_ENDING = ": no space left"


def is_full(error: OSError) -> bool:
    """Tell whether an error means that a disk, or somebody's share of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def full_disk_errors(where: Path, *, hint: str = "") -> Iterator[None]:
    """Say it in our words when there is no space left for what the block does.

    Raises:
        OvenbirdError: A disk is full.
        CommandFailed: A program said so.
    """
    hint = hint or f"Free space below `{where}`, then start the same command again"
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise OvenbirdError(f"The disk with `{where}` is full", hint=hint) from error
    except CommandFailed as error:
        if not says_full(error):
            raise
        raise CommandFailed(f"{error}{FULL_ENDING}", hint=hint, **error.facts) from error


def says_full(error: CommandFailed) -> bool:
    """Tell whether a program said that a disk is full, and nobody has told it so yet."""
    text = f"{error} {error.facts.get('stderr')}"
    told = str(error).endswith(FULL_ENDING)  # by a block inside of this one
    return not told and any(words in text for words in _FULL)


def refuse_full_disk(where: Path, *, needed_mib: int) -> None:
    """Look before a long work whether there is room for it.

    Args:
        where: A directory that is there or will be.
        needed_mib: MiB that the work takes.

    Raises:
        OvenbirdError: Less is free.
    """
    free = free_mib(where)
    if free < needed_mib:
        raise OvenbirdError(
            f"The disk with `{where}` is nearly full: {free} MiB are free, {needed_mib} are needed",
            hint=f"Free space on the disk with `{_nearest(where)}`",
        )


def free_mib(where: Path) -> int:
    """Return how much room there is for a directory that is there or will be."""
    return shutil.disk_usage(_nearest(where)).free >> 20


def _nearest(where: Path) -> Path:
    return next(path for path in (where, *where.parents) if path.exists())
