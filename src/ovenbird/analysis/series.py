"""Measurements as arrays: periods of both sides side by side, missing numbers, outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ovenbird.domain.judging import Counts, MetricSpec, NanStrategy, OutlierRule, Value

Floats = NDArray[np.float64]
Side = Sequence[Counts] | Sequence[Value]


def numbers(side: Side) -> Floats:
    """Return one number for each item: a value, or a period's share; NaN where there is none."""
    return np.array([_number(item) for item in side], dtype=np.float64)


def _number(item: Counts | Value) -> float:
    if isinstance(item, Value):
        return item.value
    return item.bad / item.total if item.total > 0 else float("nan")


def events(side: Side) -> float:
    """Return how many requests, or numbers, one side has."""
    return float(sum(item.total if isinstance(item, Counts) else 1 for item in side))


def known_values(side: Side, strategy: NanStrategy = NanStrategy.REMOVE) -> list[Value]:
    """Return the values, missing ones removed or replaced by 0."""
    values = [item for item in side if isinstance(item, Value)]
    if strategy is NanStrategy.REPLACE:
        return [replace(item, value=0.0) if math.isnan(item.value) else item for item in values]
    return [item for item in values if not math.isnan(item.value)]


def cleaned(values: Floats, spec: MetricSpec) -> Floats:
    """Return the numbers without missing ones and outliers, as the metric wants it."""
    values = without_missing(values, spec.nan)
    if not spec.outliers:
        return values
    if spec.outlier_rule is OutlierRule.SIGMA:
        return values[~sigma_outliers(values, spec.outliers)]
    return values[~iqr_outliers(values, spec.outliers, gently=True)]


def without_missing(values: Floats, strategy: NanStrategy) -> Floats:
    """Return the numbers, missing ones removed or replaced by 0."""
    if strategy is NanStrategy.REPLACE:
        return np.nan_to_num(values, nan=0.0)
    return values[~np.isnan(values)]


def iqr_outliers(values: Floats, factor: float, *, gently: bool = False) -> NDArray[np.bool_]:
    """Return which numbers lie more than *factor* interquartile ranges beyond the quartiles.

    Args:
        values: Any number of them.
        factor: Of the range.
        gently: The fences are also no narrower than the 1st and 99th percentiles.
    """
    if not len(values):
        return np.zeros(0, dtype=np.bool_)
    p1, p25, p75, p99 = np.percentile(values, (1, 25, 75, 99))
    low, high = p25 - factor * (p75 - p25), p75 + factor * (p75 - p25)
    if gently:
        low, high = min(low, p1), max(high, p99)
    outside: NDArray[np.bool_] = (values < low) | (values > high)
    return outside


def sigma_outliers(values: Floats, factor: float) -> NDArray[np.bool_]:
    """Return which numbers lie more than *factor* standard deviations from the mean."""
    if not len(values):
        return np.zeros(0, dtype=np.bool_)
    outside: NDArray[np.bool_] = np.abs(values - values.mean()) > factor * values.std()
    return outside


def periods(canary: Sequence[Counts], baseline: Sequence[Counts]) -> tuple[list[datetime], Floats]:
    """Return the periods of a share, oldest first, and their counts, shape (4, periods).

    A period in which one side had no requests is joined with the next; what is left at the end,
    with the last.
    """
    times: dict[datetime, list[float]] = {}
    for first, side in ((0, canary), (2, baseline)):
        for item in side:
            counts = times.setdefault(item.at, [0.0] * 4)
            counts[first] += item.total
            counts[first + 1] += min(item.bad, item.total)
    return _both_sided(sorted(times.items()))


def blocks(
    times: Sequence[datetime], counts: Floats, least: timedelta
) -> tuple[list[datetime], Floats]:
    """Return periods joined to blocks that last at least so long; a short rest joins the last."""
    if least <= timedelta() or not times:
        return list(times), counts
    starts = [0]
    for index, at in enumerate(times):
        if at - times[starts[-1]] >= least:
            starts.append(index)
    return [times[i] for i in starts], np.add.reduceat(counts, starts, axis=1)


def _both_sided(rows: Sequence[tuple[datetime, list[float]]]) -> tuple[list[datetime], Floats]:
    times: list[datetime] = []
    counts: list[list[float]] = []
    rest, since = [0.0] * 4, None
    for at, row in rows:
        since = since or at
        rest = [a + b for a, b in zip(rest, row, strict=True)]
        if rest[0] > 0 and rest[2] > 0:
            times.append(since)
            counts.append(rest)
            rest, since = [0.0] * 4, None
    if counts:
        counts[-1] = [a + b for a, b in zip(counts[-1], rest, strict=True)]
    return times, np.array(counts, dtype=np.float64).reshape(-1, 4).T
