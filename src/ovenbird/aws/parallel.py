"""The same call for many things, on some threads; the first failure ends all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")


def in_parallel(do: Callable[[Thing], object], things: Iterable[Thing], *, threads: int) -> None:
    """Call for each thing; each is taken from the iterable when a thread is free for it.

    Args:
        do: What is done with one of them.
        things: In the order in which they begin.
        threads: How many are under way at most.

    Raises:
        Exception: The first one that a call raised; what had not begun then never does.
    """
    waiting, taking, ended = iter(things), threading.Lock(), threading.Event()

    def work() -> None:
        while not ended.is_set():
            with taking:
                found = next(([thing] for thing in waiting), None)
            if found is None:
                return
            try:
                do(found[0])
            except BaseException:
                ended.set()
                raise

    with ThreadPoolExecutor(threads, thread_name_prefix="blocks") as pool:
        try:
            for worker in [pool.submit(work) for _ in range(threads)]:
                worker.result()
        finally:
            ended.set()  # also when it is interrupted from the keyboard
