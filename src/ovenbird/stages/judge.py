"""Look at a canary once; a workflow looks again and again until the step's time is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ovenbird.analysis.comparison import compare
from ovenbird.domain.plans import Judge
from ovenbird.domain.ports import Clock, Metrics
from ovenbird.domain.verdicts import Outcome, Verdict


def look(action: Judge, *, since: datetime, metrics: Metrics, clock: Clock) -> Verdict:
    """Return what the canary looks like from *since* to now.

    An alarm of the canary that fires is a ``fail`` at once. A ``fail`` by the numbers
    before the step's time is over needs more evidence than at its end. ``pass``,
    ``marginal`` and ``not_enough_data`` count only when the time is over.

    Args:
        action: Whom to judge, beside whom, by which policy.
        since: When the step's weights were set.
        metrics: Of the cluster's account.
        clock: Knows the time.

    Raises:
        CloudError: AWS refused a call.
    """
    if reasons := alarm_reasons(action.alarms, metrics):
        return Verdict(outcome=Outcome.FAIL, reasons=reasons)
    now = clock.now()
    canary, baseline = metrics.samples(
        (action.canary, action.baseline), since=since, until=now, slow_s=action.policy.slow_s
    )
    observed = (now - since).total_seconds() / action.observe_s
    return compare(canary, baseline, action.policy, observed=observed)


def alarm_reasons(alarms: Sequence[str], metrics: Metrics) -> tuple[str, ...]:
    """Return why a rollout must stop: one sentence for each alarm that fires.

    Raises:
        CloudError: AWS refused a call.
    """
    return tuple(f"Alarm `{name}` fires: {why}" for name, why in metrics.firing(alarms).items())
