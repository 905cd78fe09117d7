"""One look at a canary: guards first, then the numbers; nothing is measured when a guard speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from ovenbird.domain.apps import JudgePolicy, metrics_of
from ovenbird.domain.clusters import Instance, InstanceId, InstanceState
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.guards import Guards
from ovenbird.domain.judging import (
    LoadBalancerSource,
    Method,
    MetricSpec,
    Pair,
    PrometheusSource,
)
from ovenbird.domain.measuring import Measured, Sides, pair
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import Judge
from ovenbird.domain.verdicts import Outcome
from ovenbird.stages.judge import Before, InstancesOf, look, missing_metrics
from ovenbird.stages.measuring import Measuring
from tests.unit.domain.clusters_model import NOW, Shape, cluster, environment, name, rollout

PERIODS = range(0, 5 * 60, 60)


@dataclass
class Metrics:
    """A canary of which some answers are errors, beside a group without any."""

    errors: float = 0.0
    fires: str = ""
    asked: list[tuple[tuple[str, ...], Sides]] = field(default_factory=list)

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]:
        self.asked.append((tuple(spec.name for spec in specs), sides))
        bad = {"errors": self.errors}
        return tuple(
            pair(
                spec,
                (side(bad.get(spec.name, 0.0)), side(0.0)),
                PERIODS,
            )
            for spec in specs
        )

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None
    ) -> tuple[str, ...]:
        return tuple(f"no `{spec.name}` of {group}" for spec in specs)

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(alarms, self.fires) if self.fires else {}


def side(bad: float) -> Measured:
    return Measured(found=dict.fromkeys(PERIODS, bad), total=dict.fromkeys(PERIODS, 300.0))


def instances(*states: str) -> InstancesOf:
    return lambda _: tuple(
        Instance(instance_id=InstanceId(f"i-{n}"), state=InstanceState(state))
        for n, state in enumerate(states)
    )


class Still:
    """A clock that stands still in the middle of the step."""

    def now(self) -> datetime:
        return NOW + timedelta(seconds=90)

    def sleep(self, seconds: float) -> None:
        raise AssertionError("one look does not wait; the workflow does")


def judge(**policy: object) -> Judge:
    actions = rollout(cluster(Shape(weight=100)), environment()).actions
    found = next(action for action in actions if isinstance(action, Judge))
    return replace(found, policy=replace(found.policy, **policy))  # type: ignore[arg-type]


HEALTHY = instances("healthy", "healthy")
FIRST = Before(since=NOW, observed=0.5)


def test_an_alarm_fails_the_canary_before_anything_is_measured() -> None:
    metrics = Metrics(fires="it is red")

    found = look(judge(), FIRST, metrics=metrics, instances_of=HEALTHY, clock=Still())

    assert found.verdict.outcome is Outcome.FAIL
    assert found.verdict.is_final
    assert found.verdict.reasons == ("Alarm `hello-prod-v002-5xx` fires: it is red",)
    assert (metrics.asked, found.pairs) == ([], None)


def test_a_look_measures_from_the_begin_of_the_step_to_now_and_keeps_what_it_saw() -> None:
    metrics = Metrics()

    found = look(judge(), FIRST, metrics=metrics, instances_of=HEALTHY, clock=Still())

    ((names, sides),) = metrics.asked
    assert names == ("errors", "slow")
    assert (sides.canary, sides.baseline) == (name(2), name(1))
    assert (sides.since, sides.until) == (NOW, Still().now())
    assert found.verdict.outcome is Outcome.PASS
    assert [metric.name for metric in found.verdict.metrics] == ["errors", "slow"]
    assert found.verdict.canary is not None
    assert (found.verdict.canary.requests, found.verdict.canary.errors) == (1500, 0)
    assert found.pairs is not None
    assert found.instances == {"i-0": "healthy", "i-1": "healthy"}
    assert (found.seconds, found.observed) == (90, 0.5)


def test_a_bad_canary_fails_in_the_middle_of_the_step_for_good() -> None:
    found = look(judge(), FIRST, metrics=Metrics(errors=60), instances_of=HEALTHY, clock=Still())

    assert (found.verdict.outcome, found.verdict.is_final) == (Outcome.FAIL, True)
    assert "20.00%" in found.verdict.reasons[0]


def test_compare_says_nothing_before_the_end() -> None:
    action = judge(method=Method.COMPARE)

    middle = look(action, FIRST, metrics=Metrics(errors=60), instances_of=HEALTHY, clock=Still())
    end = look(
        action,
        replace(FIRST, observed=1.0),
        metrics=Metrics(errors=60),
        instances_of=HEALTHY,
        clock=Still(),
    )

    assert middle.verdict.outcome is Outcome.NOT_ENOUGH_DATA
    assert end.verdict.outcome is Outcome.FAIL
    assert end.verdict.score is not None


def test_steps_share_the_false_alarm_rate() -> None:
    """What is enough evidence where one step is judged is too little where a hundred are."""
    metrics = Metrics(errors=9)

    one = look(judge(), FIRST, metrics=metrics, instances_of=HEALTHY, clock=Still())
    many = replace(FIRST, steps=10**9)
    of_many = look(judge(), many, metrics=metrics, instances_of=HEALTHY, clock=Still())

    assert one.verdict.outcome is Outcome.FAIL
    assert of_many.verdict.outcome is Outcome.NOT_ENOUGH_DATA


def test_instances_that_flap_too_often_fail_the_canary() -> None:
    up, down = {"i-0": "healthy"}, {"i-0": "unhealthy"}
    before = replace(FIRST, instances=(up, down, up))
    policy = {"guards": Guards(flaps=1)}

    found = look(
        judge(**policy),
        before,
        metrics=Metrics(),
        instances_of=instances("unhealthy"),
        clock=Still(),
    )
    fine = look(
        judge(**policy), before, metrics=Metrics(), instances_of=instances("healthy"), clock=Still()
    )

    assert found.verdict.reasons == (
        "Instances of the canary became unhealthy 2 times in this step; allowed: once",
    )
    assert fine.verdict.outcome is Outcome.PASS


def test_an_instance_that_is_replaced_counts_as_a_restart() -> None:
    states = {"i-0": "healthy", "i-8": "healthy", "i-9": "healthy"}
    replaced = {"i-0": "healthy", "i-1": "healthy", "i-2": "starting"}
    before = replace(FIRST, instances=(states, replaced))

    found = look(judge(), before, metrics=Metrics(), instances_of=HEALTHY, clock=Still())

    assert found.verdict.reasons == (
        "Instances of the canary were replaced 2 times in this step; allowed: once",
    )


def test_without_guards_nobody_looks_at_instances() -> None:
    def instances_of(_: ServerGroupName) -> tuple[Instance, ...]:
        raise AssertionError("nobody asks")

    found = look(
        judge(guards=Guards(flaps=None, restarts=None)),
        FIRST, metrics=Metrics(), instances_of=instances_of, clock=Still(),
    )  # fmt: skip

    assert (found.verdict.outcome, found.instances) == (Outcome.PASS, {})


def test_metrics_are_looked_for_before_anything_changes() -> None:
    built_in, own = JudgePolicy(), JudgePolicy(metrics=metrics_of(JudgePolicy()))

    assert missing_metrics(built_in, name(1), Metrics()) == ()
    assert missing_metrics(own, name(1), Metrics())[0] == "no `errors` of hello-prod-v001"


class Queries:
    """A Prometheus in which all is fine."""

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]:
        return Metrics().pairs(specs, sides)

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None, *, now_s: float
    ) -> tuple[str, ...]:
        return tuple(f"Prometheus: no `{spec.name}`" for spec in specs)


def test_each_metric_is_read_at_its_source_and_comes_in_its_place() -> None:
    specs = (
        MetricSpec(name="a", source=PrometheusSource(query="a"), is_share=True),
        MetricSpec(name="b", source=LoadBalancerSource(what="errors"), is_share=True),
        MetricSpec(name="c", source=PrometheusSource(query="c"), is_share=True),
    )
    cloud = Metrics()
    both = Measuring(cloud=cloud, queries=Queries(), environment="prod", clock=Still())
    sides = Sides(canary=name(2), baseline=name(1), since=NOW, until=NOW, slow_s=1)

    found = both.pairs(specs, sides)

    assert [one.spec.name for one in found] == ["a", "b", "c"]
    assert [names for names, _ in cloud.asked] == [("b",)]
    assert both.missing(specs, None) == (
        "no `b` of None", "Prometheus: no `a`", "Prometheus: no `c`",
    )  # fmt: skip


def test_a_query_without_a_prometheus_is_refused_with_the_setting() -> None:
    spec = MetricSpec(name="queue", source=PrometheusSource(query="q"))
    alone = Measuring(cloud=Metrics(), queries=None, environment="prod", clock=Still())
    sides = Sides(canary=name(2), baseline=name(1), since=NOW, until=NOW, slow_s=1)

    with pytest.raises(InvalidRequest, match="`queue` is of Prometheus") as caught:
        alone.pairs([spec], sides)

    assert "environments.prod.prometheus_url" in caught.value.hint
