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
   as few, and bursts that hit both sides cancel. Neighbouring periods are joined to blocks of
   2, 4, 8, …, while there are at least ``LEAST_BLOCKS``, and the weakest evidence counts: bursts
   may be longer than a period.
3. A mixture over how large the difference is: half-normal, of several scales. It is the price
   for not knowing that beforehand, and it makes the bound hold at every look.

Assumed: blocks of periods are independent of each other, given the traffic; the canary's
traffic is drawn from the same requests as the baseline's. The bound is asymptotic, as the
deviance and the variance are estimated: ``bench/judging.py`` measures it. A burst longer than
the longest block counts as more evidence than it is.

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
LEAST_BLOCKS = 8  # fewer say nothing of how blocks spread
LONGEST_BLOCK = 64  # periods
TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What both sides had until each look: arrays of one shape, looks along the last axis.

    Args:
        n: The canary's events.
        x: Of these, bad ones.
        m: The baseline's events, as many as they weigh at the canary's times.
        y: Of these, bad ones.
        spreads: For each length of blocks: their number, and the sum of their squared
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
            spreads=tuple((blocks * factor, squares * factor) for blocks, squares in self.spreads),
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
    """Return how blocks of 1, 2, 4, … periods spread around the difference, at each look.

    Args:
        excess: The canary's bad events more than the baseline's share makes expect, by period.
        n: The canary's events by period.
        difference: Of the shares, at each look.
        variance: Of the sum of excesses, were counts binomial, at each look.
    """
    looks = np.arange(1, n.shape[-1] + 1)
    found = []
    length = 1
    while length <= LONGEST_BLOCK and (length == 1 or len(looks) >= length * LEAST_BLOCKS):
        last = looks // length - 1  # the last whole block at each look
        e, k = _joined(excess, length), _joined(n, length)
        squares = (
            np.cumsum(e * e, -1)[..., last]
            - 2 * difference * np.cumsum(e * k, -1)[..., last]
            + difference**2 * np.cumsum(k * k, -1)[..., last]
        )
        share = np.cumsum(k, -1)[..., last] / np.cumsum(n, -1)
        blocks = np.where(last >= 0, last + 1.0, 0.0)
        enough = (length == 1) | (blocks >= LEAST_BLOCKS)
        blocks = np.broadcast_to(np.where(enough, blocks, 0.0), squares.shape)
        found.append((blocks, np.maximum(blocks * squares / (variance * share), 0.0)))
        length *= 2
    return tuple(found)


def _joined(values: Floats, length: int) -> Floats:
    whole = values.shape[-1] // length * length
    joined: Floats = values[..., :whole].reshape(*values.shape[:-1], -1, length).sum(-1)
    return joined


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
    """Return the log of the e-value: the weakest of those by binomial counts and by each block.

    Args:
        signed: Deviance at the limit; positive where the difference is beyond it.
        information: On the difference, were counts binomial.
        spreads: As in :class:`Totals`.
        scales: How far beyond the limit differences may be.
    """
    weakest = _mixed(signed, information, scales)
    for blocks, squares in spreads:
        known, degrees = PRIOR_PERIODS + squares, PRIOR_PERIODS + blocks
        size = degrees * np.log1p(np.abs(signed) / known)
        found = _mixed(np.sign(signed) * size, information * degrees / known, scales)
        weakest = np.minimum(weakest, np.where(blocks > 0, found, np.inf))
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
