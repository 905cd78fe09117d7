"""What holds after every action of every plan: never dark, never too much weight."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.apps import AllAtOnce, Canary, EnvironmentSpec
from ovenbird.domain.clusters import Cluster
from ovenbird.domain.plans import Action, SetWeights
from ovenbird.domain.resting import TARGET_GROUPS_PER_RULE, previous
from ovenbird.domain.retreats import plan_retreat
from ovenbird.domain.rollbacks import plan_rollback
from ovenbird.stages.deploy import check
from tests.unit.domain.clusters_model import (
    WARM_UP,
    Shape,
    after,
    cluster,
    done,
    environment,
    name,
    rollout,
)

rested = st.integers(1, 10_000).map(lambda minutes: timedelta(minutes=minutes))
resting = st.builds(Shape, rested=rested, size=st.integers(1, 6), pinned=st.booleans())
left_over = st.builds(Shape, size=st.integers(0, 2), release=st.just("failed"))
serving = st.builds(Shape, weight=st.just(100), size=st.integers(1, 9))


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    before = draw(st.lists(resting | left_over, max_size=2))
    now = draw(st.lists(serving, min_size=1, max_size=1))
    later = draw(st.lists(resting | left_over, max_size=2 - len(before)))
    return cluster(*before, *now, *later)


steps = st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True).map(sorted).map(tuple)
strategies = st.just(AllAtOnce()) | st.builds(
    Canary, steps_percent=steps, observe_s=st.floats(180, 900)
)
environments = st.builds(
    environment, strategies, size=st.integers(1, 9), window_s=st.floats(0, 100_000)
)


def hold(seen: Cluster, action: Action, wanted: int) -> Cluster:
    """Carry out one action, as the stage does, and assert what always holds.

    Args:
        seen: Before the action.
        action: What is done.
        wanted: Instances that all traffic needs.
    """
    check(action, seen)
    served = any(g.enabled and g.healthy for g in seen.groups)
    now = done(seen, action)
    assert not served or any(g.enabled and g.healthy for g in now.groups), "dark"
    assert sum(g.weight for g in now.groups) in ({100} if served else {0, 100})
    assert len(now.groups) <= TARGET_GROUPS_PER_RULE
    if isinstance(action, SetWeights):
        for group in now.groups:
            # The new group's: the old one takes back no more than it carried before.
            if group.release_id == "new":
                assert group.weight <= 100 * group.healthy / wanted + 1e-9
    return now


@given(clusters(), environments)
def test_a_rollout_is_never_dark(before: Cluster, spec: EnvironmentSpec) -> None:
    old = before.serving
    assert old is not None
    seen = before
    for action in rollout(before, spec).actions:
        seen = hold(seen, action, spec.capacity.desired)
        kept = seen.find(old.name)
        assert kept is not None, "what a rollback needs is gone"
        assert kept.capacity.desired == old.capacity.desired, "what a rollback needs has shrunk"

    assert previous(seen) == seen.find(old.name)
    assert seen.serving is not None
    assert seen.serving.release_id == "new"
    assert seen.serving.weight == 100
    assert seen.serving.capacity == spec.capacity


@given(environments)
def test_a_first_rollout_serves_at_full_size(spec: EnvironmentSpec) -> None:
    seen = cluster()
    for action in rollout(seen, spec).actions:
        seen = hold(seen, action, spec.capacity.desired)

    assert [(g.weight, g.healthy) for g in seen.groups] == [(100, spec.capacity.desired)]


@given(clusters(), environments, st.data())
def test_a_retreat_from_anywhere_brings_the_old_group_back(
    before: Cluster, spec: EnvironmentSpec, data: st.DataObject
) -> None:
    old = before.serving
    assert old is not None
    actions = rollout(before, spec).actions
    broken = after(before, actions[: data.draw(st.integers(0, len(actions)))])
    new = next((g.name for g in broken.groups if g.release_id == "new"), name(999))

    seen = broken
    for action in plan_retreat(broken, failed=new).actions:
        seen = hold(seen, action, 1)

    assert seen.find(new) is None
    assert seen.serving == old


@given(clusters(), environments, st.data())
def test_a_second_run_from_anywhere_ends_where_the_first_would(
    before: Cluster, spec: EnvironmentSpec, data: st.DataObject
) -> None:
    actions = rollout(before, spec).actions
    broken = after(before, actions[: data.draw(st.integers(0, len(actions)))])

    seen = broken
    for action in rollout(broken, spec).actions:
        seen = hold(seen, action, spec.capacity.desired)

    assert seen.serving is not None
    assert (seen.serving.weight, seen.serving.release_id) == (100, "new")
    assert [g.release_id for g in seen.groups].count("new") == 1


@given(clusters(), environments)
def test_a_rollback_undoes_a_promotion(before: Cluster, spec: EnvironmentSpec) -> None:
    old = before.serving
    assert old is not None
    seen = after(before, rollout(before, spec).actions)

    for action in plan_rollback(seen, warm_up=WARM_UP).actions:
        seen = hold(seen, action, 1)

    assert seen.serving is not None
    assert (seen.serving.name, seen.serving.weight) == (old.name, 100)
    assert seen.serving.disabled_at is None
    assert seen.serving.pinned_min is None
