"""Level-triggered loops: look at what is, do what is missing, again and again.

moto's model is changed by API calls; machines, groups, balancers and alarms follow
it in loops, so that a crash or a lost event never leaves them behind for longer
than one turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

log = logging.getLogger(__name__)

Thing = TypeVar("Thing")

CONTROL = threading.RLock()
"""Held around every control-plane call and every read or change of moto's model in a loop.

Never held while waiting for a program, a machine or a socket.
"""


def for_each(things: Iterable[Thing], act: Callable[[Thing], None]) -> None:
    """Do *act* for each, also when it fails for some: one broken group holds up no other.

    Raises:
        ExceptionGroup: What failed, all together, at the end.
    """
    failed: list[Exception] = []
    for thing in things:
        try:
            act(thing)
        except Exception as error:  # noqa: BLE001 - raised below
            failed.append(error)
    if failed:
        raise ExceptionGroup("Some of them failed", failed)


class Loop:
    """Calls *tick* every *every_s* seconds, or at once after :meth:`wake`, in a thread of its own.

    Args:
        name: Of the thread.
        every_s: Seconds between two ticks.
        tick: An exception in it is logged once per kind and does not end the loop.
    """

    def __init__(self, name: str, *, every_s: float, tick: Callable[[], None]) -> None:
        self._name, self._every_s, self._tick = name, every_s, tick
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._last = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Let the next tick come now."""
        self._wake.set()

    def stop(self, *, within_s: float = 10.0) -> None:
        """End after the present tick."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._tick()
                self._last = ""
            except Exception as error:
                if repr(error) != self._last:
                    self._last = repr(error)
                    log.exception("loop %s", self._name)
            # However often it is woken, calls get as much time as the loop.
            self._stop.wait(min(time.monotonic() - begun, self._every_s))
            self._wake.wait(self._every_s)
            self._wake.clear()
