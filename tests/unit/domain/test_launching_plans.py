"""What a plan says of instances and guards."""

from __future__ import annotations

from dataclasses import replace

from ovenbird.domain.apps import AllAtOnce
from ovenbird.domain.launching import LaunchSpec
from ovenbird.domain.plans import CreateServerGroup, Judge
from tests.unit.domain.clusters_model import RESTING, SERVING, cluster, environment, name, rollout


def test_a_new_group_copies_the_one_in_traffic_and_is_launched_as_the_manifest_says() -> None:
    spec = replace(environment(AllAtOnce()), launch=LaunchSpec(zones=("a",)))
    plan = rollout(cluster(SERVING), spec)

    (made,) = (action for action in plan.actions if isinstance(action, CreateServerGroup))
    assert (made.copies, made.launch) == (name(1), spec.launch)


def test_without_one_in_traffic_the_newest_is_copied_and_the_first_copies_none() -> None:
    (first,) = (
        action
        for action in rollout(cluster(), environment()).actions
        if isinstance(action, CreateServerGroup)
    )
    (next_,) = (
        action
        for action in rollout(cluster(RESTING), environment()).actions
        if isinstance(action, CreateServerGroup)
    )

    assert (first.copies, next_.copies) == (None, name(1))


def test_a_canary_is_judged_with_the_guards_of_others() -> None:
    spec = replace(environment(size=4), guards=("checkout",))
    plan = rollout(cluster(SERVING), spec)

    judged = [action for action in plan.actions if isinstance(action, Judge)]
    assert judged != []
    assert all("checkout" in action.alarms for action in judged)
