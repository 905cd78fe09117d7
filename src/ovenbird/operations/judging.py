"""What was judged, looked at again: each look with its samples, by the same or another policy.

records ─▶ Judged (a step, its policy, its looks) ─▶ replayed by a policy ─▶ the same, judged anew
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovenbird.analysis.judging import judge
from ovenbird.analysis.plots import plot
from ovenbird.domain.apps import JudgePolicy, metrics_of
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.guards import instance_reasons
from ovenbird.domain.judgements import JudgementKept, LookKept, can_tell, pairs_of, sums_as_samples
from ovenbird.domain.judging import LoadBalancerSource, Method, MetricSpec, Pair
from ovenbird.domain.releases import Rollout
from ovenbird.domain.verdicts import Outcome, Verdict
from ovenbird.operations.releases import subject_of
from ovenbird.store.records import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look: what was found, and what was measured.

    Args:
        was: The outcome that was kept; the same unless it was judged again.
        pairs: Empty when nothing was measured.
        ends: Whether the step ends here: it can be told, or its time is over.
    """

    number: int
    seconds: float
    was: str
    verdict: Verdict
    pairs: tuple[Pair, ...]
    ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One step of a rollout with all its looks.

    Args:
        notes: What a reader must know: what is missing, what cannot be judged again.
    """

    rollout_id: str
    environment: str
    step_percent: int
    canary: str
    baseline: str
    policy: JudgePolicy
    looks: tuple[Seen, ...]
    notes: tuple[str, ...] = ()


def read_policy(path: Path) -> JudgePolicy:
    """Read a file of the keys that stand below ``judge`` in a manifest.

    Raises:
        NotFound: It does not exist.
        InvalidRequest: Something in it is wrong; each place is named with its line.
    """
    from ovenbird.config.judge_policies import load_policy  # noqa: PLC0415 - pydantic and YAML

    return load_policy(path)


def drawn(look: Seen, *, width: int) -> tuple[str, ...]:
    """Return what a look saw of each metric, drawn over time in lines of text.

    Args:
        look: With or without measurements.
        width: Characters.
    """
    return tuple(line for pair in look.pairs for line in plot(pair, width=width))


def steps_judged(store: Store, text: str, *, environment: str = "") -> tuple[Judged, ...]:
    """Return the steps of a release that were judged, as they were found.

    Args:
        store: Our records.
        text: Id of a release or of another change, a unique beginning of it, or ``latest``.
        environment: Only of its rollout there; empty for all.

    Raises:
        NotFound: There is no such release, or nothing was judged in it.
    """
    return tuple(_as_kept(rollout, kept) for rollout, kept in _kept(store, text, environment))


def steps_replayed(
    store: Store, text: str, *, environment: str = "", policy: JudgePolicy | None = None
) -> tuple[Judged, ...]:
    """Return the steps of a release that were judged, judged again from their samples.

    Args:
        store: Our records.
        text: As in :func:`steps_judged`.
        environment: As there.
        policy: What to judge by; None for what it was judged by.

    Raises:
        NotFound: There is no such release, or nothing was judged in it.
        InvalidRequest: None of the policy's metrics was measured.
    """
    found = tuple(
        _replayed(rollout, kept, policy) for rollout, kept in _kept(store, text, environment)
    )
    if policy and not any(look.pairs for step in found for look in step.looks):
        names = ", ".join(f"`{spec.name}`" for spec in metrics_of(policy))
        raise InvalidRequest(
            f"None of the metrics {names} was measured then",
            hint=f"`ovenbird judge show {text}` shows what was",
        )
    return found


def _kept(store: Store, text: str, environment: str) -> Iterator[tuple[Rollout, JudgementKept]]:
    subject = subject_of(store, text)
    rollouts = _rollouts(store, subject)
    steps = [
        (rollout, kept)
        for rollout in rollouts
        if environment in {"", rollout.environment}
        for kept in store.list_judgements(rollout.rollout_id)
        if kept.looks
    ]
    if not steps:
        where = f" in `{environment}`" if environment else ""
        raise NotFound(
            f"Nothing was judged in `{subject}`{where}",
            hint=f"`ovenbird release show {subject}` shows what was done",
        )
    yield from steps


def _rollouts(store: Store, subject: str) -> tuple[Rollout, ...]:
    try:
        return store.get_report(subject).rollouts
    except NotFound:
        return (store.get_rollout(subject),)


def _as_kept(rollout: Rollout, kept: JudgementKept) -> Judged:
    policy = _policy(kept)
    specs = metrics_of(policy)
    looks = [
        Seen(
            number=look.number,
            seconds=look.seconds,
            was=look.outcome,
            verdict=Verdict(
                outcome=Outcome(look.outcome),
                reasons=look.reasons,
                metrics=look.metrics,
                score=look.score,
                is_final=look.is_final,
            ),
            pairs=pairs_of(_samples(look), specs),
            ends=look is kept.looks[-1],
        )
        for look in kept.looks
    ]
    return _judged(rollout, kept, policy, looks)


def _replayed(rollout: Rollout, kept: JudgementKept, policy: JudgePolicy | None) -> Judged:
    asked = policy or _policy(kept)
    looks = [_again(kept, place, asked) for place in range(len(kept.looks))]
    return replace(
        _judged(rollout, kept, asked, tuple(_until_told(looks, kept))),
        notes=tuple(_notes(kept, asked, is_other=policy is not None)),
    )


def _judged(
    rollout: Rollout, kept: JudgementKept, policy: JudgePolicy, looks: Sequence[Seen]
) -> Judged:
    return Judged(
        rollout_id=rollout.rollout_id,
        environment=rollout.environment,
        step_percent=kept.looks[0].step_percent,
        canary=kept.canary,
        baseline=kept.baseline,
        policy=policy,
        looks=tuple(looks),
        notes=() if kept.policy else (_OLD,),
    )


def _again(kept: JudgementKept, place: int, policy: JudgePolicy) -> Seen:
    """Judge one look again, guards first, as the look did."""
    look = kept.looks[place]
    seen = [one.instances for one in kept.looks[: place + 1] if one.instances]
    pairs = pairs_of(_samples(look), metrics_of(policy))
    if reasons := instance_reasons(seen, policy.guards):
        verdict = Verdict(outcome=Outcome.FAIL, reasons=reasons, is_final=True)
    elif not pairs:
        verdict = Verdict(outcome=Outcome(look.outcome), reasons=look.reasons, is_final=True)
    else:
        verdict = judge(pairs, policy, observed=look.observed, steps=kept.steps)
    return Seen(
        number=look.number,
        seconds=look.seconds,
        was=look.outcome,
        verdict=verdict,
        pairs=pairs,
        ends=False,
    )


def _until_told(looks: Sequence[Seen], kept: JudgementKept) -> Iterator[Seen]:
    """Yield all looks, of which the first that can tell is marked as the end."""
    ended = False
    for seen, look in zip(looks, kept.looks, strict=True):
        ends = not ended and can_tell(seen.verdict, look.number, is_over=look.observed >= 1)
        ended = ended or ends
        yield replace(seen, ends=ends)


def _notes(kept: JudgementKept, policy: JudgePolicy, *, is_other: bool) -> Iterator[str]:
    if any(look.is_old for look in kept.looks):
        yield "Kept before samples were: sums of the whole time alone, which few policies judge"
    if not kept.policy and not is_other:
        yield _OLD
    measured = {name for look in kept.looks for name in _samples(look)}
    for spec in metrics_of(policy):
        if measured and spec.name not in measured:
            yield f"`{spec.name}` was not measured then, and is left out"
        elif is_other and (why := _is_other_metric(spec, kept, policy)):
            yield f"`{spec.name}` was measured {why}: what is judged is that"
    if policy.method is Method.COMPARE and kept.looks[-1].observed < 1:
        yield "The step ended before its time was over, and `compare` judges at the end alone"


def _is_other_metric(spec: MetricSpec, kept: JudgementKept, policy: JudgePolicy) -> str:
    if not kept.policy:
        return ""
    old = _policy(kept)
    was = next((one for one in metrics_of(old) if one.name == spec.name), spec)
    if was.source != spec.source:
        return "from another source"
    is_slow = isinstance(spec.source, LoadBalancerSource) and spec.source.what == "slow"
    return f"over {old.slow_s:g} s" if is_slow and old.slow_s != policy.slow_s else ""


def _policy(kept: JudgementKept) -> JudgePolicy:
    if not kept.policy:
        return JudgePolicy()
    from ovenbird.pipeline.codec import decode  # noqa: PLC0415 - the engine takes its time

    found: JudgePolicy = decode(kept.policy)
    return found


def _samples(look: LookKept) -> Mapping[str, Mapping[str, Sequence[Sequence[float | None]]]]:
    if look.samples is not None:
        return look.samples
    if look.canary and look.baseline:
        return sums_as_samples(look.canary, look.baseline)
    return {}


_OLD = "By which policy it was judged was not kept then: the defaults are shown"
