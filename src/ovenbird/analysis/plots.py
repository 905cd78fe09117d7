"""A pair of measurements over time as a few lines of text, for terminals.

::

    errors
      canary   ▅▇▃▇▄▄▆▄▅▂▆▅▄▆▄▅▃▄▄▄▆▄▅██▅▅▄▄█  1.00% to 5.50%
      baseline ▂▁▂▃▂▄▁▂▂▁▂▃▂▂▃▂▂▃▂▃▃▃▂▃▂▁▃▄▄▂  0.00% to 2.00%
      50 %     |         :├────────────────────┤  +1.03 to +3.24 points
      100 %    |         :   ├─────────────┤      +1.18 to +2.90 points

Both sides share one scale. The last lines show, after each quarter of the time, between which
limits the difference was known to lie, 0 (``|``) and the tolerance (``:``) marked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from ovenbird.domain.judging import Counts, Direction, MetricSpec, Pair, Value

Side = tuple[Counts, ...] | tuple[Value, ...]

BARS = "▁▂▃▄▅▆▇█"
GAP = " "
LABEL = 11  # characters before a line's drawing
LOOKS = 4  # at which the interval is shown
LEAST_WIDTH = 20
TEXT = 26  # characters that are left for numbers after a drawing
LEVEL = math.log(20)  # evidence for each end of an interval: right at all looks in 95 of 100
MARGIN = 0.2  # around the intervals' ends, of what is shown


def plot(pair: Pair, *, width: int) -> tuple[str, ...]:
    """Return lines no longer than *width*: both sides over time, and what was known when.

    Args:
        pair: Of one metric.
        width: Characters; below 57 the drawing stays at its least and lines get longer.
    """
    room = max(LEAST_WIDTH, width - LABEL - TEXT)
    sides = {"canary": _points(pair.canary), "baseline": _points(pair.baseline)}
    drawn = {name: _resampled(side, room, pair.spec) for name, side in sides.items()}
    known = [value for side in drawn.values() for value in side if not math.isnan(value)]
    if not known:
        return (pair.spec.name, "  nothing was measured")
    low, high = min(known), max(known)
    lines = [pair.spec.name]
    for name, side in drawn.items():
        lines.append(_line(name, _sparkline(side, low, high), _span(side, pair.spec)))
    return (*lines, *_intervals(pair, room))


def _points(side: Sequence[Counts] | Sequence[Value]) -> list[float]:
    return [
        (item.bad / item.total if item.total > 0 else math.nan)
        if isinstance(item, Counts)
        else item.value
        for item in side
    ]


def _resampled(values: Sequence[float], room: int, spec: MetricSpec) -> list[float]:
    """Return no more than so many numbers: the mean, or the quantile, of those of its time."""
    if len(values) <= room:
        return list(values)
    parts = [values[i * len(values) // room : (i + 1) * len(values) // room] for i in range(room)]
    return [_middle([value for value in part if not math.isnan(value)], spec) for part in parts]


def _middle(values: Sequence[float], spec: MetricSpec) -> float:
    if not values:
        return math.nan
    if spec.is_share:
        return sum(values) / len(values)
    return sorted(values)[math.ceil(spec.quantile * len(values)) - 1]


def _sparkline(values: Sequence[float], low: float, high: float) -> str:
    size = (high - low) or 1.0
    top = len(BARS) - 1
    return "".join(
        GAP if math.isnan(value) else BARS[round((value - low) / size * top)] for value in values
    )


def _span(values: Sequence[float], spec: MetricSpec) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "nothing was measured"
    low, high = (_number(value, spec) for value in (min(known), max(known)))
    return low if low == high else f"{low} to {high}"


def _number(value: float, spec: MetricSpec) -> str:
    return f"{value:.2%}" if spec.is_share else f"{value:.4g}"


def _line(label: str, drawing: str, text: str) -> str:
    return f"  {label:<{LABEL - 2}}{drawing}  {text}"


def _intervals(pair: Pair, room: int) -> list[str]:
    """Return a line for each of some looks: the interval of the difference then."""
    found = [(label, ends) for label, ends in _looks(pair) if ends]
    if not found:
        return []
    middle = 0.0 if pair.spec.is_share else 1.0
    marks = {middle: "|"} | dict.fromkeys(_tolerances(pair.spec, middle), ":")
    ends = [end for _, interval in found for end in interval]
    first, last = found[-1][1]
    margin = MARGIN * (last - first)
    low = max(min(ends), min(first - margin, *marks))
    high = min(max(ends), max(last + margin, *marks))
    return [
        _line(label, _bar(interval, marks, (low, high), room), _words(interval, pair.spec))
        for label, interval in found
    ]


def _tolerances(spec: MetricSpec, middle: float) -> list[float]:
    ends = {
        Direction.INCREASE: [spec.tolerance],
        Direction.DECREASE: [-spec.tolerance],
        Direction.EITHER: [-spec.tolerance, spec.tolerance],
    }
    return [middle + end for end in ends[spec.direction] if end]


def _looks(pair: Pair) -> list[tuple[str, tuple[float, float] | None]]:
    """Return what was known after each quarter of the time."""
    from ovenbird.analysis.metric_evidence import compared  # noqa: PLC0415 - numpy takes a while

    times = sorted({item.at for item in (*pair.canary, *pair.baseline)})
    found: list[tuple[str, tuple[float, float] | None]] = []
    for look in range(1, LOOKS + 1):
        until = times[-(-len(times) * look // LOOKS) - 1]
        seen = Pair(
            spec=pair.spec,
            canary=_until(pair.canary, until),
            baseline=_until(pair.baseline, until),
        )
        comparison = compared(seen)
        label = f"{look * 100 // LOOKS} %"
        found.append((label, comparison.interval(LEVEL, LEVEL) if comparison else None))
    return found


def _until(side: Sequence[Counts] | Sequence[Value], until: datetime) -> Side:
    counts = tuple(item for item in side if isinstance(item, Counts) and item.at <= until)
    values = tuple(item for item in side if isinstance(item, Value) and item.at <= until)
    return counts or values


def _bar(
    interval: tuple[float, float],
    marks: Mapping[float, str],
    shown: tuple[float, float],
    room: int,
) -> str:
    """Draw an interval: ``├──┤``, open where it reaches beyond what is shown."""
    low, high = shown

    def place(value: float) -> int:
        share = (value - low) / ((high - low) or 1.0)
        return round(min(max(share, 0.0), 1.0) * (room - 1))

    first, last = (place(end) for end in interval)
    cells = [" "] * room
    for position in range(first, last + 1):
        cells[position] = "─"
    cells[first] = "├" if interval[0] >= low else "←"
    cells[last] = "┤" if interval[1] <= high else "→"
    for value, mark in marks.items():
        cells[place(value)] = mark
    return "".join(cells)


def _words(interval: tuple[float, float], spec: MetricSpec) -> str:
    if spec.is_share:
        low, high = (f"{end * 100:+.2f}" for end in interval)
        return f"{low} to {high} points"
    low, high = (f"{end - 1:+.1%}" if end < 10 else f"{end:.3g} times" for end in interval)
    return f"{low} to {high}"
