from __future__ import annotations

import pytest
from hypothesis import given

from ovenbird.domain.apps import AllAtOnce, Canary, EnvironmentSpec
from ovenbird.domain.clusters import Cluster
from ovenbird.domain.footprints import Rates, footprint
from tests.unit.domain.clusters_model import SERVING, Shape, after, cluster, environment, rollout
from tests.unit.domain.test_rollout_properties import cases

OLD, NEW = "hello-prod-v001", "hello-prod-v002"
MICRO = Rates(prices={"t3.micro": 0.01}, types={OLD: "t3.micro"})


def test_a_canary_needs_both_groups_and_the_old_one_rests_afterwards() -> None:
    seen = cluster(Shape(weight=100, size=4))
    plan = rollout(seen, environment(Canary(steps_percent=(10,), observe_s=180.0), size=4))

    found = footprint(seen, plan.actions, MICRO)

    assert (found.now, found.most) == ({OLD: 4}, {OLD: 4, NEW: 4})
    assert found.after == {OLD: 4, NEW: 4}
    assert found.more_per_hour == pytest.approx(0.04)
    assert found.unknown == ()


def test_a_price_that_is_not_known_is_never_invented() -> None:
    plan = rollout(cluster(SERVING), environment(AllAtOnce()))

    found = footprint(cluster(SERVING), plan.actions, Rates(prices={"m7g.large": 1.0}))

    assert (found.more_per_hour, found.more_after) == (None, None)
    assert found.unknown == ("t3.micro",)


@given(cases)
def test_it_counts_what_the_plan_leaves(case: tuple[Cluster, EnvironmentSpec]) -> None:
    before, spec = case
    actions = rollout(before, spec).actions

    found = footprint(before, actions, MICRO)

    there = {str(g.name): g.capacity.desired for g in after(before, actions).groups}
    assert found.after == there
    assert sum(found.most.values()) >= max(sum(found.now.values()), sum(there.values()))
