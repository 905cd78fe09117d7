from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ovenbird.aws.parallel import in_parallel


def test_each_thing_is_taken_once_and_only_when_a_thread_is_free() -> None:
    under_way, most, done = 0, 0, []
    lock = threading.Lock()

    def things() -> Iterator[int]:
        yield from range(200)

    def do(thing: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        with lock:
            under_way -= 1
            done.append(thing)

    in_parallel(do, things(), threads=4)

    assert sorted(done) == list(range(200))
    assert most <= 4


def test_the_first_failure_ends_the_rest() -> None:
    begun: list[int] = []

    def do(thing: int) -> None:
        begun.append(thing)
        if thing == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        in_parallel(do, range(100_000), threads=2)

    assert len(begun) < 100_000


def test_an_error_of_the_iterable_is_raised() -> None:
    def things() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        in_parallel(lambda _: None, things(), threads=2)
