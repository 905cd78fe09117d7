"""Rank statistics of two populations: Mann-Whitney, Hodges-Lehmann.

The interval around the shift is found as R's ``wilcox.test`` finds it for large samples: the
shifts at which the standardised rank sum, corrected for ties and continuity, leaves the normal
quantiles. Kayenta does the same.

Source: R's manual of ``wilcox.test`` (package stats); Hollander and Wolfe (1973), "Nonparametric
Statistical Methods", pages 68 to 75.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROOT_TOLERANCE = 1e-9  # of the range of differences
LEAST_LEVEL = 1e-9  # standard deviations: next to none
NO_SHIFT = 1e-6  # of the range of differences: what root finding leaves of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How much higher the first population lies than the second.

    Args:
        estimate: Hodges and Lehmann's: the median of all differences, about.
    """

    low: float
    estimate: float
    high: float


def shift(ours: Floats, theirs: Floats, *, confidence: float) -> Shift:
    """Return by how much *ours* is shifted against *theirs*, with a two-sided interval.

    Args:
        ours: One number or more.
        theirs: One number or more.
        confidence: Of the interval, 0..1.
    """
    low, high = float(ours.min() - theirs.max()), float(ours.max() - theirs.min())
    quantile = _quantile(confidence)

    def root(level: float) -> float:
        found = _root(lambda by: _standardised(ours - by, theirs) - level, low, high)
        return 0.0 if abs(found) < NO_SHIFT * (high - low) else found

    # Where as many differences lie above as below, there may be no one shift: the middle is it.
    estimate = (root(LEAST_LEVEL) + root(-LEAST_LEVEL)) / 2
    return Shift(low=root(quantile), estimate=estimate, high=root(-quantile))


def lies_above(ours: Floats, theirs: Floats, by: float, *, confidence: float) -> bool:
    """Return whether *ours* is shifted by more than *by*: the interval is beyond it.

    With many ties an end of the interval is one of the differences, and no root: so the test
    is asked, not the interval.
    """
    return _standardised(ours - by, theirs) > _quantile(confidence)


def can_tell(ours: int, theirs: int, *, confidence: float) -> bool:
    """Return whether so many numbers could show any shift: all of one above all others."""
    highest = (ours * theirs - 1) / 2
    return highest > _quantile(confidence) * math.sqrt(ours * theirs * (ours + theirs + 1) / 12)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _standardised(ours: Floats, theirs: Floats) -> float:
    """Return the rank sum of *ours*, less its mean, in standard deviations."""
    from scipy.stats import rankdata  # noqa: PLC0415 - half a second

    n, m = len(ours), len(theirs)
    ranks = rankdata(np.concatenate([ours, theirs]))
    excess = float(ranks[:n].sum()) - n * (n + 1) / 2 - n * m / 2
    _, ties = np.unique(ranks, return_counts=True)
    tied = float((ties.astype(float) ** 3 - ties).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - tied)
    if variance <= 0:  # all are one number
        return 0.0
    return (excess - math.copysign(0.5, excess) * (excess != 0)) / math.sqrt(variance)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling step function crosses 0; an end where it does not."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    from scipy.optimize import brentq  # noqa: PLC0415 - half a second

    return float(brentq(function, low, high, xtol=ROOT_TOLERANCE * (high - low)))
