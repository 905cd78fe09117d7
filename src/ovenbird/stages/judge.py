"""Look at a canary once; a workflow looks again with each new number until it can be told.

guards (alarms, instances) ─▶ pairs, read once ─▶ the judge's method ─▶ verdict, with what it saw
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ovenbird.analysis.judging import judge
from ovenbird.domain.apps import JudgePolicy, metrics_of
from ovenbird.domain.clusters import Instance
from ovenbird.domain.guards import States, instance_reasons
from ovenbird.domain.judgements import Look
from ovenbird.domain.measuring import Sides, sample_of
from ovenbird.domain.metric_ports import Metrics
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import Judge
from ovenbird.domain.ports import Clock
from ovenbird.domain.verdicts import Outcome, Verdict

InstancesOf = Callable[[ServerGroupName], tuple[Instance, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was there before a look.

    Args:
        since: When the step's weights were set.
        instances: What earlier looks saw of the canary's instances, oldest first.
        steps: How many steps of the rollout are judged; they share the false-alarm rate.
        observed: Share of the step's looks that this one ends, 0..1.
    """

    since: datetime
    observed: float
    instances: Sequence[States] = ()
    steps: int = 1


def look(
    action: Judge, before: Before, *, metrics: Metrics, instances_of: InstancesOf, clock: Clock
) -> Look:
    """Return what the canary looks like from the step's begin to now.

    An alarm of the canary that fires, and instances that flap or restart too often, are a
    ``fail`` at once, and nothing is measured.

    Args:
        action: Whom to judge, beside whom, by which policy.
        before: Since when, and what was seen since then.
        metrics: Of the cluster's account.
        instances_of: Returns a server group's instances, as they are now.
        clock: Knows the time.

    Raises:
        CloudError: AWS, or Prometheus, does not answer.
        InvalidRequest: A metric cannot be read as it is written.
    """
    instances = _states(action, instances_of)
    seen = (*before.instances, instances) if instances else ()
    now = clock.now()
    seconds = (now - before.since).total_seconds()
    observed = before.observed
    if reasons := (
        *alarm_reasons(action.alarms, metrics),
        *instance_reasons(seen, action.policy.guards),
    ):
        verdict = Verdict(outcome=Outcome.FAIL, reasons=reasons, is_final=True)
        return Look(verdict=verdict, observed=observed, seconds=seconds, instances=instances)
    sides = Sides(
        canary=action.canary,
        baseline=action.baseline,
        since=before.since,
        until=now,
        slow_s=action.policy.slow_s,
    )
    pairs = metrics.pairs(metrics_of(action.policy), sides)
    verdict = judge(pairs, action.policy, observed=observed, steps=before.steps)
    return Look(
        verdict=replace(
            verdict,
            canary=sample_of(pairs, sides, is_canary=True),
            baseline=sample_of(pairs, sides, is_canary=False),
        ),
        pairs=pairs,
        observed=observed,
        seconds=seconds,
        instances=instances,
    )


def missing_metrics(
    policy: JudgePolicy, group: ServerGroupName | None, metrics: Metrics
) -> tuple[str, ...]:
    """Return a sentence for each metric of a policy that does not exist, before anything changes.

    What the load balancer counts is not looked for: it comes with requests.

    Args:
        policy: Whose metrics.
        group: The server group that serves now, whose numbers must be there; None where nothing
            runs yet: only what names no group is looked for.
        metrics: Of the cluster's account.

    Raises:
        CloudError: AWS, or Prometheus, does not answer.
        InvalidRequest: A metric cannot be read as it is written.
    """
    return metrics.missing(policy.metrics, group) if policy.metrics else ()


def alarm_reasons(alarms: Sequence[str], metrics: Metrics) -> tuple[str, ...]:
    """Return why a rollout must stop: one sentence for each alarm that fires.

    Raises:
        CloudError: AWS refused a call.
    """
    if not alarms:
        return ()
    return tuple(f"Alarm `{name}` fires: {why}" for name, why in metrics.firing(alarms).items())


def _states(action: Judge, instances_of: InstancesOf) -> States:
    if not action.policy.guards.watches:
        return {}
    return {one.instance_id: one.state.value for one in instances_of(action.canary)}
