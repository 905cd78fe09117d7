"""One call serves many who ask; none gets an answer from before its own write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ovenbird.aws import throttling
from ovenbird.aws.shared_reads import SharedRead
from ovenbird.domain.errors import Aborted, NotFound, Throttled

SOON_S = 10


class World:
    """Something that is read and written; the first calls wait to be let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.values = {f"k{number}": 0 for number in range(500)}
        self.calls: list[tuple[str, ...]] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.fails: Exception | None = None
        if not held:
            self.go.set()

    def read(self, keys: Sequence[str]) -> dict[str, int]:
        self.calls.append(tuple(keys))
        seen = {key: self.values[key] for key in keys if key in self.values}
        self.begun.release()
        assert self.go.wait(SOON_S)
        if self.fails:
            raise self.fails
        return seen


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def asked(pool: ThreadPoolExecutor, reads: SharedRead[str, int], keys: Sequence[str]) -> list[int]:
    return list(pool.map(reads.get, keys))


def test_those_who_ask_while_a_call_is_under_way_share_the_next_one() -> None:
    world = World(held=True)
    reads = SharedRead(world.read, at_once=100)
    with ThreadPoolExecutor(101) as pool:
        first = pool.submit(reads.get, "k0")
        assert world.begun.acquire(timeout=SOON_S)
        others = [pool.submit(reads.get, f"k{number}") for number in range(100)]
        until(lambda: len(reads._asked) == 100)
        world.go.set()
        answers = [one.result(SOON_S) for one in (first, *others)]

    assert answers == [0] * 101
    assert [len(call) for call in world.calls] == [1, 100]


def test_those_who_ask_for_the_same_share_one_call() -> None:
    world = World(held=True)
    reads = SharedRead(world.read, at_once=1)
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(reads.get, "k1")
        assert world.begun.acquire(timeout=SOON_S)
        others = [pool.submit(reads.get, "k7") for _ in range(20)]
        until(lambda: pool._work_queue.empty() and len(reads._asked) == 1)
        world.go.set()
        for one in (first, *others):
            one.result(SOON_S)

    assert world.calls[0] == ("k1",)
    assert 1 <= world.calls.count(("k7",)) <= 2  # one may ask after the call began


def test_no_call_is_for_more_than_goes_into_one() -> None:
    world = World()
    reads = SharedRead(world.read, at_once=30)

    found = reads.find_all([f"k{number}" for number in range(100)])

    assert len(found) == 100
    assert max(len(call) for call in world.calls) <= 30
    assert sorted(key for call in world.calls for key in call) == sorted(found)


def test_an_answer_comes_from_a_call_that_began_after_it_was_asked_for() -> None:
    world = World(held=True)
    reads = SharedRead(world.read, at_once=10)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(reads.get, "k1")
        assert world.begun.acquire(timeout=SOON_S)  # the call has read the old value
        world.values["k1"] = 1
        after = pool.submit(reads.get, "k1")
        until(lambda: len(reads._asked) == 1)
        world.go.set()

        assert (before.result(SOON_S), after.result(SOON_S)) == (0, 1)


def test_an_older_answer_serves_who_takes_one_as_long_as_it_is_young_enough() -> None:
    world, clock = World(), Hand()
    reads = SharedRead(world.read, at_once=10, clock=clock)
    reads.get("k1")
    world.values["k1"] = 1
    clock.now += 2

    assert reads.get("k1", max_age_s=5) == 0
    clock.now += 4
    assert reads.get("k1", max_age_s=5) == 1
    assert len(world.calls) == 2


def test_a_read_after_a_write_never_sees_what_was_kept_before_it() -> None:
    world, clock = World(), Hand()
    reads = SharedRead(world.read, at_once=10, clock=clock)
    reads.get("k1")
    clock.now += 1
    world.values["k1"] = 1
    reads.forget("k1")

    assert reads.get("k1", max_age_s=60) == 1


def test_a_call_that_was_under_way_when_something_was_written_is_not_kept() -> None:
    world, clock = World(held=True), Hand()
    reads = SharedRead(world.read, at_once=10, clock=clock)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(reads.get, "k1")
        assert world.begun.acquire(timeout=SOON_S)
        clock.now += 1
        world.values["k1"] = 1
        reads.forget("k1")
        world.go.set()
        slow.result(SOON_S)
    clock.now += 1

    assert reads.get("k1", max_age_s=60) == 1


def test_an_error_goes_to_all_who_shared_the_call_and_to_nobody_else() -> None:
    world = World(held=True)
    reads = SharedRead(world.read, at_once=10)
    with ThreadPoolExecutor(4) as pool:
        sharing = [pool.submit(reads.get, key) for key in ("k1", "k1", "k1")]
        until(lambda: bool(world.calls))
        world.fails = Throttled("one too many")
        world.go.set()
        errors = [one.exception(SOON_S) for one in sharing]
    world.fails = None

    assert {type(error) for error in errors} == {Throttled}
    assert reads.get("k1") == 0


def test_what_the_call_has_nothing_for_is_not_found() -> None:
    reads = SharedRead(World().read, at_once=10)

    assert reads.find("no such key") is None
    with pytest.raises(NotFound, match="no such key"):
        reads.get("no such key")


def test_who_ends_waiting_harms_nobody() -> None:
    world = World(held=True)
    reads = SharedRead(world.read, at_once=10)

    def ended() -> None:
        raise Aborted("Aborted by somebody")

    def impatient() -> None:
        with throttling.listening(lambda _: None, ended):
            reads.get("k1")

    with ThreadPoolExecutor(2) as pool:
        patient = pool.submit(reads.get, "k1")
        assert world.begun.acquire(timeout=SOON_S)
        assert isinstance(pool.submit(impatient).exception(SOON_S), Aborted)
        world.go.set()

        assert patient.result(SOON_S) == 0


def test_a_crowd_is_served_whole() -> None:
    world = World()
    reads = SharedRead(world.read, at_once=50, calls=3)
    keys = [f"k{number % 500}" for number in range(2000)]
    with ThreadPoolExecutor(64) as pool:
        answers = asked(pool, reads, keys)

    assert answers == [0] * 2000
    assert len(world.calls) < 2000


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(int(SOON_S / 0.005)):
        if true():
            return
        threading.Event().wait(0.005)
    raise TimeoutError
