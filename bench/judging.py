"""Judging canaries: false alarms and requests until a fault is found, on simulated traffic.

    python -m bench judging                    # 10,000 pairs: some minutes
    python -m bench judging --pairs 1000       # a first impression

*False alarms*: canary and baseline are the same, and any difference counts (tolerance 0), in
two metrics. They are looked at after each of 60 periods: by `sequential` (stated rate 5 % over
all looks and both metrics), by `compare` (Kayenta's method; 98 % for each metric), and by a plain
threshold ("a point more errors than the baseline"). `compare` is also asked once, at the end.

*Faults*: the canary is worse from the first request on, in one of two metrics. `compare` gets the
shortest horizon at which it finds 80 % of such canaries, and its fixed one, 50 periods, as
Kayenta's authors recommend. `sequential` looks after each period.

*Misses*: the canary is worse by exactly the tolerance, and `sequential` passes it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ovenbird.analysis.evidence import log_evidence, tally
from ovenbird.analysis.judging import judge
from ovenbird.analysis.metric_evidence import Way, quantile_scales, share_scales
from ovenbird.analysis.quantiles import Values
from ovenbird.analysis.sequential import LEAST_PERIODS, rates_of
from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.judging import Counts, MetricSpec, Pair, PrometheusSource
from ovenbird.domain.verdicts import Outcome

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Random = np.random.Generator

PERIODS = 60
FIXED_HORIZON = 50  # periods: Spinnaker's best practices want 50 points of each metric
POWER = 0.8
METRICS = 2
KAYENTA_Z = 2.3263  # 98 %, two-sided
KAYENTA_TOLERANCE = 0.25
MIN_PERIODS = (3, 10, 30)
SIGMA = 0.5  # of log seconds
CHUNK = 1000  # pairs at a time
CHECKED = 20  # pairs that are also judged through the product's own door
NEVER = 10**9
LONGEST = 300  # periods of a fault; one that is not found until then counts so many
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ERRORS = MetricSpec(
    name="errors", source=PrometheusSource(query="errors"), is_share=True, tolerance=0.0
)
POLICY = JudgePolicy(metrics=(ERRORS,) * METRICS, min_requests=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How requests and errors come.

    Args:
        requests: Of each side in a period, on average.
        rate: Share of bad ones, on average.
        shares: (mean share, shape, random) → the share of each period.
        burst: Periods that the policy is told a burst may last.
    """

    name: str
    requests: float
    rate: float
    shares: Callable[[float, tuple[int, int], Random], Floats]
    burst: int = 1


def steady(rate: float, shape: tuple[int, int], _: Random) -> Floats:
    """Each request fails by itself."""
    return np.full(shape, rate)


def bursts(length: int) -> Callable[[float, tuple[int, int], Random], Floats]:
    """A tenth of the time, in stretches of so many periods, has 91 % of the bad ones."""

    def shares(rate: float, shape: tuple[int, int], random: Random) -> Floats:
        stretches = -(-shape[1] // length)
        burst = np.repeat(random.random((shape[0], stretches)) < 0.1, length, axis=1)
        return np.where(burst[:, : shape[1]], np.minimum(9.1 * rate, 1), 0.1 * rate)

    return shares


def heavy(rate: float, shape: tuple[int, int], random: Random) -> Floats:
    """Shares of periods have a Pareto tail (exponent 1.5): few periods have most bad ones."""
    return np.minimum(random.pareto(1.5, shape) * rate / 2, 1)


TRAFFIC = (
    Traffic(name="Poisson", requests=100, rate=0.01, shares=steady),
    Traffic(name="Poisson, busy", requests=2000, rate=0.01, shares=steady),
    Traffic(name="bursty", requests=100, rate=0.01, shares=bursts(1)),
    Traffic(name="bursty, busy", requests=2000, rate=0.01, shares=bursts(1)),
    Traffic(name="bursts of 4 periods", requests=100, rate=0.01, shares=bursts(4)),
    Traffic(
        name="the same, `burst_s` of 4 periods", requests=100, rate=0.01, shares=bursts(4), burst=4
    ),
    Traffic(name="heavy-tailed", requests=100, rate=0.01, shares=heavy),
    Traffic(name="heavy-tailed, busy", requests=2000, rate=0.01, shares=heavy),
    Traffic(name="low traffic", requests=3, rate=0.02, shares=steady),
)


@dataclass(frozen=True, slots=True)
class Sides:
    """Requests and bad ones of both sides: arrays of (pairs, periods)."""

    n: Floats
    x: Floats
    m: Floats
    y: Floats

    def until(self, periods: int) -> tuple[Floats, Floats]:
        """Return the shares of the first periods, the canary's and the baseline's."""
        return (self.x / self.n)[:, :periods], (self.y / self.m)[:, :periods]

    def joined(self, length: int) -> Sides:
        """Return the same by blocks of so many periods."""
        whole = self.n.shape[1] // length * length
        parts = (self.n, self.x, self.m, self.y)
        return Sides(*(p[:, :whole].reshape(len(p), -1, length).sum(-1) for p in parts))


def simulated(
    traffic: Traffic, pairs: int, random: Random, *, more: float = 0.0, periods: int = PERIODS
) -> Sides:
    """Return both sides; the canary's bad ones are more by so much of all its requests."""
    shape = (pairs, periods)
    n, m = (np.maximum(random.poisson(traffic.requests, shape), 1) for _ in range(2))
    x = random.binomial(n, traffic.shares(traffic.rate + more, shape, random))
    y = random.binomial(m, traffic.shares(traffic.rate, shape, random))
    return Sides(*(array.astype(np.float64) for array in (n, x, m, y)))


# ── The three judges, at each look ───────────────────────────────────────────


def sequential(sides: Sides, spec: MetricSpec, *, fails: bool) -> Flags:
    """Return at which looks `sequential` says ``fail``, or ``pass``, of one metric."""
    totals = tally(sides.n, sides.x, sides.m, sides.y)
    rates = rates_of(POLICY, metrics=METRICS)
    found = log_evidence(
        totals, spec.tolerance, share_scales(spec, Way.ABOVE if fails else Way.BELOW), above=fails
    ) >= -np.log(rates.fail if fails else rates.clear)
    found &= totals.n >= POLICY.min_requests
    found[:, : LEAST_PERIODS - 1] = False
    flags: Flags = found
    return flags


def compare(ours: Floats, theirs: Floats) -> Flags:
    """Return which canaries Kayenta's method calls high: arrays of (pairs, numbers)."""
    found: Flags = _standardised(ours, theirs) > KAYENTA_Z
    (some,) = np.nonzero(found)
    if len(some):
        mine, other = ours[some], theirs[some]
        shift = np.median((mine[:, :, None] - other[:, None, :]).reshape(len(some), -1), axis=1)
        moved = mine - KAYENTA_TOLERANCE * np.abs(shift)[:, None]
        found[some] = _standardised(moved, other) > KAYENTA_Z
    return found


def _standardised(ours: Floats, theirs: Floats) -> Floats:
    n, m = ours.shape[1], theirs.shape[1]
    both = np.concatenate([ours, theirs], axis=1)
    ranks = rankdata(both, axis=1)
    excess = ranks[:, :n].sum(1) - n * (n + 1) / 2 - n * m / 2
    size = rankdata(both, "max", axis=1) - rankdata(both, "min", axis=1) + 1
    ties = (size**2 - 1).sum(1) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    found: Floats = (excess - 0.5 * np.sign(excess)) / np.sqrt(np.maximum(variance, 1e-12))
    return found


def threshold(sides: Sides) -> Flags:
    """Return at which looks the canary has a point more errors than the baseline."""
    n, x, m, y = (np.cumsum(a, axis=1) for a in (sides.n, sides.x, sides.m, sides.y))
    found: Flags = (x / n > y / m + 0.01) & (n >= POLICY.min_requests)
    return found


# ── What is measured ─────────────────────────────────────────────────────────


def chunks(pairs: int) -> Iterator[int]:
    """Yield sizes that make so many pairs together."""
    for start in range(0, pairs, CHUNK):
        yield min(CHUNK, pairs - start)


def false_alarms(traffic: Traffic, pairs: int, random: Random) -> tuple[float, ...]:
    """Return the shares of canaries that are failed although they are as the baseline.

    They are: `sequential`, `compare` at each look, `compare` once, the threshold at each look.
    """
    counts = np.zeros(4)
    for size in chunks(pairs):
        alarms = np.zeros((4, size), dtype=np.bool_)
        for _ in range(METRICS):
            sides = simulated(traffic, size, random)
            alarms[0] |= sequential(sides.joined(traffic.burst), ERRORS, fails=True).any(1)
            for periods in range(4, PERIODS + 1):
                ours, theirs = sides.until(periods)
                (left,) = np.nonzero(~alarms[1])
                alarms[1, left] = compare(ours[left], theirs[left])
            alarms[2] |= compare(*sides.until(PERIODS))
            alarms[3] |= threshold(sides).any(1)
        counts += alarms.sum(1)
    return tuple(counts / pairs)


def misses(traffic: Traffic, pairs: int, random: Random) -> tuple[float, ...]:
    """Return the shares of canaries, worse by a point, that are failed, and that are passed.

    A point is what is allowed: neither should be. They are passed with at least so many
    periods as in ``MIN_PERIODS``.
    """
    spec = replace(ERRORS, tolerance=0.01)
    counts = np.zeros(1 + len(MIN_PERIODS))
    for size in chunks(pairs):
        sides = simulated(traffic, size, random, more=spec.tolerance).joined(traffic.burst)
        passed = sequential(sides, spec, fails=False)
        counts[0] += sequential(sides, spec, fails=True).any(1).sum()
        counts[1:] += [passed[:, least - 1 :].any(1).sum() for least in MIN_PERIODS]
    return tuple(counts / pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How long it takes to find a fault.

    Args:
        mean: Requests of the canary until `sequential` fails it.
        usual: Requests at which it has found half of the faults.
        most: Requests at which it has found as many as `compare` at its horizon.
        horizon: Requests of the shortest horizon at which `compare` finds that many.
        fixed: Share that `compare` finds at its fixed horizon.
    """

    name: str
    mean: float
    usual: float
    most: float
    horizon: float
    fixed: float


def found(
    name: str, first: NDArray[np.int64], finds: Callable[[int], float], requests: float
) -> Found:
    """Sum up: *first* look of each pair at which `sequential` fails; *finds* of `compare`."""
    horizon = next((t for t in range(4, 301) if finds(t) >= POWER), 0)
    return Found(
        name=name,
        mean=float(np.minimum(first, LONGEST).mean() * requests),
        usual=float(np.quantile(first, 0.5, method="higher") * requests),
        most=float(np.quantile(first, POWER, method="higher") * requests),
        horizon=horizon * requests,
        fixed=finds(FIXED_HORIZON),
    )


def looked(flags: Flags) -> NDArray[np.int64]:
    """Return the first look at which it is said, from 1; NEVER where it is not."""
    return np.where(flags.any(1), flags.argmax(1) + 1, NEVER)


def share_faults(pairs: int, random: Random) -> Iterator[Found]:
    """Yield how long it takes to find 1, 5 and 20 points more errors, of 1 %."""
    traffic = TRAFFIC[0]
    for more in (0.01, 0.05, 0.2):
        sides = simulated(traffic, pairs, random, more=more, periods=300)
        first = looked(sequential(sides, ERRORS, fails=True))

        def finds(periods: int, sides: Sides = sides) -> float:
            return float(compare(*sides.until(periods)).mean())

        yield found(f"+{more * 100:g} points of errors", first, finds, traffic.requests)


def slow_faults(pairs: int, random: Random) -> Iterator[Found]:
    """Yield how long it takes to find slower answers by the share above a threshold.

    Log-normal, as in :func:`latencies`; 5 % of the baseline's lie above the threshold.
    """
    normal = NormalDist()
    for factor in (1.1, 1.5):
        above = 1 - normal.cdf(normal.inv_cdf(0.95) - np.log(factor) / SIGMA)
        traffic = Traffic(name="", requests=100, rate=0.05, shares=steady)
        sides = simulated(traffic, pairs, random, more=above - 0.05, periods=300)
        first = looked(sequential(sides, ERRORS, fails=True))

        def finds(periods: int, sides: Sides = sides) -> float:
            return float(compare(*sides.until(periods)).mean())

        yield found(f"+{factor - 1:.0%} latency, by slow answers", first, finds, 100)


def latencies(pairs: int, periods: int, factor: float, random: Random) -> tuple[Floats, Floats]:
    """Return seconds of each request, log-normal, arrays of (pairs, periods, requests)."""
    shape = (pairs, periods, 100)
    return factor * random.lognormal(-2.5, SIGMA, shape), random.lognormal(-2.5, SIGMA, shape)


def quantile_look(ours: Floats, theirs: Floats, quantile: float, rate: float) -> bool:
    """Return whether `sequential` fails the canary for a quantile; of (periods, requests)."""
    sides = []
    for side in (ours, theirs):
        order = side.ravel().argsort()
        sides.append((side.ravel()[order], order // side.shape[1]))
    values = Values(
        canary=sides[0][0],
        baseline=sides[1][0],
        canary_slices=sides[0][1],
        baseline_slices=sides[1][1],
        quantile=quantile,
    )
    evidence = values.log_evidence(1.0, quantile_scales(quantile), above=True)
    return bool(evidence >= -np.log(rate))


def quantile_faults(pairs: int, random: Random) -> Iterator[Found]:
    """Yield how long it takes to find a p99, and a p90, that is higher by 10 % and 50 %."""
    rate = rates_of(POLICY, metrics=METRICS).fail
    for quantile, factor, most in ((0.99, 1.1, 300), (0.99, 1.5, 100), (0.9, 1.1, 300)):
        ours, theirs = latencies(pairs, most, factor, random)
        first = np.array(
            [
                next(
                    (
                        t
                        for t in range(LEAST_PERIODS, most + 1)
                        if quantile_look(a[:t], b[:t], quantile, rate)
                    ),
                    NEVER,
                )
                for a, b in zip(ours, theirs, strict=True)
            ]
        )
        tops = [np.quantile(side, quantile, axis=2) for side in (ours, theirs)]

        def finds(periods: int, tops: Sequence[Floats] = tops) -> float:
            return float(compare(tops[0][:, :periods], tops[1][:, :periods]).mean())

        yield found(f"+{factor - 1:.0%} p{quantile * 100:g}", first, finds, 100)


def quantile_alarms(pairs: int, random: Random) -> float:
    """Return the share of equal canaries that are failed for their p99: 60 looks, Pareto tail."""
    rate = POLICY.false_alarm_rate
    alarms = 0
    for _ in range(pairs):
        ours, theirs = (0.05 * (1 + random.pareto(1.2, (PERIODS, 100))) for _ in range(2))
        alarms += any(
            quantile_look(ours[:t], theirs[:t], 0.99, rate)
            for t in range(LEAST_PERIODS, PERIODS + 1)
        )
    return alarms / pairs


def check(random: Random) -> None:
    """Look at some pairs through the product's own door: it must say the same."""
    sides = simulated(TRAFFIC[0], CHECKED, random, more=0.05, periods=10)
    said = sequential(sides, ERRORS, fails=True)[:, -1]
    for index in range(CHECKED):
        pair = Pair(
            spec=ERRORS,
            canary=_counts(sides.n[index], sides.x[index]),
            baseline=_counts(sides.m[index], sides.y[index]),
        )
        verdict = judge([pair] * METRICS, POLICY)
        if (verdict.outcome is Outcome.FAIL) != said[index]:
            raise AssertionError(f"the bench and the judge differ: {verdict}")


def _counts(totals: Floats, bad: Floats) -> tuple[Counts, ...]:
    return tuple(
        Counts(at=NOW + timedelta(minutes=i), total=n, bad=x)
        for i, (n, x) in enumerate(zip(totals, bad, strict=True))
    )


# ── The tables ───────────────────────────────────────────────────────────────


def main() -> None:
    """Measure, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=10_000, help="pairs for false alarms")
    parser.add_argument("--fault-pairs", type=int, default=1000, help="pairs for faults of shares")
    parser.add_argument("--value-pairs", type=int, default=200, help="pairs for quantiles")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    started = time.monotonic()
    check(random)
    print_alarms(options.pairs, random)
    print_faults(options.fault_pairs, options.value_pairs, random)
    print_misses(options.pairs, random)
    share = quantile_alarms(options.value_pairs, random)
    print(f"\nEqual p99, Pareto tail, {options.value_pairs} pairs, 60 looks: {share:.1%} failed")
    print(f"\nSeed {options.seed}, {time.monotonic() - started:.0f} s")


def print_alarms(pairs: int, random: Random) -> None:
    """Print false alarms of all judges."""
    print(
        "| traffic | `sequential` | `compare`, each look | `compare`, once | threshold, each look |"
    )
    print("| --- | --: | --: | --: | --: |")
    for traffic in TRAFFIC:
        shares = false_alarms(traffic, pairs, random)
        print(f"| {traffic.name} | " + " | ".join(f"{s:.2%}" for s in shares) + " |", flush=True)


def print_faults(pairs: int, value_pairs: int, random: Random) -> None:
    """Print requests until faults are found."""
    head = (
        "fault",
        "half found",
        "mean",
        "80 % found",
        "`compare` finds 80 %",
        "ratio of means",
        "ratio at 80 %",
        "`compare` at 50 periods finds",
    )
    print("\n| " + " | ".join(head) + " |\n| --- |" + " --: |" * (len(head) - 1))
    for one in (
        *share_faults(pairs, random),
        *slow_faults(pairs, random),
        *quantile_faults(value_pairs, random),
    ):
        requests = (one.usual, one.mean, one.most, one.horizon)
        ratios = [
            f"{part / one.horizon:.2f}" if one.horizon else "" for part in (one.mean, one.most)
        ]
        row = [one.name, *(f"{number:,.0f}" for number in requests), *ratios, f"{one.fixed:.0%}"]
        print("| " + " | ".join(row) + " |", flush=True)


def print_misses(pairs: int, random: Random) -> None:
    """Print what `sequential` says of canaries that are worse by what is just allowed."""
    least = " | ".join(f"passed, {periods} periods or more" for periods in MIN_PERIODS)
    print(f"\n| traffic, a point worse, a point allowed | failed | {least} |")
    print("| --- |" + " --: |" * (1 + len(MIN_PERIODS)))
    for traffic in TRAFFIC:
        shares = misses(traffic, pairs, random)
        print(f"| {traffic.name} | " + " | ".join(f"{s:.2%}" for s in shares) + " |", flush=True)


if __name__ == "__main__":
    main()
