"""How strong the evidence is that two shares differ by more, or by less, than is allowed.

Both sides are counted by period. What comes out is an *e-value* for each look: the factor by
which a sceptic who bets on "worse" would have multiplied their money. If the canary is no worse
than allowed, the chance that it ever reaches ``1 / rate``, however often one looks, is at most
``rate`` (Ville's inequality).

At a limit for the difference, the evidence is made of three parts:

1. The likelihood ratio of the best fit to the best fit at the limit (a binomial *deviance*),
   which is right for few bad events too. A baseline of another size is taken at the canary's
   times: rates that go up and down for both, while weights change, do not matter.
2. What periods really spread, in place of what binomial counts would: the ratio is that of a
   normal mean whose variance is not known (as in a t-test), with a prior worth
   ``PRIOR_PERIODS`` periods that counts are binomial. Bad events that come in bursts thus count
   as few, and bursts that hit both sides cancel. Bursts may be longer than a period: where
   neighbouring periods are alike by more than chance, the variance is widened by what such a
   correlation ``r`` makes of a mean's, ``(1 + r) / (1 - r)``.
3. A mixture over how large the difference is: half-normal, of several scales. It is the price
   for not knowing that beforehand, and it makes the bound hold at every look.

Assumed: periods are independent of each other, given the traffic, or alike to the one before
only; the canary's traffic is drawn from the same requests as the baseline's. The bound is
asymptotic, as the deviance, the variance and the correlation are estimated:
``bench/judging.py`` measures it. In the first few periods of a long burst nothing tells it from
a fault, so who has such bursts joins periods to longer ones beforehand (``burst_s``).

Source: Robbins (1970), "Statistical Methods Related to the Law of the Iterated Logarithm"
(normal mixtures); Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2021), "Time-uniform central
limit theory and asymptotic confidence sequences"; Wang and Ramdas (2023), "Anytime-valid
t-tests and confidence sequences for Gaussian means with unknown variance"; Miettinen and
Nurminen (1985), "Comparative analysis of two rates" (the fit at a limit).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_PERIODS = 3.0  # how much "counts are binomial" weighs against the periods seen
MOST_ALIKE = 0.95  # correlation of neighbouring periods; more would leave nothing
TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What both sides had until each look: arrays of one shape, looks along the last axis.

    Args:
        n: The canary's events.
        x: Of these, bad ones.
        m: The baseline's events, as many as they weigh at the canary's times.
        y: Of these, bad ones.
        spreads: Ways to see how periods spread: their number, and the sum of their squared
            deviations where binomial counts would have 1 each on average.
    """

    n: Floats
    x: Floats
    m: Floats
    y: Floats
    spreads: tuple[tuple[Floats, Floats], ...]

    def times(self, factor: float) -> Totals:
        """Return what there would be if it went on like this until *factor* times as much."""
        return Totals(
            n=self.n * factor,
            x=self.x * factor,
            m=self.m * factor,
            y=self.y * factor,
            spreads=tuple(
                (periods * factor, squares * factor) for periods, squares in self.spreads
            ),
        )

    def at(self, index: Any) -> Totals:
        """Return some of the looks: *index* is applied to the last axis."""
        return Totals(
            n=self.n[..., index],
            x=self.x[..., index],
            m=self.m[..., index],
            y=self.y[..., index],
            spreads=tuple((b[..., index], s[..., index]) for b, s in self.spreads),
        )


def tally(n: Floats, x: Floats, m: Floats, y: Floats) -> Totals:
    """Sum up periods, oldest first along the last axis; both sides have events in each.

    Args:
        n: The canary's events by period, > 0.
        x: Of these, bad ones.
        m: The baseline's events, > 0.
        y: Of these, bad ones.
    """
    total, bad = np.cumsum(n, -1), np.cumsum(x, -1)
    expected = np.cumsum(n * y / m, -1) / total  # the baseline's share at the canary's times
    weight = total**2 / np.cumsum(n * n / m, -1)
    p, q = _smooth(bad, total), _smooth(expected * weight, weight)
    variance = p * (1 - p) * total + q * (1 - q) * np.cumsum(n * n / m, -1)
    difference = bad / total - expected
    return Totals(
        n=total,
        x=bad,
        m=weight,
        y=expected * weight,
        spreads=_spreads(x - n * y / m, n, difference, variance),
    )


def _smooth(bad: Floats, total: Floats) -> Floats:
    return (bad + 0.5) / (total + 1)


def _spreads(
    excess: Floats, n: Floats, difference: Floats, variance: Floats
) -> tuple[tuple[Floats, Floats], ...]:
    """Return how periods spread around the difference, at each look.

    Twice: as if each stood for itself, and widened by how much they are like the one before.

    Args:
        excess: The canary's bad events more than the baseline's share makes expect, by period.
        n: The canary's events by period.
        difference: Of the shares, at each look.
        variance: Of the sum of excesses, were counts binomial, at each look.
    """
    periods = np.broadcast_to(np.arange(1.0, n.shape[-1] + 1), n.shape)
    squares = _around(excess, excess, n, n, difference)
    earlier, later = slice(None, -1), slice(1, None)
    lagged = np.zeros_like(squares)
    lagged[..., later] = _around(
        excess[..., earlier],
        excess[..., later],
        n[..., earlier],
        n[..., later],
        difference[..., later],
    )
    alike = np.divide(lagged, squares, out=np.zeros_like(lagged), where=squares > 0)
    alike += 1 / periods  # which it is too low by on average, when there is nothing
    alike = np.where(alike > 1 / np.sqrt(periods), np.clip(alike, 0, MOST_ALIKE), 0)
    spread = np.maximum(periods * squares / variance, 0.0)
    return (periods, spread), (periods, spread * (1 + alike) / (1 - alike))


def _around(one: Floats, other: Floats, n: Floats, m: Floats, difference: Floats) -> Floats:
    """Return the sums, at each look, of products of what is left when the difference is taken."""
    found: Floats = (
        np.cumsum(one * other, -1)
        - difference * np.cumsum(one * m + other * n, -1)
        + difference**2 * np.cumsum(n * m, -1)
    )
    return found


def deviance(totals: Totals, limit: float) -> tuple[Floats, Floats]:
    """Return twice the log likelihood ratio against "the shares differ by *limit*", signed.

    Positive: the canary's share is above the baseline's by more than the limit. The second
    array is the information on the difference there, were counts binomial.

    Args:
        totals: Of both sides.
        limit: The canary's share minus the baseline's, -1..1.
    """
    n, x, m, y = totals.n, totals.x, totals.m, totals.y
    q = _fit_at(totals, limit)
    p = q + limit
    free = _likelihood(x, n, x / n) + _likelihood(y, m, y / m)
    bound = _likelihood(x, n, p) + _likelihood(y, m, q)
    sign = np.sign(x / n - y / m - limit)
    p, q = _smooth(p * n, n), _smooth(q * m, m)
    information = 1 / (p * (1 - p) / n + q * (1 - q) / m)
    return sign * np.maximum(2 * (free - bound), 0), information


def _fit_at(totals: Totals, limit: float) -> Floats:
    """Return the baseline's share that fits best when the shares differ by *limit*.

    It is the root, between 0 and 1, of a cubic: Miettinen and Nurminen (1985), appendix I.
    """
    n, x, m, y = totals.n, totals.x, totals.m, totals.y
    both, bad = n + m, x + y
    two = ((n + 2 * m) * limit - both - bad) / both
    one = ((m * limit - both - 2 * y) * limit + bad) / both
    zero = y * limit * (1 - limit) / both
    turn = two**3 / 27 - one * two / 6 + zero / 2
    size = np.where(turn < 0, -1.0, 1.0) * np.sqrt(np.maximum(two * two / 9 - one / 3, 0.0))
    cosine = np.clip(turn / np.where(size == 0, 1.0, size) ** 3, -1.0, 1.0)
    found = 2 * size * np.cos((np.pi + np.arccos(cosine)) / 3) - two / 3
    clipped: Floats = np.clip(found, max(0.0, -limit), min(1.0, 1.0 - limit))
    return clipped


def _likelihood(bad: Floats, total: Floats, share: Floats) -> Floats:
    """Return the log likelihood of so many bad ones; 0 log 0 is 0."""
    good = total - bad
    return np.where(bad > 0, bad * np.log(np.maximum(share, TINY)), 0) + np.where(
        good > 0, good * np.log(np.maximum(1 - share, TINY)), 0
    )


def log_evidence(totals: Totals, limit: float, scales: Sequence[float], *, above: bool) -> Floats:
    """Return the log of the e-value for "differs by more than *limit*", at each look.

    Args:
        totals: Of both sides.
        limit: The canary's share minus the baseline's, -1..1.
        scales: How far beyond the limit differences may be.
        above: False: for "differs by less".
    """
    signed, information = deviance(totals, limit)
    return log_mixed(signed if above else -signed, information, totals.spreads, scales)


def log_mixed(
    signed: Floats,
    information: Floats,
    spreads: Iterable[tuple[Floats, Floats]],
    scales: Sequence[float],
) -> Floats:
    """Return the log of the e-value: the weakest of those by binomial counts and by spreads.

    Args:
        signed: Deviance at the limit; positive where the difference is beyond it.
        information: On the difference, were counts binomial.
        spreads: As in :class:`Totals`.
        scales: How far beyond the limit differences may be.
    """
    weakest = _mixed(signed, information, scales)
    for periods, squares in spreads:
        known, degrees = PRIOR_PERIODS + squares, PRIOR_PERIODS + periods
        size = degrees * np.log1p(np.abs(signed) / known)
        found = _mixed(np.sign(signed) * size, information * degrees / known, scales)
        weakest = np.minimum(weakest, found)
    return weakest


def _mixed(signed: Floats, information: Floats, scales: Sequence[float]) -> Floats:
    """Return the log of the mixture of likelihood ratios over how large the difference is."""
    z = np.sign(signed) * np.sqrt(np.abs(signed))
    parts = [_half_normal(z, information * scale * scale) for scale in scales]
    mixed: Floats = np.logaddexp.reduce(parts) - np.log(len(scales))
    return mixed


def _half_normal(z: Floats, ratio: Floats) -> Floats:
    """Return the log of the mixture for one scale: of the prior's variance to the estimate's."""
    from scipy.special import log_ndtr  # noqa: PLC0415 - a fifth of a second

    share = ratio / (1 + ratio)
    found: Floats = (
        0.5 * z * z * share - 0.5 * np.log1p(ratio) + np.log(2) + log_ndtr(z * np.sqrt(share))
    )
    return found
