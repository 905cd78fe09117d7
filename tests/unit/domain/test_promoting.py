"""What a promoted rollout leaves out: it never goes dark, and capacity still comes first."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.apps import Canary, EnvironmentSpec, JudgePolicy
from ovenbird.domain.clusters import Capacity, Cluster
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    AwaitWord,
    CreateServerGroup,
    Decommission,
    Disable,
    Judge,
    Observe,
    Resize,
    SetWeights,
    Weight,
)
from ovenbird.domain.promoting import spare
from tests.unit.domain import clusters_model as model
from tests.unit.domain.clusters_model import SERVING, cluster, environment, name, rollout, told
from tests.unit.domain.test_rollout_properties import cases, hold, serving_in, wanted_in


def patient(seen: Cluster, action: Action) -> Cluster:
    """Carry out an action; instances are healthy only when they were waited for."""
    now = model.done(seen, action)
    match action:
        case CreateServerGroup() | Resize():
            before = seen.find(action.name)
            healthy = before.instances if before else ()
            group = now.find(action.name)
            assert group is not None
            kept = healthy[: action.capacity.desired]
            return model._with(now, replace(group, instances=kept))
        case AwaitHealthy():
            before = seen.find(action.name)
            assert before is not None
            fleet = max(before.instances, model.instances(action.instances), key=len)
            return model._with(now, replace(before, instances=fleet))
        case _:
            return now


@given(cases, st.data())
def test_it_may_be_promoted_before_any_action_and_ends_the_same(
    case: tuple[Cluster, EnvironmentSpec], data: st.DataObject
) -> None:
    before, spec = case
    actions = rollout(before, spec).actions
    needs = math.ceil(wanted_in(before, spec) * spec.min_healthy_percent / 100)
    said = data.draw(st.integers(0, len(actions)))
    left_out = {place for place in spare(actions) if place >= said}

    seen = before
    for place, action in enumerate(actions):
        if place in left_out:
            continue
        hold(seen, action, serving_in(before), needs)
        seen = patient(seen, action)
        for group in seen.groups if seen.balanced else ():
            if group.release_id == "new":
                assert group.weight * needs <= 100 * group.healthy, "it cannot take it yet"

    whole = before
    for action in actions:
        whole = patient(whole, action)
    assert seen.weights == whole.weights
    assert {g.name: g.capacity for g in seen.groups} == {g.name: g.capacity for g in whole.groups}


def test_a_promoted_canary_goes_to_full_size_and_all_traffic_at_once() -> None:
    spec = environment(Canary(steps_percent=(10, 50), observe_s=180.0), size=4)
    plan = rollout(cluster(replace(SERVING, size=4)), spec)

    left_out = spare(plan.actions)
    kept = [line for place, line in enumerate(told(plan)) if place not in left_out]

    assert kept[0].startswith("Pin v001")
    assert kept[1].startswith("Create server group v002 with 1 instance")
    assert [line.split(" (")[0] for line in kept[2:]] == [
        "Resize v002 to 4 / 1 / 7",
        "Wait up to 300 s until v002 has 4 instances healthy",
        "Send 100 % to v002",
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]


def test_before_something_shrinks_nothing_that_it_needs_is_left_out() -> None:
    old, new = name(1), name(2)

    def sized(which: ServerGroupName, size: int) -> Resize:
        return Resize(name=which, capacity=Capacity(min=size, desired=size, max=9))

    def healthy(size: int) -> AwaitHealthy:
        return AwaitHealthy(name=new, instances=size, within=model.WARM_UP)

    actions = (
        sized(new, 1), healthy(1), Observe(name=new, seconds=5), sized(old, 2),
        sized(new, 2), healthy(2), AwaitWord(name=new, what="half"), sized(old, 1),
    )  # fmt: skip

    assert spare(actions) == {2, 6}


def test_weights_before_a_baseline_goes_are_kept() -> None:
    old, new, base = name(1), name(2), name(3)

    def shares(**percents: int) -> SetWeights:
        names = {"old": old, "new": new, "base": base}
        pairs = percents.items()
        return SetWeights(
            weights=tuple(Weight(name=names[key], percent=percent) for key, percent in pairs)
        )

    judge = Judge(canary=new, baseline=base, step_percent=5, observe_s=9, policy=JudgePolicy())
    actions = (
        shares(old=90, new=5, base=5), judge, shares(old=95, new=5), Decommission(name=base),
        shares(old=50, new=50), judge, shares(new=100), Disable(name=old),
    )  # fmt: skip

    assert spare(actions) == {0, 1, 4, 5}
