"""Judge a canary once, at the end of its time, by Kayenta's NetflixACA method.

Each metric's numbers on both sides, one by period, are cleaned and compared by ranks
(:mod:`ovenbird.analysis.ranks`). The canary is *high* when the whole interval of the shift lies
above a quarter of its estimate, and the size of the effect is at or beyond what is allowed;
*low* likewise. Metrics of a group share its weight; the score is the weighted share that passed.

What differs from Kayenta: a shift within the metric's own tolerance passes; where so few numbers
could not show any shift, the verdict is ``not_enough_data``, not ``pass``; and when half of the
metrics or more have no data, it is that, not a score of 0.

Source: github.com/spinnaker/kayenta, ``kayenta-judge`` (NetflixACAJudge, MannWhitneyClassifier,
WeightedSumScorer, IQRDetector).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ovenbird.analysis.ranks import Shift, can_tell, lies_above, shift
from ovenbird.analysis.series import Side, cleaned, events, numbers
from ovenbird.analysis.summaries import cohens_d, common_language_effect, mean_ratio, summary
from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.judging import Direction, EffectSize, MetricSpec, NanStrategy, Pair
from ovenbird.domain.verdicts import MetricVerdict, Outcome, Verdict

Floats = NDArray[np.float64]

TOLERANCE = 0.25  # of the estimated shift: Kayenta's own
DEFAULT_CRITICAL = (1.0, 1.0)
WHOLE = 100.0


class Class(StrEnum):
    """How the canary's numbers lie to the baseline's."""

    PASS = "pass"  # noqa: S105 - not a password
    HIGH = "high"
    LOW = "low"
    NODATA = "nodata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """One metric.

    Args:
        is_critical: Whether it fails the whole.
        effect: Size of the effect; NaN when it has none.
        shift: Of the canary against the baseline; None without data or difference.
    """

    name: Class
    is_critical: bool = False
    effect: float = 1.0
    shift: Shift | None = None


def compared(pairs: Sequence[Pair], policy: JudgePolicy, *, observed: float = 1.0) -> Verdict:
    """Return the verdict of the whole, with the score.

    Args:
        pairs: One for each metric, over the same time.
        policy: Confidence, score thresholds, weights of groups.
        observed: Share of the time that is over, 0..1; below 1 it is too early.
    """
    found = [(pair.spec, *_metric(pair, policy)) for pair in pairs]
    metrics = tuple(verdict for _, verdict, _ in found)
    unknown = sum(metric.outcome is Outcome.NOT_ENOUGH_DATA for metric in metrics)
    score = score_of([(spec, metric.outcome) for spec, metric, _ in found], policy.group_weights)
    reasons = [f"{metric.reason} ({metric.outcome})" for metric in metrics]
    if observed < 1:
        outcome = Outcome.NOT_ENOUGH_DATA
        reasons.insert(0, f"{observed:.0%} of the time is over; `compare` looks at the end")
    elif any(is_critical for _, _, is_critical in found):
        outcome, score = Outcome.FAIL, 0.0
    elif not metrics or 2 * unknown >= len(metrics):
        outcome = Outcome.NOT_ENOUGH_DATA
    else:
        outcome = _by_score(score, policy)
    return Verdict(outcome=outcome, reasons=tuple(reasons), metrics=metrics, score=score)


def classified(
    ours: Floats,
    theirs: Floats,
    spec: MetricSpec,
    *,
    confidence: float,
    tolerance: float = TOLERANCE,
    margin: float = 0.0,
) -> Classified:
    """Return how the canary's numbers lie to the baseline's.

    Args:
        ours: The canary's, cleaned.
        theirs: The baseline's, cleaned.
        spec: Direction, effect size and thresholds.
        confidence: Of the interval, 0..1.
        tolerance: Share of the estimated shift that the interval must be beyond.
        margin: The shift that it must be beyond in any case, in the numbers' unit.
    """
    if not len(ours) or not len(theirs):
        return _nothing(spec)
    if np.array_equal(np.sort(ours), np.sort(theirs)) or len(np.unique([*ours, *theirs])) == 1:
        return Classified(name=Class.PASS)
    moved = shift(ours, theirs, confidence=confidence)
    bound = max(tolerance * abs(moved.estimate), margin)
    effect = _effect(ours, theirs, spec.effect_size)
    name = Class.PASS
    if lies_above(ours, theirs, bound, confidence=confidence):
        name = Class.HIGH if spec.direction is not Direction.DECREASE else Class.PASS
    elif lies_above(-ours, -theirs, bound, confidence=confidence):
        name = Class.LOW if spec.direction is not Direction.INCREASE else Class.PASS
    critical = spec.critical or DEFAULT_CRITICAL
    if not _reaches(name, effect, spec.allowed):
        name = Class.PASS
    is_critical = spec.is_critical and _reaches(name, effect, critical)
    return Classified(name=name, is_critical=is_critical, effect=effect, shift=moved)


def by_means(ours: Floats, theirs: Floats, spec: MetricSpec) -> Class:
    """Return how the means lie to each other, however little that says (for benchmarks)."""
    if not len(ours) or not len(theirs):
        return _nothing(spec).name
    mine, other = summary(ours).mean, summary(theirs).mean
    if mine > other and spec.direction is not Direction.DECREASE:
        return Class.HIGH
    if mine < other and spec.direction is not Direction.INCREASE:
        return Class.LOW
    return Class.PASS


def score_of(found: Sequence[tuple[MetricSpec, Outcome]], weights: Mapping[str, float]) -> float:
    """Return the score, 0..100: the share of each group that passed, by the groups' weights.

    A group without data counts as passed. Groups without a weight share what is left of 100.
    """
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for spec, outcome in found:
        groups[spec.group].append(outcome)
    others = [name for name in groups if name not in weights]
    rest = max(0.0, WHOLE - sum(weights.values())) / len(others) if others else 0.0
    total = 0.0
    for name, outcomes in groups.items():
        known = [outcome for outcome in outcomes if outcome is not Outcome.NOT_ENOUGH_DATA]
        passed = sum(outcome is Outcome.PASS for outcome in known) / len(known) if known else 1.0
        total += passed * weights.get(name, rest)
    return round(total, 2)


def _by_score(score: float, policy: JudgePolicy) -> Outcome:
    if score >= policy.pass_score:
        return Outcome.PASS
    return Outcome.MARGINAL if score >= policy.marginal_score else Outcome.FAIL


def _nothing(spec: MetricSpec) -> Classified:
    if spec.nan is NanStrategy.REPLACE:  # no errors were counted: there were none
        return Classified(name=Class.PASS)
    return Classified(name=Class.NODATA, is_critical=spec.is_critical)


def _effect(ours: Floats, theirs: Floats, kind: EffectSize) -> float:
    if kind is EffectSize.CLES:
        return common_language_effect(ours, theirs)
    return mean_ratio(ours, theirs)


def _reaches(name: Class, effect: float, thresholds: tuple[float, float]) -> bool:
    """Return whether an effect is at a threshold or beyond; one without a size is."""
    decrease, increase = thresholds
    if name is Class.HIGH:
        return math.isnan(effect) or effect >= increase
    if name is Class.LOW:
        return math.isnan(effect) or effect <= decrease
    return False


def _metric(pair: Pair, policy: JudgePolicy) -> tuple[MetricVerdict, bool]:
    """Return what was found of one metric, and whether it fails the whole."""
    spec = pair.spec
    ours, theirs = (cleaned(numbers(side), spec) for side in (pair.canary, pair.baseline))
    margin = spec.tolerance
    if not spec.is_share and len(theirs):
        margin *= abs(float(np.median(theirs)))
    found = classified(ours, theirs, spec, confidence=policy.confidence, margin=margin)
    if spec.must_have and not (_is_known(pair.canary) and _is_known(pair.baseline)):
        found = Classified(name=Class.NODATA, is_critical=spec.is_critical)
    outcome = _outcome(found, spec)
    few = spec.is_share and events(pair.canary) < policy.min_requests
    blind = (
        len(ours)
        and len(theirs)
        and not can_tell(len(ours), len(theirs), confidence=policy.confidence)
    )
    if found.name is Class.PASS and (few or blind):
        outcome = Outcome.NOT_ENOUGH_DATA
    verdict = MetricVerdict(
        name=spec.name,
        outcome=outcome,
        reason=_reason(spec, ours, theirs, found, outcome),
        numbers=_numbers(ours, theirs, found),
    )
    return verdict, found.is_critical or (found.name is Class.NODATA and spec.must_have)


def _is_known(side: Side) -> bool:
    """Tell whether anything was measured, before a missing number is taken for 0."""
    return not bool(np.isnan(numbers(side)).all())


def _outcome(found: Classified, spec: MetricSpec) -> Outcome:
    if found.name is Class.NODATA:
        is_failed = spec.must_have or found.is_critical
        return Outcome.FAIL if is_failed else Outcome.NOT_ENOUGH_DATA
    return Outcome.PASS if found.name is Class.PASS else Outcome.FAIL


def _reason(
    spec: MetricSpec, ours: Floats, theirs: Floats, found: Classified, outcome: Outcome
) -> str:
    if found.name is Class.NODATA:
        return f"{spec.name}: nothing was measured"
    if not len(ours) or not len(theirs):
        return f"{spec.name}: nothing was measured, which counts as 0"
    sides = (
        f"{spec.name}: {_size(ours, spec)} on average in {len(ours)} periods of the canary,"
        f" {_size(theirs, spec)} in {len(theirs)} of the baseline"
    )
    if outcome is Outcome.NOT_ENOUGH_DATA:
        return f"{sides}; too few to tell"
    if found.shift is None:
        return f"{sides}; they are the same"
    low, high = (f"{end:+.4g}" for end in (found.shift.low, found.shift.high))
    return f"{sides}; the shift is between {low} and {high}"


def _size(values: Floats, spec: MetricSpec) -> str:
    mean = summary(values).mean
    return f"{mean:.2%}" if spec.is_share else f"{mean:.4g}"


def _numbers(ours: Floats, theirs: Floats, found: Classified) -> dict[str, float]:
    """Return what was found, for machines; what there is no number for is left out."""
    numbers = {"effect": found.effect, "cohens_d": math.nan}
    for name, side in (("canary", summary(ours)), ("baseline", summary(theirs))):
        numbers |= {name: side.mean, f"{name}_events": side.count, f"{name}_std": side.std}
    if len(ours) and len(theirs):
        numbers["cohens_d"] = cohens_d(ours, theirs)
    if moved := found.shift:
        numbers |= {"low": moved.low, "estimate": moved.estimate, "high": moved.high}
    return {name: number for name, number in numbers.items() if not math.isnan(number)}
