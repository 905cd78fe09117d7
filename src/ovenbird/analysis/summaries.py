"""A population in a few numbers, and how large the difference of two is.

Source: Kayenta's ``DescriptiveStatistics`` and ``EffectSizes``; Cohen (1988), "Statistical Power
Analysis for the Behavioral Sciences", 2.2; McGraw and Wong (1992), "A common language effect
size statistic".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A population; all are 0 when it is empty.

    Args:
        std: Standard deviation of the sample (n - 1); 0 of one number.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    count: int


def summary(values: Floats) -> Summary:
    """Return a population in a few numbers."""
    count = len(values)
    if not count:
        return Summary(minimum=0.0, maximum=0.0, mean=0.0, std=0.0, count=0)
    return Summary(
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if count > 1 else 0.0,
        count=count,
    )


def percentile(values: Floats, percent: float) -> float:
    """Return a percentile by linear interpolation (R's type 7).

    Args:
        values: One number or more.
        percent: 0..100.
    """
    return float(np.percentile(values, percent))


def mean_ratio(ours: Floats, theirs: Floats) -> float:
    """Return the ratio of the means; 1 when both are 0, NaN when one of them is."""
    mine, other = float(ours.mean()), float(theirs.mean())
    if mine == 0 or other == 0:
        return 1.0 if mine == other else math.nan
    return mine / other


def cohens_d(ours: Floats, theirs: Floats) -> float:
    """Return how many pooled standard deviations the means lie apart; NaN when there are none."""
    mine, other = summary(ours), summary(theirs)
    degrees = mine.count + other.count - 2
    squares = (mine.count - 1) * mine.std**2 + (other.count - 1) * other.std**2
    if degrees < 1 or squares == 0:
        return math.nan
    return abs(mine.mean - other.mean) / math.sqrt(squares / degrees)


def common_language_effect(ours: Floats, theirs: Floats) -> float:
    """Return how likely one of *ours* is above one of *theirs*; a tie is half."""
    ordered = np.sort(theirs)
    below = np.searchsorted(ordered, ours, "left")
    not_above = np.searchsorted(ordered, ours, "right")
    return float((below + not_above).sum() / 2 / (len(ours) * len(theirs)))
