"""Is the canary worse? A plain comparison of two groups that served at the same time.

Two shares are compared: answers 5xx, and slow answers. The verdict is ``fail`` when the
canary's share is above the other group's by more than the policy allows, and that with
the policy's confidence; ``marginal`` when it is above by that much in the numbers, but
chance may have done it; ``pass`` otherwise.

A look before the end must be surer than the last one, or looking often enough would
condemn any canary: its bound is widened by ``1 / sqrt(share of the time observed)``.

Source: Agresti and Caffo (2000), "Simple and Effective Confidence Intervals for
Proportions ...": one success and one failure are added to each group. O'Brien and
Fleming (1979), "A Multiple Testing Procedure for Clinical Trials": the early bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.verdicts import Outcome, Sample, Verdict

LEAST_OBSERVED = 0.01  # share of the time; keeps the early bound finite


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """One share of both groups: counts, and how much more the canary may have, 0..1."""

    words: str
    canary: float
    baseline: float
    allowed: float


def compare(
    canary: Sample, baseline: Sample, policy: JudgePolicy, *, observed: float = 1.0
) -> Verdict:
    """Judge the canary's sample by the other group's, over the same stretch of time.

    Args:
        canary: Of the new server group.
        baseline: Of the group that it stands beside.
        policy: What is allowed, and how sure a ``fail`` must be.
        observed: Share of the step's time that has been observed, 0..1.
    """
    if reason := _too_little(canary, baseline, policy):
        return Verdict(
            outcome=Outcome.NOT_ENOUGH_DATA, reasons=(reason,), canary=canary, baseline=baseline
        )
    shares = (
        _Share(
            words="answered 5xx to",
            canary=canary.errors,
            baseline=baseline.errors,
            allowed=policy.max_error_rate_increase,
        ),
        _Share(
            words=f"took over {policy.slow_s:g} s for",
            canary=canary.slow,
            baseline=baseline.slow,
            allowed=policy.max_slow_share_increase,
        ),
    )
    z = NormalDist().inv_cdf(min(policy.confidence, 1 - 1e-9))
    z /= math.sqrt(min(1.0, max(observed, LEAST_OBSERVED)))
    found = [_judged(share, canary.requests, baseline.requests, z) for share in shares]
    worst = max((outcome for outcome, _ in found), key=_SEVERITY.index)
    reasons = tuple(f"{words} ({outcome})" for outcome, words in found)
    return Verdict(outcome=worst, reasons=reasons, canary=canary, baseline=baseline)


_SEVERITY = (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL)


def _too_little(canary: Sample, baseline: Sample, policy: JudgePolicy) -> str:
    least = max(1, policy.min_requests)
    if canary.requests < least:
        return f"The canary answered {canary.requests:g} requests; {least} are needed"
    if baseline.requests < 1:
        return "The group beside the canary answered no request: there is nothing to compare with"
    return ""


def _judged(share: _Share, canary: float, baseline: float, z: float) -> tuple[Outcome, str]:
    """Return the outcome for one share, and the numbers in words.

    Args:
        share: What is compared.
        canary: Requests of the canary.
        baseline: Requests of the other group.
        z: Standard errors between the difference and its lower bound.
    """
    ours, theirs = min(1.0, share.canary / canary), min(1.0, share.baseline / baseline)
    words = (
        f"The canary {share.words} {ours:.1%} of {canary:g} requests,"
        f" the other group {theirs:.1%} of {baseline:g}; {share.allowed:.1%} more is allowed"
    )
    if ours - theirs <= share.allowed:
        return Outcome.PASS, words
    lower = _lower_bound(share, canary, baseline, z)
    return (Outcome.FAIL if lower > share.allowed else Outcome.MARGINAL), words


def _lower_bound(share: _Share, canary: float, baseline: float, z: float) -> float:
    """Return what the difference of the shares is at least, by Agresti and Caffo."""
    n, m = canary + 2, baseline + 2
    p, q = (min(share.canary, canary) + 1) / n, (min(share.baseline, baseline) + 1) / m
    return p - q - z * math.sqrt(p * (1 - p) / n + q * (1 - q) / m)
