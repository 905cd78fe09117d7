from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.durations import counted, spoken
from ovenbird.domain.words import PROMOTE, Words, continue_word


@given(st.lists(st.sampled_from(["pause", "continue"])))
def test_the_last_of_pause_and_continue_counts_and_each_may_be_said_again(
    acts: list[str],
) -> None:
    said: dict[str, str] = {}
    for act in acts:
        words = Words(said=dict(said))
        if act == "pause":
            said.setdefault(words.next_pause, "ann")
        elif words.pause:
            said.setdefault(continue_word(words.pause), "ben")

    stands = bool(acts) and acts[-1] == "pause"
    assert bool(Words(said=said).pause) is stands


def test_a_promotion_ends_what_a_plan_waits_for_and_no_pause() -> None:
    promoted = Words(said={PROMOTE: "ann"})

    assert promoted.lets_go("action 7")
    assert not promoted.lets_go("pause 1")
    assert not Words().lets_go("action 7")
    assert Words(said={continue_word("pause 1"): "ben"}).lets_go("pause 1")


def test_who_promoted_is_known() -> None:
    assert Words().promoted_by == ""
    assert Words(said={PROMOTE: "ann"}).promoted_by == "ann"


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=119), "1 minute"),
        (timedelta(hours=5), "5 hours"),
        (timedelta(hours=25), "1 day"),
        (timedelta(seconds=-3), "0 seconds"),
    ],
)
def test_durations_are_said_in_their_largest_unit(duration: timedelta, text: str) -> None:
    assert spoken(duration) == text


def test_one_is_no_plural() -> None:
    assert [counted(n, "day") for n in (0.5, 1, 1.0, 30)] == [
        "0.5 days", "1 day", "1 day", "30 days",
    ]  # fmt: skip
