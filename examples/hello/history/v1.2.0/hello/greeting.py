"""What the app says to those who ask for `/`, and how busy it is.

1.2.0 counts visitors, badly: alone it is fine, under load every fifth request fails and
every fourth waits. No health check sees that; a canary does.
"""

from __future__ import annotations

import collections
import threading
import time

BUSY = 3  # requests in the last second
WAIT_S = 0.4

_seen: collections.deque[float] = collections.deque(maxlen=1000)
_count = 0
_lock = threading.Lock()


def page(greeting: str) -> str:
    """Return the page with the number of visitors of the last second."""
    visitors, number = _visit(time.monotonic())
    if visitors > BUSY and number % 5 == 0:
        raise RuntimeError("the visitors' book is full")
    if visitors > BUSY and number % 4 == 1:
        time.sleep(WAIT_S)  # noqa: TID251 - the fault that the judge has to find
    return f"{greeting}, world! {visitors} of you are here.\n"


def _visit(now: float) -> tuple[int, int]:
    """Note one visit; return the visits of the last second and of all time."""
    global _count  # noqa: PLW0603
    with _lock:
        _count += 1
        _seen.append(now)
        return sum(at > now - 1.0 for at in _seen), _count
