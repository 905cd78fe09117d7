"""CloudWatch's statistics of the values of one period.

The sandbox keeps every value with its count, so percentiles and trimmed statistics are
exact. A percentile is the smallest value that at least so many percent do not exceed.

Source: CloudWatch user guide, "CloudWatch statistics definitions": the lower of two
bounds is excluded, the upper one included; either may be left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

Values = Mapping[float, float]
"""Value → how often it was observed."""

Statistic = Callable[[Values], float]
"""Takes the values of one period, at least one."""

_PERCENTILE = re.compile(r"[pP](\d{1,2}(?:\.\d{1,10})?|100)")
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_TRIMMED = re.compile(rf"(TC|TS|TM|PR)\(({_NUMBER})?:({_NUMBER})?\)")


def statistic(name: str) -> Statistic:
    """Return the statistic of that name, as ``Sum``, ``p99.9`` or ``TC(0.5:)``.

    Raises:
        ValueError: There is none; winsorized means and bounds in percent are not built.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    if match := _PERCENTILE.fullmatch(name):
        percent = float(match.group(1))
        return lambda values: percentile(values, percent)
    if (match := _TRIMMED.fullmatch(name)) and (match.group(2) or match.group(3)):
        kind, low, high = match.groups()
        return _trimmed(kind, float(low or -math.inf), float(high or math.inf))
    raise ValueError(f"The statistic {name} is not supported")


def percentile(values: Values, percent: float) -> float:
    """Return the smallest value that *percent* of all do not exceed."""
    wanted = count(values) * percent / 100
    seen = 0.0
    for value in sorted(values):
        seen += values[value]
        if seen >= wanted:
            return value
    return max(values)  # the sum of counts was rounded down


def count(values: Values) -> float:
    """Return how many values were observed."""
    return math.fsum(values.values())


def total(values: Values) -> float:
    """Return the sum of all values."""
    return math.fsum(value * times for value, times in values.items())


def average(values: Values) -> float:
    """Return the mean of all values, 0 when there are none."""
    number = count(values)
    return total(values) / number if number else 0.0


_PLAIN: dict[str, Statistic] = {
    "SampleCount": count,
    "Sum": total,
    "Average": average,
    "Minimum": min,
    "Maximum": max,
}


def _trimmed(kind: str, low: float, high: float) -> Statistic:
    def inside(values: Values) -> Values:
        return {value: times for value, times in values.items() if low < value <= high}

    kinds: dict[str, Statistic] = {
        "TC": lambda values: count(inside(values)),
        "TS": lambda values: total(inside(values)),
        "TM": lambda values: average(inside(values)),
        "PR": lambda values: 100 * count(inside(values)) / count(values),
    }
    return kinds[kind]
