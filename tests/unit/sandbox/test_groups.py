"""What a group decides: lives, victims, places, pauses."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.sandbox.group_decisions import (
    COMING,
    LEAVING,
    Answer,
    Facts,
    Life,
    Peer,
    next_life,
    pause_s,
    place,
    sizes,
    victims,
)

RUNNING = Facts(machine="running")


def facts(machine: str = "running", **others: object) -> Facts:
    return Facts(machine=machine, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("life", "seen", "after"),
    [
        (Life.PENDING, facts("pending"), Life.PENDING),
        (Life.PENDING, facts(), Life.PENDING_PROCEED),
        (Life.PENDING, facts(hooked=True), Life.PENDING_WAIT),
        (Life.PENDING, facts("terminated", replaced=True), Life.TERMINATING),
        (Life.PENDING_WAIT, facts(hooked=True), Life.PENDING_WAIT),
        (Life.PENDING_WAIT, facts(answer=Answer.CONTINUE), Life.PENDING_PROCEED),
        (Life.PENDING_WAIT, facts(answer=Answer.ABANDON), Life.TERMINATING),
        (Life.PENDING_PROCEED, facts(), Life.IN_SERVICE),
        (Life.IN_SERVICE, facts(), Life.IN_SERVICE),
        (Life.IN_SERVICE, facts("stopped"), Life.IN_SERVICE),
        (Life.IN_SERVICE, facts(replaced=True), Life.TERMINATING),
        (Life.STANDBY, facts("stopped", replaced=True), Life.STANDBY),
        (Life.TERMINATING, facts(draining=True), Life.TERMINATING),
        (Life.TERMINATING, facts(), Life.TERMINATING_PROCEED),
        (Life.TERMINATING, facts(hooked=True), Life.TERMINATING_WAIT),
        (Life.TERMINATING_WAIT, facts(hooked=True), Life.TERMINATING_WAIT),
        (Life.TERMINATING_WAIT, facts(answer=Answer.CONTINUE), Life.TERMINATING_PROCEED),
        (Life.TERMINATING_WAIT, facts(answer=Answer.ABANDON), Life.TERMINATING_PROCEED),
        (Life.TERMINATING_PROCEED, facts("shutting-down"), Life.TERMINATING_PROCEED),
        (Life.TERMINATING_PROCEED, facts("terminated"), Life.GONE),
    ],
)
def test_a_life_goes_on(life: Life, seen: Facts, after: Life) -> None:
    assert next_life(life, seen) is after


ANY_FACTS = st.builds(
    Facts,
    machine=st.sampled_from(["pending", "running", "stopped", "shutting-down", "terminated"]),
    hooked=st.booleans(),
    answer=st.sampled_from(Answer),
    replaced=st.booleans(),
    draining=st.booleans(),
)


@given(st.lists(ANY_FACTS, max_size=30))
def test_nothing_that_leaves_comes_back(seen: list[Facts]) -> None:
    life, left = Life.PENDING, False
    for one in seen:
        life = next_life(life, one)
        assert not left or life in LEAVING
        left = left or life in LEAVING


@given(ANY_FACTS)
def test_an_instance_is_in_service_only_through_proceed(seen: Facts) -> None:
    before = [life for life in COMING if next_life(life, seen) is Life.IN_SERVICE]

    assert before in ([], [Life.PENDING_PROCEED])


def peer(name: str, zone: str = "a", **others: object) -> Peer:
    return Peer(instance_id=name, zone=zone, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peers", "number", "gone"),
    [
        ([peer("1", born=2), peer("2", born=1)], 1, ("2",)),
        ([peer("1", version=2, born=1), peer("2", version=1, born=2)], 1, ("2",)),
        ([peer("1"), peer("2", healthy=False)], 1, ("2",)),
        ([peer("1", "a"), peer("2", "b"), peer("3", "b")], 1, ("2",)),
        ([peer("1", "a"), peer("2", "b"), peer("3", "b")], 2, ("2", "1")),
        ([peer("1", protected=True), peer("2")], 2, ("2",)),
        ([peer("1", protected=True)], 1, ()),
        ([], 3, ()),
    ],
)
def test_who_goes(peers: list[Peer], number: int, gone: tuple[str, ...]) -> None:
    assert victims(peers, number) == gone


PEERS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=12).map(
    lambda found: [
        peer(str(place), zone, healthy=healthy, protected=protected)
        for place, (zone, healthy, protected) in enumerate(found)
    ]
)


@given(PEERS, st.integers(0, 12))
def test_as_many_go_as_may(peers: list[Peer], number: int) -> None:
    gone = victims(peers, number)
    free = {one.instance_id for one in peers if not one.protected}

    assert len(gone) == len(set(gone)) == min(number, len(free))
    assert set(gone) <= free


@given(st.integers(0, 12), st.integers(1, 4))
def test_zones_are_filled_and_emptied_evenly(number: int, zones: int) -> None:
    subnets = {f"subnet-{zone}": f"zone-{zone}" for zone in range(zones)}
    peers: list[Peer] = []
    for place_of in range(number):
        subnet = place(subnets, peers)
        peers.append(peer(str(place_of), subnets[subnet], subnet=subnet, born=place_of))
    for left in range(number, 0, -1):
        counts = Counter(one.zone for one in peers)
        spread = [counts[zone] for zone in subnets.values()]
        assert max(spread) - min(spread) <= 1
        assert len(peers) == left
        (gone,) = victims(peers, 1)
        peers = [one for one in peers if one.instance_id != gone]


def test_two_subnets_of_a_zone_are_used_in_turn() -> None:
    subnets = {"s1": "a", "s2": "a", "s3": "b"}
    peers: list[Peer] = []
    for number in range(4):
        subnet = place(subnets, peers)
        peers.append(peer(str(number), subnets[subnet], subnet=subnet))

    assert [one.subnet for one in peers] == ["s1", "s3", "s2", "s3"]


def test_pauses_double_up_to_a_minute() -> None:
    assert [pause_s(failures) for failures in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(-1, 5), st.integers(-1, 5), st.none() | st.integers(-1, 5))
def test_sizes_go_together_or_are_refused(low: int, high: int, desired: int | None) -> None:
    try:
        found = sizes(low, high, desired)
    except ValueError:
        assert low < 0 or low > high or (desired is not None and not low <= desired <= high)
    else:
        assert 0 <= low <= found <= high
        assert found == (low if desired is None else desired)
