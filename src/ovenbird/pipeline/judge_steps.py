"""The work of the steps that judge: begin to look, look, take the last look's word."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ovenbird.domain.clusters import Cluster
from ovenbird.domain.errors import InvalidRequest, Unhealthy
from ovenbird.domain.judgements import JudgementKept, Look
from ovenbird.domain.metric_ports import Metrics
from ovenbird.domain.plans import Judge, Plan, describe
from ovenbird.domain.releases import RolloutRequest
from ovenbird.domain.verdicts import MetricVerdict, Outcome, Verdict
from ovenbird.pipeline.codec import encode
from ovenbird.pipeline.steps import Step
from ovenbird.stages import judge
from ovenbird.stages.deploy import check


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Where in a rollout is judged.

    Args:
        action: Number of the action in the plan.
        look: Number of the look, from 1.
        looks: How many looks fit into the step's time.
        steps: How many steps of the plan are judged.
    """

    action: int
    look: int
    looks: int
    steps: int

    @property
    def observed(self) -> float:
        """Share of the step's time that is over."""
        return min(1.0, self.look / self.looks)


def refuse_missing(found: Plan, cluster: Cluster, metrics: Metrics) -> None:
    """Raise before anything is done if a plan judges by metrics that do not exist.

    Raises:
        InvalidRequest: One does not, or cannot be read as it is written.
        CloudError: A source does not answer, or refuses.
    """
    policies = [action.policy for action in found.actions if isinstance(action, Judge)]
    if not policies:
        return
    serving = cluster.serving.name if cluster.serving else None
    if missing := judge.missing_metrics(policies[0], serving, metrics):
        raise InvalidRequest(
            "; ".join(missing),
            hint="Correct `judge.metrics`; what the version that serves does not measure, "
            "a canary cannot be compared by",
        )


def begin_look(step: Step, request: RolloutRequest, at: At, action: Judge) -> datetime:
    """Keep who is judged by what; return the time from which the canary is observed."""
    groups = step.ports.environments[request.environment].groups
    check(action, groups.get_cluster(request.cluster, request.environment, health=False))
    now = step.ports.clock.now()
    step.ports.store.put_judgement(
        JudgementKept(
            rollout_id=request.rollout_id,
            action=at.action,
            canary=str(action.canary),
            baseline=str(action.baseline),
            since=now,
            observe_s=action.observe_s,
            steps=at.steps,
            policy=encode(action.policy),
            looks=(),
        )
    )
    step.say(describe(action))
    return now


def look(step: Step, request: RolloutRequest, at: At, action: Judge, since: datetime) -> Verdict:
    """Judge what the canary did until now, and keep the verdict with what it was given.

    Args:
        step: Ports.
        request: The rollout.
        at: Which look.
        action: What is judged.
        since: When the observation began.
    """
    doors, store = step.ports.environments[request.environment], step.ports.store
    seen = store.list_instances_seen(request.rollout_id, action=at.action, before=at.look)
    found = judge.look(
        action,
        judge.Before(since=since, observed=at.observed, instances=seen, steps=at.steps),
        metrics=doors.metrics,
        instances_of=doors.groups.list_instances,
        clock=step.ports.clock,
    )
    store.put_look(
        request.rollout_id,
        action=at.action,
        number=at.look,
        step_percent=action.step_percent,
        look=found,
    )
    requests = found.verdict.canary.requests if found.verdict.canary else 0
    text = f"{action.step_percent} %: {_told(found, requests)}"
    facts = {"outcome": found.verdict.outcome.value, "requests": requests}
    step.note("verdict", text, {**facts, "step": action.step_percent})
    return found.verdict


def judged(
    step: Step, request: RolloutRequest, at: At, action: Judge, verdict: Verdict, seconds: float
) -> None:
    """Accept the last verdict of a canary step, or refuse the canary.

    Raises:
        Unhealthy: The canary is worse, or there were not enough requests to tell.
    """
    reasons = "; ".join(verdict.reasons) or "no reason given"
    text = f"{action.step_percent} % judged: {_word(verdict)}"
    step.ports.store.put_action(request.rollout_id, at.action, text=text, seconds=seconds)
    match verdict.outcome:
        case Outcome.PASS:
            step.say(text)
        case Outcome.MARGINAL:
            step.note("warning", f"Going on with a marginal verdict: {reasons}")
        case Outcome.FAIL:
            raise Unhealthy(
                f"The canary `{action.canary}` failed at {action.step_percent} %: {reasons}",
                hint=f"`ovenbird judge show {request.release_id}` has every look"
                if request.release_id
                else f"`{request.show}` has its verdicts",
            )
        case Outcome.NOT_ENOUGH_DATA:
            raise Unhealthy(
                f"Not enough data to promote `{action.canary}` at {action.step_percent} %: "
                f"{reasons}",
                hint=_more(verdict.metrics),
            )


def _told(look: Look, requests: float) -> str:
    verdict = look.verdict
    # A pass needs no reasons here: `release show` has them.
    why = "" if verdict.outcome is Outcome.PASS else f" ({'; '.join(verdict.reasons)})"
    return f"{_word(verdict)} after {look.seconds:.0f} s and {requests:.0f} requests{why}"


def _word(verdict: Verdict) -> str:
    return verdict.outcome.replace("_", " ")


def _more(metrics: tuple[MetricVerdict, ...]) -> str:
    """Return what to do when nobody can tell."""
    needs = max((metric.needs for metric in metrics if metric.needs), default=0.0)
    more = f"About {needs:,.0f} more requests or numbers would tell: send" if needs else "Send"
    return f"{more} more traffic, observe longer, or allow a larger difference in `judge`"
