"""Plans as stories; what holds for all of them stands in ``test_rollout_properties``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ovenbird.domain.apps import (
    AllAtOnce,
    BlueGreen,
    Canary,
    CapacityFrom,
    EnvironmentSpec,
    Highlander,
    Keep,
    Rolling,
    Strategy,
)
from ovenbird.domain.clusters import BASELINE, ROLE_TAG, Capacity
from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.plans import CreateServerGroup, Decommission, Judge, SetWeights
from ovenbird.domain.retreats import plan_retreat
from tests.unit.domain.clusters_model import (
    NOW,
    RESTING,
    SERVING,
    STOPPED,
    Shape,
    after,
    cluster,
    environment,
    group,
    name,
    rollout,
    told,
)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def test_the_first_rollout_goes_to_full_size_and_takes_all_traffic() -> None:
    assert told(rollout(cluster(), environment())) == [
        "Create server group v001 with 2 instances of version 2.0.0 (ami-new), out of traffic",
        "Wait up to 300 s until v001 has 2 instances healthy",
        "Send 100 % to v001",
    ]


def test_all_at_once_keeps_the_old_group_for_a_rollback() -> None:
    assert told(rollout(cluster(SERVING), environment(AllAtOnce()))) == [
        "Pin v001 at its present size",
        "Create server group v002 with 2 instances of version 2.0.0 (ami-new), out of traffic",
        "Wait up to 300 s until v002 has 2 instances healthy",
        "Send 100 % to v002",
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]


def test_a_canary_grows_before_its_weight_and_is_judged_at_each_step() -> None:
    assert told(rollout(cluster(SERVING), environment(size=4))) == [
        "Pin v001 at its present size",
        "Create server group v002 with 1 instance of version 2.0.0 (ami-new), out of traffic",
        "Wait up to 300 s until v002 has 1 instance healthy",
        "Send 90 % to v001, 10 % to v002",
        "Observe v002 at 10 % beside v001 for 180 s, and judge it",
        "Resize v002 to 2 / 2 / 7 (desired / min / max)",
        "Wait up to 300 s until v002 has 2 instances healthy",
        "Send 50 % to v001, 50 % to v002",
        "Observe v002 at 50 % beside v001 for 180 s, and judge it",
        "Resize v002 to 4 / 1 / 7 (desired / min / max)",
        "Wait up to 300 s until v002 has 4 instances healthy",
        "Send 100 % to v002",
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]


def test_blue_green_looks_at_all_traffic_before_the_old_group_rests() -> None:
    looked = BlueGreen(look_s=60.0, manual=True)

    assert told(rollout(cluster(SERVING), environment(looked)))[3:] == [
        "Send 100 % to v002",
        "Observe v002 for 60 s; an alarm ends it",
        "Wait until a person lets v002 go on after all traffic",
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]


def test_rolling_lets_the_old_group_shrink_behind_the_weights() -> None:
    steps = Rolling(steps_percent=(25, 50), observe_s=9.0)

    assert told(rollout(cluster(Shape(weight=100, size=4)), environment(steps, size=4)))[1:] == [
        "Create server group v002 with 1 instance of version 2.0.0 (ami-new), out of traffic",
        "Wait up to 300 s until v002 has 1 instance healthy",
        "Send 75 % to v001, 25 % to v002",
        "Observe v002 for 9 s; an alarm ends it",
        "Resize v001 to 3 / 3 / 9 (desired / min / max)",
        "Resize v002 to 2 / 2 / 7 (desired / min / max)",
        "Wait up to 300 s until v002 has 2 instances healthy",
        "Send 50 % to v001, 50 % to v002",
        "Observe v002 for 9 s; an alarm ends it",
        "Resize v001 to 2 / 2 / 9 (desired / min / max)",
        "Resize v002 to 4 / 1 / 7 (desired / min / max)",
        "Wait up to 300 s until v002 has 4 instances healthy",
        "Send 100 % to v002",
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]


def test_without_a_load_balancer_sizes_move_the_work() -> None:
    seen = replace(cluster(SERVING), balanced=False)
    steps = Rolling(steps_percent=(50,), observe_s=0.0)

    assert told(rollout(seen, environment(steps)))[1:] == [
        "Create server group v002 with 1 instance of version 2.0.0 (ami-new), out of traffic",
        "Wait up to 300 s until v002 has 1 instance healthy",
        "Resize v001 to 1 / 1 / 9 (desired / min / max)",
        "Resize v002 to 2 / 1 / 5 (desired / min / max)",
        "Wait up to 300 s until v002 has 2 instances healthy",
        "Resize v001 to 0 / 0 / 9 (desired / min / max)",
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]


@pytest.mark.parametrize("strategy", [Canary(), BlueGreen()])
def test_without_a_load_balancer_no_weight_can_be_moved(strategy: Strategy) -> None:
    seen = replace(cluster(SERVING), balanced=False)

    with pytest.raises(InvalidRequest, match="no load balancer"):
        rollout(seen, environment(strategy))


def test_highlander_leaves_nothing_else() -> None:
    seen = cluster(RESTING, SERVING)
    alone = environment(Highlander(confirm="hello-prod"))

    assert told(rollout(seen, alone))[-4:] == [
        "Disable v002: it rests with its instances, ready for a rollback",
        "Unpin v002: give its old minimum back",
        "Decommission v002: drain and destroy it",
        "Decommission v001: drain and destroy it",
    ]


@pytest.mark.parametrize("word", ["", "hello-dev"])
def test_highlander_is_refused_without_the_cluster_s_name(word: str) -> None:
    with pytest.raises(InvalidRequest, match="must be confirmed") as caught:
        rollout(cluster(SERVING), environment(Highlander(confirm=word)))

    assert "--confirm hello-prod" in caught.value.hint


def test_a_baseline_stands_beside_the_canary_in_its_first_step() -> None:
    compared = Canary(
        steps_percent=(10, 50), observe_s=180.0, baseline=True, pause_s=30.0, manual_steps=(10,)
    )

    assert told(rollout(cluster(SERVING), environment(compared, size=4)))[1:13] == [
        "Create server group v002 with 1 instance of version 2.0.0 (ami-new), out of traffic",
        "Create baseline v003 with 1 instance of version 1.1.0 (ami-1), out of traffic",
        "Wait up to 300 s until v002 has 1 instance healthy",
        "Wait up to 300 s until v003 has 1 instance healthy",
        "Send 80 % to v001, 10 % to v002, 10 % to v003",
        "Observe v002 for 30 s; an alarm ends it",
        "Observe v002 at 10 % beside v003 for 180 s, and judge it",
        "Wait until a person lets v002 go on after 10 %",
        "Resize v002 to 2 / 2 / 7 (desired / min / max)",
        "Wait up to 300 s until v002 has 2 instances healthy",
        "Send 50 % to v001, 50 % to v002",
        "Decommission v003: drain and destroy it",
    ]


def test_names_of_canary_and_baseline_wrap_around() -> None:
    seen = cluster(SERVING)
    last = replace(seen.groups[0], name=name(999))
    compared = Canary(steps_percent=(10,), observe_s=180.0, baseline=True)

    plan = rollout(replace(seen, groups=(last,)), environment(compared))

    made = [action.name for action in plan.actions if isinstance(action, CreateServerGroup)]
    assert made == [name(0), name(1)]


def test_a_baseline_that_another_release_left_goes_first() -> None:
    left = replace(group(2, Shape(release="other")), tags={"ovenbird:role": "baseline"}, weight=0)
    seen = cluster(SERVING)

    plan = rollout(replace(seen, groups=(*seen.groups, left)), environment(AllAtOnce()))

    assert plan.actions[0] == Decommission(name=name(2))


def test_most_of_the_wanted_instances_may_be_enough() -> None:
    spec = environment(AllAtOnce(), size=10, min_healthy_percent=75)
    plan = rollout(cluster(SERVING), spec)

    assert "Wait up to 300 s until v002 has 8 instances healthy" in told(plan)
    assert [a.needs for a in plan.actions if isinstance(a, SetWeights)] == [8]


def test_the_old_group_may_stay_enabled_for_a_while() -> None:
    spec = environment(AllAtOnce(), keep=Keep(enabled_s=60.0, groups=1))

    words = told(rollout(cluster(RESTING, SERVING), spec))

    assert words[-4:] == [
        "Observe v003 for 60 s; an alarm ends it",
        "Disable v002: it rests with its instances, ready for a rollback",
        "Unpin v002: give its old minimum back",
        "Decommission v001: drain and destroy it",
    ]


@pytest.mark.parametrize(
    ("source", "capacity"),
    [
        (CapacityFrom.MANIFEST, Capacity(min=1, desired=2, max=5)),
        (CapacityFrom.OLD, Capacity(min=1, desired=4, max=9)),
    ],
)
def test_where_the_capacity_comes_from(source: CapacityFrom, capacity: Capacity) -> None:
    seen = cluster(Shape(weight=100, size=4))
    spec = environment(AllAtOnce(), capacity_from=source)

    done = after(seen, rollout(seen, spec).actions)

    assert done.serving is not None
    assert done.serving.capacity == capacity


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (environment(Rolling(steps_percent=(50, 25))), "rolling steps do not rise"),
        (environment(Canary(manual_steps=(7,))), "manual step 7"),
        (environment(Canary(steps_percent=(34,), baseline=True)), "first step is 34 %"),
        (environment(min_healthy_percent=0), "between 1 and 100"),
        (environment(keep=Keep(groups=3)), "between 1 and 2"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: EnvironmentSpec, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        rollout(cluster(SERVING), spec)


def test_a_canary_beside_a_dead_group_is_not_one() -> None:
    dead = Shape(weight=100, healthy=0)

    plan = rollout(cluster(dead), environment())

    assert not [action for action in plan.actions if isinstance(action, Judge)]


def test_the_judge_knows_the_alarms_by_their_full_name() -> None:
    plan = rollout(cluster(SERVING), environment())
    first = next(action for action in plan.actions if isinstance(action, Judge))

    assert first.alarms == ("hello-prod-v002-5xx",)


def test_what_is_made_carries_its_tags() -> None:
    plan = rollout(cluster(), environment())
    create = plan.actions[0]

    assert isinstance(create, CreateServerGroup)
    assert create.tags == {
        "Name": "hello-prod-v001",
        "ovenbird:app": "hello",
        "ovenbird:cluster": "hello-prod",
        "ovenbird:desired": "2",
        "ovenbird:environment": "prod",
        "ovenbird:keep-groups": "2",
        "ovenbird:release": "new",
        "ovenbird:rollback-window-s": "3600",
        "ovenbird:server-group": "hello-prod-v001",
        "ovenbird:version": "2.0.0",
    }


def test_after_the_promotion_what_rested_too_long_or_is_one_too_many_goes() -> None:
    long, short = Shape(rested=DAY), Shape(rested=MINUTE)

    one_long = rollout(cluster(long, SERVING), environment(AllAtOnce()))
    two_short = rollout(cluster(short, short, SERVING), environment(AllAtOnce()))

    assert one_long.actions[-1] == Decommission(name=name(1))
    assert [a for a in two_short.actions if isinstance(a, Decommission)] == [
        Decommission(name=name(1))
    ]


def test_too_many_resting_groups_make_room_before_anything_is_made() -> None:
    older = (Shape(rested=HOUR), RESTING, RESTING)

    plan = rollout(cluster(*older, SERVING), environment())

    assert plan.actions[0] == Decommission(name=name(1))


@pytest.mark.parametrize("steps", [(), (50, 50), (50, 10), (0, 10), (10, 100)])
def test_steps_that_do_not_rise_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest, match="do not rise"):
        rollout(cluster(SERVING), environment(Canary(steps_percent=steps)))


def test_a_step_shorter_than_three_periods_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too short") as caught:
        rollout(cluster(SERVING), environment(Canary(observe_s=179.0)))

    assert "180" in caught.value.hint


@pytest.mark.parametrize(
    "capacity", [Capacity(min=0, desired=0, max=1), Capacity(min=2, desired=1, max=3)]
)
def test_a_capacity_that_cannot_serve_is_refused(capacity: Capacity) -> None:
    with pytest.raises(InvalidRequest, match="cannot be"):
        rollout(cluster(), replace(environment(), capacity=capacity))


@pytest.mark.parametrize(
    ("made_with", "grown_to", "size"), [("2", 6, 6), ("6", 6, 3), ("2", 3, 3), (None, 6, 3)]
)
def test_a_group_that_a_person_has_grown_is_followed_by_one_as_large(
    made_with: str | None, grown_to: int, size: int
) -> None:
    seen = cluster(Shape(weight=100, size=grown_to))
    tags = {"ovenbird:desired": made_with} if made_with else {}
    seen = replace(seen, groups=(replace(seen.groups[0], tags=tags),))

    done = after(seen, rollout(seen, environment(size=3)).actions)

    assert done.serving is not None
    assert done.serving.capacity == Capacity(min=1, desired=size, max=6)


def test_a_release_that_has_all_traffic_has_nothing_to_do() -> None:
    seen = after(cluster(), rollout(cluster(), environment()).actions)

    plan = rollout(seen, environment())

    assert plan.actions == ()
    assert "has all traffic" in plan.reason


def test_another_rollout_under_way_is_not_disturbed() -> None:
    with pytest.raises(Conflict, match="share the traffic"):
        rollout(cluster(Shape(weight=90), Shape(weight=10)), environment())


def test_a_half_made_group_of_the_same_release_is_gone_on_with() -> None:
    before = cluster(SERVING)
    first = rollout(before, environment(size=4))
    seen = after(before, first.actions[:8])

    again = rollout(seen, environment(size=4))

    assert told(again)[:4] == [
        "Pin v001 at its present size",
        "Create server group v002 with 2 instances of version 2.0.0 (ami-new), out of traffic",
        "Wait up to 300 s until v002 has 2 instances healthy",
        "Send 90 % to v001, 10 % to v002",
    ]
    assert after(seen, again.actions) == after(before, first.actions)


def test_a_rolled_back_name_is_not_used_again() -> None:
    seen = cluster(SERVING, Shape(rested=MINUTE, release="new"))

    plan = rollout(seen, environment(AllAtOnce()))

    create = plan.actions[1]
    assert isinstance(create, CreateServerGroup)
    assert create.name == name(3)


def test_a_retreat_moves_the_weights_first() -> None:
    seen = cluster(Shape(weight=90, pinned=True), Shape(weight=10, release="new"))

    assert told(plan_retreat(seen, failed=name(2), release_id="new")) == [
        "Send 100 % to v001",
        "Unpin v001: give its old minimum back",
        "Decommission v002: drain and destroy it",
    ]


def test_a_retreat_of_a_group_that_was_never_made_only_tidies() -> None:
    assert told(plan_retreat(cluster(SERVING), failed=name(2), release_id="new")) == [
        "Decommission v002: drain and destroy it"
    ]


def test_a_retreat_leaves_alone_what_another_release_made_under_its_names() -> None:
    seen = cluster(SERVING, Shape(release="other"), Shape(release=""))

    plan = plan_retreat(seen, failed=name(2), baseline=name(3), release_id="new")

    assert plan.actions == ()


def test_a_retreat_leaves_the_baselines_of_others() -> None:
    theirs = replace(group(2, Shape(release="other")), tags={ROLE_TAG: BASELINE})
    mine = replace(group(4, Shape(release="new")), tags={ROLE_TAG: BASELINE})
    seen = replace(cluster(SERVING), groups=(group(1, SERVING), theirs, mine))

    plan = plan_retreat(seen, failed=name(3), release_id="new")

    assert [action.name for action in plan.actions if isinstance(action, Decommission)] == [
        name(3),
        name(4),
    ]


def test_a_retreat_keeps_the_only_group_that_serves() -> None:
    plan = plan_retreat(cluster(SERVING), failed=name(1), release_id="old")

    assert plan.actions == ()
    assert "only server group" in plan.reason


def test_a_retreat_to_a_dead_group_waits_for_it() -> None:
    seen = cluster(Shape(weight=90, pinned=True, healthy=0), Shape(weight=10, release="new"))

    assert told(plan_retreat(seen, failed=name(2), release_id="new"))[0].startswith("Wait up to")


def test_a_rollout_over_a_rollback_that_stopped_lets_the_old_group_rest_from_then_on() -> None:
    done = after(cluster(STOPPED), rollout(cluster(STOPPED), environment(AllAtOnce())).actions)

    assert done.groups[0].disabled_at == NOW
