"""Many small things written a few at a time, as the lines that a program prints.

A transaction for each would take longer than the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeVar

Thing = TypeVar("Thing")
GATHERED_S = 0.2  # who waits sees a thing that much later at most
MOST = 500  # in one call


@contextmanager
def gathered(write: Callable[[Sequence[Thing]], object]) -> Iterator[Callable[[Thing], None]]:
    """Yield what takes things; all are written, in their order, when the block ends.

    Args:
        write: Called from a thread of its own. What it raises comes out of the next thing
            that is given, or of the end of the block.
    """
    things: SimpleQueue[Thing | None] = SimpleQueue()
    with ThreadPoolExecutor(1, thread_name_prefix="gathering") as pool:
        writing = pool.submit(_write_all, things, write)

        def put(thing: Thing) -> None:
            if writing.done():
                writing.result()
            things.put(thing)

        try:
            yield put
        finally:
            things.put(None)
            writing.result()


def _write_all(
    things: SimpleQueue[Thing | None], write: Callable[[Sequence[Thing]], object]
) -> None:
    is_last = False
    while not is_last:
        batch, is_last = _batch(things)
        if batch:
            write(batch)


def _batch(things: SimpleQueue[Thing | None]) -> tuple[list[Thing], bool]:
    """Wait for a thing, and take those that follow it soon; true when the last was among them."""
    found: list[Thing] = []
    thing = things.get()
    until = monotonic() + GATHERED_S
    while thing is not None:
        found.append(thing)
        left = until - monotonic()
        if left <= 0 or len(found) == MOST:
            return found, False
        try:
            thing = things.get(timeout=left)
        except Empty:
            return found, False
    return found, True
