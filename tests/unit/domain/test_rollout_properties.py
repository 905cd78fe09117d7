"""What holds after every action of every plan, wherever a run dies: never dark, never too much."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.apps import (
    AllAtOnce,
    BlueGreen,
    Canary,
    CapacityFrom,
    EnvironmentSpec,
    Highlander,
    Keep,
    Rolling,
)
from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.drift import drift, recorded
from ovenbird.domain.plans import Action, Disable, Judge, Plan, describe
from ovenbird.domain.releases import ActionDone, Phase, Rollout
from ovenbird.domain.resting import TARGET_GROUPS_PER_RULE, baselines, previous
from ovenbird.domain.retreats import plan_retreat
from ovenbird.domain.rollbacks import plan_rollback
from ovenbird.stages.deploy import check
from tests.unit.domain.clusters_model import (
    HELLO,
    NOW,
    WARM_UP,
    Shape,
    after,
    cluster,
    done,
    environment,
    half_done,
    name,
    rollout,
)

rested = st.integers(1, 10_000).map(lambda minutes: timedelta(minutes=minutes))
resting = st.builds(Shape, rested=rested, size=st.integers(1, 6), pinned=st.booleans())
left_over = st.builds(Shape, size=st.integers(0, 2), release=st.just("failed"))
serving = st.builds(Shape, weight=st.just(100), size=st.integers(1, 9))
empty = st.builds(Shape, rested=rested, size=st.just(0), pinned=st.booleans())


@st.composite
def clusters(draw: st.DrawFn, rests: st.SearchStrategy[Shape] = resting | left_over) -> Cluster:
    before = draw(st.lists(rests, max_size=2))
    now = draw(st.lists(serving, min_size=1, max_size=1))
    later = draw(st.lists(rests, max_size=2 - len(before)))
    return cluster(*before, *now, *later)


unbalanced = clusters(empty).map(lambda seen: replace(seen, balanced=False))
steps = st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True).map(sorted).map(tuple)


@st.composite
def canaries(draw: st.DrawFn) -> Canary:
    shares = draw(steps)
    return Canary(
        steps_percent=shares,
        observe_s=draw(st.floats(180, 900)),
        manual_steps=tuple(draw(st.lists(st.sampled_from(shares), unique=True))),
        baseline=shares[0] <= 33 and draw(st.booleans()),
        pause_s=draw(st.floats(0, 90)),
    )


by_size = (
    st.just(AllAtOnce())
    | st.builds(Rolling, steps_percent=steps, observe_s=st.floats(0, 90))
    | st.just(Highlander(confirm=str(HELLO)))
)
strategies = (
    by_size | canaries() | st.builds(BlueGreen, look_s=st.floats(0, 900), manual=st.booleans())
)


def environments(ways: st.SearchStrategy[object]) -> st.SearchStrategy[EnvironmentSpec]:
    return st.builds(
        environment,
        ways,
        size=st.integers(1, 9),
        window_s=st.floats(0, 100_000),
        min_healthy_percent=st.integers(1, 100),
        capacity_from=st.sampled_from(CapacityFrom),
        keep=st.builds(Keep, enabled_s=st.floats(0, 90), groups=st.integers(1, 2)),
    )


balanced_cases = st.tuples(clusters(), environments(strategies))
cases = balanced_cases | st.tuples(unbalanced, environments(by_size))


def serving_in(seen: Cluster) -> ServerGroup:
    assert seen.serving is not None
    return seen.serving


def wanted_in(before: Cluster, spec: EnvironmentSpec) -> int:
    """Instances that the new group must get: nobody has grown the old ones by hand here."""
    old = spec.capacity_from is CapacityFrom.OLD and before.serving
    return old.capacity.desired if old else spec.capacity.desired


def hold(seen: Cluster, action: Action, old: ServerGroup | None = None, needs: int = 0) -> Cluster:
    """Carry out one action, as the stage does, and assert what always holds.

    Args:
        seen: Before the action.
        action: What is done.
        old: The group that served before the rollout, as it was.
        needs: Healthy instances that all traffic needs.
    """
    check(action, seen)
    served = any(g.enabled and g.healthy for g in seen.groups)
    now = done(seen, action)
    assert not served or any(g.enabled and g.healthy for g in now.groups), "dark"
    if not seen.balanced:
        return now
    assert sum(g.weight for g in now.groups) in ({100} if served else {0, 100})
    assert len(now.groups) <= TARGET_GROUPS_PER_RULE
    for group in now.groups:
        if old is not None and group.name == old.name:
            assert group.weight * old.healthy <= 100 * group.healthy, "the old one cannot take it"
        elif group.release_id == "new":
            assert group.weight * needs <= 100 * group.healthy, "the new one cannot take it"
    return now


def fair(seen: Cluster, action: Action) -> None:
    """A baseline is its canary's equal when the two are compared."""
    if not isinstance(action, Judge) or action.baseline not in {g.name for g in baselines(seen)}:
        return
    canary, baseline = seen.find(action.canary), seen.find(action.baseline)
    assert canary is not None
    assert baseline is not None
    assert (canary.capacity, canary.weight, canary.healthy) == (
        baseline.capacity, baseline.weight, baseline.healthy,
    )  # fmt: skip
    assert baseline.image_id == serving_in(seen).image_id


def promoted(plan: Plan) -> int:
    """How many actions there are until the old group rests: from there nobody retreats."""
    return next((n for n, a in enumerate(plan.actions, 1) if isinstance(a, Disable)), 0)


def died(seen: Cluster, plan: Plan, data: st.DataObject, most: int | None = None) -> Cluster:
    """The cluster as a run leaves it that dies between two actions, or in the middle of one."""
    at = data.draw(st.integers(0, len(plan.actions) if most is None else most))
    left = after(seen, plan.actions[:at])
    if at < len(plan.actions) and data.draw(st.booleans()):
        return half_done(left, plan.actions[at])
    return left


@given(cases)
def test_a_rollout_is_never_dark(case: tuple[Cluster, EnvironmentSpec]) -> None:
    before, spec = case
    old, wanted = serving_in(before), wanted_in(before, spec)
    needs = math.ceil(wanted * spec.min_healthy_percent / 100)
    seen = before
    for action in rollout(before, spec).actions:
        fair(seen, action)
        seen = hold(seen, action, old, needs)
        kept = seen.find(old.name)
        if not isinstance(spec.strategy, Highlander):
            assert kept is not None, "what a rollback needs is gone"
        if before.balanced and kept and not isinstance(spec.strategy, Rolling):
            assert kept.capacity.desired == old.capacity.desired, "what a rollback needs shrank"

    new = serving_in(seen)
    assert (new.release_id, new.weight, new.capacity.desired) == ("new", 100, wanted)
    assert [g.name for g in seen.groups if g.pinned_min is not None] == []
    assert baselines(seen) == ()
    if isinstance(spec.strategy, Highlander):
        assert seen.groups == (new,)
    else:
        assert previous(seen) == seen.find(old.name)
        assert sum(not group.enabled for group in seen.groups) <= spec.keep.groups


@given(balanced_cases)
def test_what_a_rollout_did_is_no_change_by_hand(case: tuple[Cluster, EnvironmentSpec]) -> None:
    before, spec = case
    actions = rollout(before, spec).actions
    done_so_far = tuple(ActionDone(text=describe(action), seconds=0) for action in actions)
    kept = Rollout(
        rollout_id="r", release_id="new", kind="rollout", environment="prod",
        cluster=str(HELLO), image_id="ami-new", version="2.0.0", actor="ann",
        phase=Phase.PROMOTED, started_at=NOW, actions=done_so_far,
    )  # fmt: skip

    assert drift(after(before, actions), recorded([kept])) == ()


@given(environments(strategies), st.booleans())
def test_a_first_rollout_serves_at_full_size(spec: EnvironmentSpec, is_balanced: bool) -> None:  # noqa: FBT001
    if isinstance(spec.strategy, Canary | BlueGreen):
        is_balanced = True
    seen = replace(cluster(), balanced=is_balanced)
    needs = math.ceil(spec.capacity.desired * spec.min_healthy_percent / 100)
    for action in rollout(seen, spec).actions:
        seen = hold(seen, action, needs=needs)

    assert [(g.weight, g.healthy) for g in seen.groups] == [(100, needs)]


@given(cases, st.data())
def test_a_retreat_from_anywhere_brings_the_old_group_back(
    case: tuple[Cluster, EnvironmentSpec], data: st.DataObject
) -> None:
    before, spec = case
    old, plan = serving_in(before), rollout(before, spec)
    seen = died(before, plan, data, promoted(plan))
    new = next((g.name for g in seen.groups if g.release_id == "new"), name(999))

    for _ in range(data.draw(st.integers(0, 2))):  # retreats that die, too
        seen = died(seen, plan_retreat(seen, failed=new, release_id="new"), data)
    for action in plan_retreat(seen, failed=new, release_id="new").actions:
        seen = hold(seen, action, old)

    assert [group for group in seen.groups if group.release_id == "new"] == []
    assert seen.serving == old


@given(cases, st.data())
def test_runs_that_die_anywhere_end_where_one_that_lives_would(
    case: tuple[Cluster, EnvironmentSpec], data: st.DataObject
) -> None:
    before, spec = case
    old, wanted = serving_in(before), wanted_in(before, spec)
    needs = math.ceil(wanted * spec.min_healthy_percent / 100)
    straight = after(before, rollout(before, spec).actions)

    seen = before
    for _ in range(data.draw(st.integers(1, 3))):
        seen = died(seen, rollout(seen, spec), data)
    for action in rollout(seen, spec).actions:
        fair(seen, action)
        seen = hold(seen, action, old, needs)

    new, other = serving_in(seen), serving_in(straight)
    assert (new.name, new.weight, new.capacity) == (other.name, 100, other.capacity)
    assert [g.release_id for g in seen.groups].count("new") == 1
    assert seen.find(old.name) == straight.find(old.name)
    assert [g.name for g in seen.groups if g.pinned_min is not None] == []
    assert len(seen.groups) == len(straight.groups)


@given(balanced_cases)
def test_a_rollback_undoes_a_promotion(case: tuple[Cluster, EnvironmentSpec]) -> None:
    before, spec = case
    if isinstance(spec.strategy, Highlander):
        spec = replace(spec, strategy=AllAtOnce())
    old = serving_in(before)
    seen = after(before, rollout(before, spec).actions)

    for action in plan_rollback(seen, warm_up=WARM_UP).actions:
        seen = hold(seen, action)

    again = serving_in(seen)
    assert (again.name, again.weight) == (old.name, 100)
    assert again.disabled_at is None
    assert again.pinned_min is None


@given(clusters(), environments(canaries()), st.data())
def test_a_rollback_in_the_middle_leaves_no_baseline(
    before: Cluster, spec: EnvironmentSpec, data: st.DataObject
) -> None:
    old, plan = serving_in(before), rollout(before, spec)
    seen = died(before, plan, data, promoted(plan) - 1)
    if not any(group.enabled for group in seen.groups if group.name != old.name):
        return

    back = plan_rollback(seen, warm_up=WARM_UP)
    for action in back.actions:
        seen = hold(seen, action, old)

    assert serving_in(seen).name == old.name
    assert serving_in(seen).pinned_min is None
    assert baselines(seen) == ()
