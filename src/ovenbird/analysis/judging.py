"""Judge a canary by what was measured of it and of the group beside it.

Two methods, chosen by the policy: ``sequential`` may be looked at as often as one likes and
ends as soon as it can tell; ``compare`` looks once, at the end. They are loaded when they are
asked for: numpy and scipy take a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ovenbird.domain.apps import JudgePolicy
from ovenbird.domain.judging import Method, Pair
from ovenbird.domain.verdicts import Verdict


def judge(
    pairs: Sequence[Pair], policy: JudgePolicy, *, observed: float = 1.0, steps: int = 1
) -> Verdict:
    """Return whether the canary is worse than the policy allows, with a reason per metric.

    Args:
        pairs: One for each metric, over the same time: since the step began.
        policy: Method, tolerances and rates; its ``metrics`` are not read, those of the pairs
            count.
        observed: Share of the step's time that has been observed, 0..1. ``compare`` says
            ``not_enough_data`` before 1.
        steps: How many times a rollout asks anew, with measurements of its own; they share
            the false-alarm rate (``sequential``).
    """
    match policy.method:
        case Method.SEQUENTIAL:
            from ovenbird.analysis.sequential import judged  # noqa: PLC0415 - numpy takes its time

            return judged(pairs, policy, observed=observed, steps=steps)
        case Method.COMPARE:
            from ovenbird.analysis.kayenta import compared  # noqa: PLC0415 - as above

            return compared(pairs, policy, observed=observed)
        case _:
            assert_never(policy.method)
