"""Testers reach a healthy new group first; clients stay while the traffic is divided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.domain.apps import AllAtOnce, AppSpec, Canary, Strategy
from ovenbird.domain.images import ImageId
from ovenbird.domain.plans import (
    AwaitHealthy,
    CloseToTesters,
    Disable,
    OpenToTesters,
    Plan,
    SetWeights,
)
from ovenbird.domain.rollouts import plan_rollout
from ovenbird.domain.traffic import MarkedRequests
from tests.unit.domain.clusters_model import NOW, SERVING, app, cluster, environment, name

MARKS = MarkedRequests(header="X-Canary", value="please")
CANARY = Canary(steps_percent=(10, 50), observe_s=60)


def planned(strategy: Strategy, *, old: bool = True, **spec: object) -> Plan:
    chosen = environment(strategy)
    asked: AppSpec = replace(app(chosen), **spec)  # type: ignore[arg-type]
    return plan_rollout(
        cluster(SERVING) if old else cluster(),
        image_id=ImageId("ami-2"),
        version="2",
        release_id="new",
        spec=asked,
        environment=chosen,
        period_s=1,
        now=NOW,
    )


@pytest.mark.parametrize("strategy", [CANARY, AllAtOnce()])
def test_testers_come_first_and_leave_when_all_come(strategy: Strategy) -> None:
    actions = planned(strategy, testers=MARKS).actions
    kinds = [type(action) for action in actions]

    opened = actions.index(OpenToTesters(name=name(2), testers=MARKS))
    closed = actions.index(CloseToTesters(name=name(2)))
    assert kinds.count(OpenToTesters) == kinds.count(CloseToTesters) == 1
    assert isinstance(actions[opened - 1], AwaitHealthy)
    assert kinds.index(SetWeights) > opened
    assert isinstance(actions[closed - 1], SetWeights)
    assert closed < kinds.index(Disable)


def test_there_is_nobody_to_be_told_apart_at_first() -> None:
    kinds = {type(action) for action in planned(CANARY, old=False, testers=MARKS).actions}

    assert not kinds & {OpenToTesters, CloseToTesters}


def test_clients_stay_only_while_two_groups_answer() -> None:
    weights = [
        one for one in planned(CANARY, stickiness_s=90).actions if isinstance(one, SetWeights)
    ]

    assert [(len(one.weights), one.sticky_s) for one in weights] == [(2, 90), (2, 90), (1, 0)]
