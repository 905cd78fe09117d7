"""When an alarm fires; the tables are those of CloudWatch's user guide."""

from __future__ import annotations

import pytest

from ovenbird.sandbox.alarm_states import Missing, Point, Rule, State, judge

OK, ALARM, NONE = State.OK, State.ALARM, State.INSUFFICIENT_DATA
AT = 1_800_000_000


def window(text: str) -> list[Point | None]:
    """Read `0` as fine, `X` as breaching, `-` as missing; oldest first."""
    values = {"0": 0.0, "X": 9.0}
    return [
        Point(begin=AT + 60 * place, value=values[c]) if c in values else None
        for place, c in enumerate(text.replace(" ", ""))
    ]


def rule(periods: int, needed: int, missing: str = "missing") -> Rule:
    return Rule(
        comparison="GreaterThanThreshold",
        threshold=1.0,
        periods=periods,
        needed=needed,
        missing=Missing(missing),
    )


# Present is OK wherever the guide says "retain current state".
GUIDE = [
    # seen         N  M  missing  ignore breaching notBreaching
    ("0 - X - X", 3, 3, (OK, OK, OK, OK)),
    ("- - - - 0", 3, 3, (OK, OK, OK, OK)),
    ("- - - - -", 3, 3, (NONE, OK, ALARM, OK)),
    ("0 X X - X", 3, 3, (ALARM, ALARM, ALARM, ALARM)),
    ("- - X - -", 3, 3, (ALARM, OK, ALARM, OK)),
    ("0 - X - X", 3, 2, (ALARM, ALARM, ALARM, ALARM)),
    ("0 0 X 0 X", 3, 2, (ALARM, ALARM, ALARM, ALARM)),
    ("0 - X - -", 3, 2, (OK, OK, ALARM, OK)),
    ("- - - - 0", 3, 2, (OK, OK, ALARM, OK)),
    ("- - - X -", 3, 2, (ALARM, OK, ALARM, OK)),
]


@pytest.mark.parametrize(("seen", "periods", "needed", "states"), GUIDE)
def test_missing_data_counts_as_the_guide_says(
    seen: str, periods: int, needed: int, states: tuple[State, ...]
) -> None:
    for missing, state in zip(Missing, states, strict=True):
        found = judge(rule(periods, needed, missing), window(seen), present=OK)

        assert found.state is state, missing


@pytest.mark.parametrize("present", list(State))
def test_an_alarm_that_ignores_missing_data_keeps_its_state(present: State) -> None:
    for seen in ("- - - - -", "- - X - -"):
        assert judge(rule(3, 3, "ignore"), window(seen), present=present).state is present


@pytest.mark.parametrize(
    ("comparison", "value", "state"),
    [
        ("GreaterThanThreshold", 1.0, OK),
        ("GreaterThanOrEqualToThreshold", 1.0, ALARM),
        ("LessThanThreshold", 1.0, OK),
        ("LessThanOrEqualToThreshold", 1.0, ALARM),
        ("GreaterThanThreshold", 1.5, ALARM),
        ("LessThanThreshold", 0.5, ALARM),
    ],
)
def test_comparisons(comparison: str, value: float, state: State) -> None:
    one = Rule(comparison=comparison, threshold=1.0, periods=1, needed=1)

    assert judge(one, [None, None, Point(begin=AT, value=value)], present=OK).state is state


@pytest.mark.parametrize(
    ("alarm", "seen", "reason"),
    [
        (
            rule(1, 1), "0 0 X",
            ("Threshold Crossed: 1 datapoint [9 (15/01/27 08:02:00)] was greater than"
            " the threshold (1)."),
        ),
        (
            rule(2, 2), "0 0 X X",
            ("Threshold Crossed: 2 out of the last 2 datapoints [9 (15/01/27 08:02:00),"
            " 9 (15/01/27 08:03:00)] were greater than the threshold (1)"
            " (minimum 2 datapoints for OK -> ALARM transition)."),
        ),
        (
            rule(2, 2), "0 0 X 0",
            ("Threshold Crossed: 1 out of the last 2 datapoints [0 (15/01/27 08:03:00)] was not"
            " greater than the threshold (1) (minimum 1 datapoint for ALARM -> OK transition)."),
        ),
        (
            rule(2, 2, "notBreaching"), "- - - -",
            ("Threshold Crossed: no datapoints were received for 2 periods and 2 missing"
            " datapoints were treated as [NonBreaching]."),
        ),
        (
            rule(1, 1, "breaching"), "- - -",
            ("Threshold Crossed: no datapoints were received for 1 period and 1 missing"
            " datapoint was treated as [Breaching]."),
        ),
        (rule(1, 1), "- - -", "Insufficient Data: 1 datapoint was unknown."),
        (rule(2, 1), "- - - -", "Insufficient Data: 2 datapoints were unknown."),
    ],
)  # fmt: skip
def test_reasons_are_cloudwatchs(alarm: Rule, seen: str, reason: str) -> None:
    assert judge(alarm, window(seen), present=OK).reason == reason
