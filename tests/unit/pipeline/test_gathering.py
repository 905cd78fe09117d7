"""Lines of programs are written a few at a time: all of them, in order, also when work fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from ovenbird.domain.errors import InvalidRequest, Unrecorded
from ovenbird.pipeline import gathering
from ovenbird.pipeline.gathering import gathered


def put_all(things: Iterable[object], write: Callable[[Sequence[object]], object]) -> None:
    with gathered(write) as put:
        for thing in things:
            put(thing)


def fail_after(line: str, written: list[Sequence[str]]) -> None:
    with gathered(written.append) as put:
        put(line)
        raise InvalidRequest("no such file")


def test_all_is_written_in_order_in_few_calls() -> None:
    written: list[Sequence[int]] = []

    with gathered(written.append) as put:
        for number in range(2000):
            put(number)

    assert [number for batch in written for number in batch] == list(range(2000))
    assert len(written) <= 2000 // gathering.MOST + 2


def test_nothing_given_is_nothing_written() -> None:
    written: list[Sequence[int]] = []

    with gathered(written.append):
        pass

    assert written == []


def test_what_was_said_before_a_failure_is_written() -> None:
    written: list[Sequence[str]] = []

    with pytest.raises(InvalidRequest, match="no such file"):
        fail_after("cc: looking", written)

    assert written == [["cc: looking"]]


def test_what_cannot_be_written_ends_the_work() -> None:
    def write(batch: Sequence[object]) -> None:
        raise Unrecorded(f"the disk is full at {batch[0]}")

    with pytest.raises(Unrecorded, match="full at 0"):
        put_all(range(10**7), write)
    with pytest.raises(Unrecorded, match="full at only"):
        put_all(["only"], write)
