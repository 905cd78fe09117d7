"""How strong the evidence is that a quantile of the canary is above, or below, the baseline's.

"The canary's p99 is above 1.1 times the baseline's" means: between the two lies a threshold
that fewer than 99 % of the canary's values, and more than 99 % of the baseline's, times 1.1, do
not exceed. So it is doubted as long as one threshold remains that both may have as their p99:
the evidence is that at the least convincing threshold. Counts above a threshold are binomial
whatever the values' distribution is, so tails may be as heavy as they like.

The rest — bursts, the price of looking often — is as in :mod:`ovenbird.analysis.evidence`.

Source: Howard and Ramdas (2022), "Sequential estimation of quantiles with applications to
A/B testing and best-arm identification", Bernoulli 28(3) (a quantile is known as well as the
count below it); Lindon, Sanden, Shirikian (2022), "Rapid Regression Detection in Software
Deployments through Sequential Testing", KDD (canaries by sequential tests of distributions).
The profile over the common threshold is ours; it needs fewer values than two intervals that
must not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ovenbird.analysis.evidence import log_mixed, tally
from ovenbird.domain.judging import Value

Floats = NDArray[np.float64]

MOST_THRESHOLDS = 200  # that are tried between the two quantiles
MOST_SLICES = 60  # of time, in which values are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values of both sides.

    Args:
        canary: Sorted.
        baseline: Sorted.
        canary_slices: Which slice of time each is of.
        baseline_slices: As above.
        quantile: Which one is compared, 0..1.
        factor: How often all is there: what it would be, if it went on like this.
    """

    canary: Floats
    baseline: Floats
    canary_slices: NDArray[np.int64]
    baseline_slices: NDArray[np.int64]
    quantile: float
    factor: float = 1.0

    @property
    def slices(self) -> int:
        """Slices of time in which both sides have values."""
        return len(np.intersect1d(self.canary_slices, self.baseline_slices))

    def middle(self, *, canary: bool) -> float:
        """Return the quantile of one side."""
        side = self.canary if canary else self.baseline
        return float(np.quantile(side, self.quantile, method="inverted_cdf"))

    def times(self, factor: float) -> Values:
        """Return what there would be if it went on like this until so many times as much."""
        return replace(self, factor=self.factor * factor)

    def log_evidence(self, ratio: float, scales: Sequence[float], *, above: bool) -> float:
        """Return the log of the e-value for "the canary's quantile is beyond *ratio* times".

        Args:
            ratio: Of the canary's quantile to the baseline's.
            scales: How far shares may lie apart.
            above: False: for "is below".
        """
        theirs = beyond(self.baseline, ratio)
        signed, threshold = self._weakest(theirs, above=above)
        n, m = len(self.canary) * self.factor, len(theirs) * self.factor
        spreads = self._spreads(theirs, threshold)
        variance = self.quantile * (1 - self.quantile) * (1 / n + 1 / m)
        found = log_mixed(
            np.array([signed * self.factor]),
            np.array([1 / variance]),
            [(periods * self.factor, squares * self.factor) for periods, squares in spreads],
            scales,
        )
        return float(found[0])

    def _weakest(self, theirs: Floats, *, above: bool) -> tuple[float, float]:
        """Return the least deviance over all common thresholds, signed, and the threshold."""
        ours, q = self.canary, self.quantile
        mine, other = (
            float(np.quantile(side, q, method="inverted_cdf")) for side in (ours, theirs)
        )
        if mine == other or (mine > other) != above:
            return -0.0, mine
        low, high = min(mine, other), max(mine, other)
        inside = np.concatenate([ours, theirs])
        inside = np.unique(inside[(inside >= low) & (inside <= high)])
        if len(inside) > MOST_THRESHOLDS:
            inside = inside[np.linspace(0, len(inside) - 1, MOST_THRESHOLDS).astype(int)]
        # Between two values nothing changes, and just below one the other side's count does.
        tried = np.unique(np.concatenate([inside, np.nextafter(inside, -np.inf)]))
        found = _against(ours, tried, q, more=not above) + _against(theirs, tried, q, more=above)
        best = int(found.argmin())
        return float(found[best]), float(tried[best])

    def _spreads(self, theirs: Floats, threshold: float) -> list[tuple[Floats, Floats]]:
        size = 1 + max(int(self.canary_slices.max()), int(self.baseline_slices.max()))
        counts = []
        for values, slices in ((self.canary, self.canary_slices), (theirs, self.baseline_slices)):
            counts.append(np.bincount(slices, minlength=size).astype(float))
            counts.append(np.bincount(slices, values > threshold, minlength=size))
        shared = (counts[0] > 0) & (counts[2] > 0)
        n, x, m, y = (count[shared] for count in counts)
        return [(periods[-1:], squares[-1:]) for periods, squares in tally(n, x, m, y).spreads]


def beyond(values: Floats, ratio: float) -> Floats:
    """Return values that are worse by a ratio: above 1 greater, below 1 less, whatever their sign.

    A value of 0 has no ratio to anything: what is above it at all is beyond any.
    """
    moved: Floats = values + np.abs(values) * (ratio - 1)
    return np.where(values == 0, np.sign(ratio - 1) * np.finfo(np.float64).tiny, moved)


def values_of(
    canary: Sequence[Value], baseline: Sequence[Value], quantile: float, least_s: float = 0.0
) -> Values:
    """Return the values of both sides.

    Args:
        canary: One number or more; none is missing.
        baseline: As above.
        quantile: Which one is compared, 0..1.
        least_s: Least length of a slice of time, seconds.
    """
    first = min(item.at for item in (*canary, *baseline))
    sides = [
        np.array([[item.value, (item.at - first).total_seconds()] for item in side]).T
        for side in (canary, baseline)
    ]
    lasts = max(float(side[1].max()) for side in sides)
    times = len(np.unique(np.concatenate([side[1] for side in sides])))
    length = max(least_s, lasts / MOST_SLICES if times > MOST_SLICES else lasts / max(times, 1))
    ordered = [side[:, side[0].argsort()] for side in sides]
    slices = [(side[1] / length if length else side[1]).astype(int) for side in ordered]
    return Values(
        canary=ordered[0][0],
        baseline=ordered[1][0],
        canary_slices=slices[0],
        baseline_slices=slices[1],
        quantile=quantile,
    )


def _against(values: Floats, thresholds: Floats, quantile: float, *, more: bool) -> Floats:
    """Return the deviance of "the quantile is the threshold", where it is on the wrong side.

    Args:
        values: Sorted.
        thresholds: Any number.
        quantile: Share of values that should not exceed the threshold.
        more: Whether a larger share than that speaks against it; else a smaller one does.
    """
    count = len(values)
    share = np.searchsorted(values, thresholds, "right") / count
    wrong = (share > quantile) if more else (share < quantile)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(share > 0, share * np.log(share / quantile), 0)
        over = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - quantile)), 0)
    return np.where(wrong, 2 * count * (below + over), 0)
