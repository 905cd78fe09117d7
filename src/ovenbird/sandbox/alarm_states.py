"""Which state an alarm has, and why, in CloudWatch's words.

An alarm looks at its last N data points, and at two periods more when some are missing;
it fires when M of those that are there breach its threshold. What is still missing then
counts as ``TreatMissingData`` says.

Source: CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data" and
"Alarm evaluation"; StateReason as in its notifications.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

LOOK_BACK = 2  # periods before the last N; the guide's example looks at 5 for 3
_COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
COMPARISONS = frozenset(_COMPARISONS)
_FILLED = {"breaching": "Breaching", "notBreaching": "NonBreaching"}


class State(StrEnum):
    """CloudWatch's states of an alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """What missing data points are taken for."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When an alarm fires.

    Args:
        periods: N, how many data points are looked at.
        needed: M, how many of them must breach.
    """

    comparison: str
    threshold: float
    periods: int
    needed: int
    missing: Missing = Missing.MISSING

    def breached_by(self, value: float) -> bool:
        """Tell whether a value is on the wrong side of the threshold."""
        return _COMPARISONS[self.comparison][0](value, self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A data point.

    Args:
        begin: Of its period, Unix seconds.
    """

    begin: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A state and its reason; the points are those that were looked at, oldest first."""

    state: State
    reason: str
    points: tuple[Point, ...]


def judge(rule: Rule, window: Sequence[Point | None], *, present: State) -> Judged:
    """Return the state that an alarm should have.

    Args:
        rule: The alarm's.
        window: The last ``rule.periods + LOOK_BACK`` periods, oldest first.
        present: Its state now.
    """
    points = tuple(point for point in window if point is not None)[-rule.periods :]
    gaps = max(0, rule.periods - len(points)) if None in window[-rule.periods :] else 0
    state = _state(rule, window, points=points, gaps=gaps, present=present)
    return Judged(state=state, reason=_reason(rule, state, points=points, gaps=gaps), points=points)


def _state(
    rule: Rule,
    window: Sequence[Point | None],
    *,
    points: Sequence[Point],
    gaps: int,
    present: State,
) -> State:
    bad = sum(rule.breached_by(point.value) for point in points)
    bad += gaps if rule.missing is Missing.BREACHING else 0
    if bad >= rule.needed:
        return State.ALARM
    if rule.missing is Missing.MISSING and not points:
        return State.INSUFFICIENT_DATA
    if rule.missing is Missing.MISSING and _only_bad_since(rule, window):
        return State.ALARM
    if rule.missing is Missing.IGNORE and bad == len(points):
        return present
    return State.OK


def _only_bad_since(rule: Rule, window: Sequence[Point | None]) -> bool:
    """Tell whether nothing but breaching and missing is left since M periods or longer."""
    bad = [
        place
        for place, point in enumerate(window)
        if point is not None and rule.breached_by(point.value)
    ]
    there = sum(point is not None for point in window)
    return bool(bad) and len(bad) == there and bad[0] <= len(window) - rule.needed


def _reason(rule: Rule, state: State, *, points: Sequence[Point], gaps: int) -> str:
    if state is State.INSUFFICIENT_DATA:
        unknown = f"{_counted(gaps)} {_were(gaps)} unknown"
        return f"Insufficient Data: {unknown}."
    filled = _filled(rule, gaps)
    if not points:
        periods = "1 period" if rule.periods == 1 else f"{rule.periods} periods"
        return f"Threshold Crossed: no datapoints were received for {periods}{filled}."
    telling = [p for p in points if rule.breached_by(p.value) == (state is State.ALARM)] or points
    values = ", ".join(f"{p.value:.12g} ({_moment(p.begin)})" for p in telling)
    many = len(telling)
    crossed = "" if rule.breached_by(telling[0].value) else "not "
    words = f"{_were(many)} {crossed}{_COMPARISONS[rule.comparison][1]}"
    subject = f"{_counted(many)} [{values}]"
    if rule.periods > 1:
        subject = f"{many} out of the last {len(points) + gaps} datapoints [{values}]"
    return (
        f"Threshold Crossed: {subject} {words} the threshold ({rule.threshold:.12g})"
        f"{filled}{_transition(rule, state)}."
    )


def _transition(rule: Rule, state: State) -> str:
    if rule.periods == 1:
        return ""
    if state is State.ALARM:
        return f" (minimum {_counted(rule.needed)} for OK -> ALARM transition)"
    least = rule.periods - rule.needed + 1
    return f" (minimum {_counted(least)} for ALARM -> OK transition)"


def _filled(rule: Rule, gaps: int) -> str:
    word = _FILLED.get(rule.missing)
    if not gaps or word is None:
        return ""
    missing = "1 missing datapoint was" if gaps == 1 else f"{gaps} missing datapoints were"
    return f" and {missing} treated as [{word}]"


def _counted(number: int) -> str:
    return "1 datapoint" if number == 1 else f"{number} datapoints"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _moment(begin: int) -> str:
    return datetime.fromtimestamp(begin, tz=UTC).strftime("%d/%m/%y %H:%M:%S")
