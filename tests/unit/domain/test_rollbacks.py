"""Plans of what people do by hand, as stories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from ovenbird.domain.clusters import Capacity, Cluster
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.plans import Decommission, Plan
from ovenbird.domain.rollbacks import (
    plan_decommission,
    plan_disable,
    plan_enable,
    plan_resize,
    plan_rollback,
)
from tests.unit.domain.clusters_model import (
    NOW,
    RESTING,
    SERVING,
    STOPPED,
    WARM_UP,
    Shape,
    after,
    cluster,
    name,
    told,
)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def test_a_rollback_goes_to_the_group_that_served_before() -> None:
    assert told(plan_rollback(cluster(RESTING, SERVING), warm_up=WARM_UP)) == [
        "Wait up to 60 s until v001 has 2 instances healthy",
        "Send 100 % to v001",
        "Enable v001",
        "Unpin v001: give its old minimum back",
        "Pin v002 at its present size",
        "Disable v002: it rests with its instances, ready for a rollback",
    ]


def test_a_rollback_does_not_go_to_what_was_rolled_back_itself() -> None:
    """v2 was bad and rolled back to v1; then came v3."""
    seen = cluster(Shape(rested=MINUTE), Shape(rested=HOUR), SERVING)

    assert "Send 100 % to v001" in told(plan_rollback(seen, warm_up=WARM_UP))


def test_a_rollback_after_a_rollback_goes_further_back() -> None:
    seen = cluster(Shape(rested=HOUR), SERVING, Shape(rested=MINUTE))

    assert "Send 100 % to v001" in told(plan_rollback(seen, warm_up=WARM_UP))


def test_a_rollback_during_a_canary_is_the_way_back_to_the_old_group() -> None:
    seen = cluster(Shape(weight=90), Shape(weight=10, size=1))

    assert "Send 100 % to v001" in told(plan_rollback(seen, warm_up=WARM_UP))


def test_a_rollback_grows_a_smaller_group_first() -> None:
    seen = cluster(Shape(rested=MINUTE, size=1), Shape(weight=100, size=3))

    assert told(plan_rollback(seen, warm_up=WARM_UP))[:3] == [
        "Resize v001 to 3 / 1 / 9 (desired / min / max)",
        "Wait up to 60 s until v001 has 3 instances healthy",
        "Send 100 % to v001",
    ]


def half_rolled(new: Shape) -> Cluster:
    """Return a rolling rollout that stopped midway: it has taken 3 of the old group's 4."""
    seen = cluster(Shape(weight=50, size=1, pinned=True), new)
    old = replace(seen.groups[0], pinned_desired=4)
    return replace(seen, groups=(old, *seen.groups[1:]))


def test_a_rollback_of_a_rolling_rollout_that_stopped_gives_the_old_group_its_size() -> None:
    seen = half_rolled(Shape(weight=50, size=2))

    assert told(plan_rollback(seen, warm_up=WARM_UP))[:4] == [
        "Resize v001 to 4 / 1 / 9 (desired / min / max)",
        "Wait up to 60 s until v001 has 4 instances healthy",
        "Send 100 % to v001",
        "Unpin v001: give its old minimum back",
    ]


def test_a_rollback_in_the_dark_moves_the_traffic_before_it_gives_the_size_back() -> None:
    seen = half_rolled(Shape(weight=50, size=2, healthy=0))
    dark = replace(seen, groups=(replace(seen.groups[0], instances=()), seen.groups[1]))

    steps = told(plan_rollback(dark, warm_up=WARM_UP))

    assert steps[:2] == ["Wait up to 60 s until v001 has 1 instance healthy", "Send 100 % to v001"]
    assert "Resize v001 to 4 / 1 / 9 (desired / min / max)" in steps[2:]


def test_a_rollback_does_not_wait_for_more_than_the_traffic_needs() -> None:
    larger = Shape(rested=MINUTE, size=5, healthy=4)

    plan = plan_rollback(cluster(larger, Shape(weight=100, size=3)), warm_up=WARM_UP)

    assert told(plan)[:2] == [
        "Wait up to 60 s until v001 has 3 instances healthy",
        "Send 100 % to v001",
    ]


def test_a_rollback_of_a_dead_group_moves_the_weights_before_it_grows() -> None:
    dead = Shape(weight=100, size=3, healthy=0)

    plan = plan_rollback(cluster(Shape(rested=MINUTE, size=1), dead), warm_up=WARM_UP)

    assert told(plan) == [
        "Wait up to 60 s until v001 has 1 instance healthy",
        "Send 100 % to v001",
        "Enable v001",
        "Pin v002 at its present size",
        "Disable v002: it rests with its instances, ready for a rollback",
        "Resize v001 to 3 / 1 / 9 (desired / min / max)",
        "Wait up to 60 s until v001 has 3 instances healthy",
    ]


@pytest.mark.parametrize("seen", [cluster(), cluster(SERVING), cluster(SERVING, RESTING)])
def test_a_rollback_needs_something_older(seen: Cluster) -> None:
    with pytest.raises(Conflict, match="no older") as caught:
        plan_rollback(seen, warm_up=WARM_UP)

    assert caught.value.hint


def test_a_rollback_to_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFound, match="No server group") as caught:
        plan_rollback(cluster(RESTING, SERVING), to=name(9), warm_up=WARM_UP)

    assert "hello-prod-v001" in caught.value.hint


def test_a_rollback_to_what_serves_has_nothing_to_do() -> None:
    assert plan_rollback(cluster(RESTING, SERVING), to=name(2), warm_up=WARM_UP).reason


def test_a_rollback_that_stopped_is_completed_before_another_goes_further_back() -> None:
    seen = cluster(RESTING, STOPPED, Shape())

    plan = plan_rollback(seen, warm_up=WARM_UP)

    assert told(plan) == [
        "Enable v002",
        "Unpin v002: give its old minimum back",
        "Pin v003 at its present size",
        "Disable v003: it rests with its instances, ready for a rollback",
    ]
    assert "Send 100 % to v001" in told(plan_rollback(after(seen, plan.actions), warm_up=WARM_UP))


def test_enabling_that_stopped_is_completed() -> None:
    assert told(plan_enable(cluster(STOPPED), name=name(1), warm_up=WARM_UP)) == [
        "Enable v001",
        "Unpin v001: give its old minimum back",
    ]


def test_enabling_divides_by_size() -> None:
    seen = cluster(Shape(rested=MINUTE, size=1), Shape(weight=100, size=3))

    assert told(plan_enable(seen, name=name(1), warm_up=WARM_UP)) == [
        "Wait up to 60 s until v001 has 1 instance healthy",
        "Send 75 % to v002, 25 % to v001",
        "Enable v001",
    ]


def test_disabling_gives_the_share_to_the_others() -> None:
    seen = cluster(Shape(weight=90), Shape(weight=10))

    assert told(plan_disable(seen, name=name(1)))[0] == "Send 100 % to v002"


@pytest.mark.parametrize(
    "seen", [cluster(SERVING), cluster(Shape(weight=10, healthy=0), Shape(weight=90))]
)
def test_disabling_the_last_that_serves_is_refused(seen: Cluster) -> None:
    with pytest.raises(Conflict, match="dark"):
        plan_disable(seen, name=seen.groups[-1].name)


def test_resizing_waits_when_it_grows_only() -> None:
    grown, less = Capacity(min=1, desired=3, max=9), Capacity(min=1, desired=1, max=9)

    assert len(plan_resize(cluster(SERVING), capacity=grown, warm_up=WARM_UP).actions) == 2
    assert len(plan_resize(cluster(SERVING), capacity=less, warm_up=WARM_UP).actions) == 1


@pytest.mark.parametrize(
    ("seen", "number", "words"),
    [
        (cluster(SERVING), 1, "dark"),
        (cluster(RESTING, SERVING), 1, "rollback would need"),
        (cluster(Shape(weight=90, pinned=True), Shape(weight=10)), 1, "under way"),
    ],
)
def test_resizing_to_nothing_is_refused_where_it_hurts(
    seen: Cluster, number: int, words: str
) -> None:
    nothing = Capacity(min=0, desired=0, max=9)

    with pytest.raises(Conflict, match=words):
        plan_resize(seen, name=name(number), capacity=nothing, warm_up=WARM_UP)


def test_a_group_that_is_not_there_cannot_be_changed() -> None:
    plans: tuple[Callable[[], Plan], ...] = (
        lambda: plan_enable(cluster(SERVING), name=name(7), warm_up=WARM_UP),
        lambda: plan_disable(cluster(SERVING), name=name(7)),
        lambda: plan_decommission(cluster(SERVING), name=name(7), now=NOW, window=HOUR),
    )

    for plan in plans:
        with pytest.raises(NotFound, match="No server group `hello-prod-v007`"):
            plan()


def test_what_is_in_traffic_is_not_decommissioned() -> None:
    with pytest.raises(Conflict, match="in traffic"):
        plan_decommission(cluster(SERVING), name=name(1), now=NOW, window=HOUR, waived=True)


def test_what_a_rollback_needs_is_decommissioned_by_explicit_word_only() -> None:
    seen = cluster(RESTING, SERVING)

    with pytest.raises(Conflict, match="rollback would need"):
        plan_decommission(seen, name=name(1), now=NOW, window=HOUR)
    waived = plan_decommission(seen, name=name(1), now=NOW, window=HOUR, waived=True)
    later = plan_decommission(seen, name=name(1), now=NOW + DAY, window=HOUR)

    assert waived == later == Plan(actions=(Decommission(name=name(1)),))


def test_the_policy_decommissions_what_rested_long_enough() -> None:
    seen = cluster(Shape(rested=DAY), RESTING, SERVING)

    assert plan_decommission(seen, now=NOW, window=HOUR) == Plan(
        actions=(Decommission(name=name(1)),)
    )
    assert plan_decommission(cluster(RESTING, SERVING), now=NOW, window=HOUR).reason


def test_a_dark_cluster_keeps_all_it_has() -> None:
    assert plan_decommission(cluster(Shape(rested=DAY)), now=NOW, window=HOUR).actions == ()


def test_a_rollback_finds_the_group_that_a_stopped_rollout_has_not_let_rest() -> None:
    seen = cluster(RESTING, Shape(pinned=True), SERVING)

    assert told(plan_rollback(seen, warm_up=WARM_UP))[1:3] == [
        "Send 100 % to v002",
        "Unpin v002: give its old minimum back",
    ]


def test_a_rollback_destroys_a_baseline() -> None:
    seen = cluster(Shape(weight=80, pinned=True), Shape(weight=10), Shape(weight=10))
    compared = replace(seen.groups[2], tags={"ovenbird:role": "baseline"})
    seen = replace(seen, groups=(*seen.groups[:2], compared))

    assert told(plan_rollback(seen, warm_up=WARM_UP)) == [
        "Wait up to 60 s until v001 has 2 instances healthy",
        "Send 100 % to v001",
        "Unpin v001: give its old minimum back",
        "Pin v002 at its present size",
        "Disable v002: it rests with its instances, ready for a rollback",
        "Decommission v003: drain and destroy it",
    ]


def test_what_a_rollout_holds_is_not_decommissioned_for_its_age() -> None:
    seen = cluster(Shape(pinned=True), SERVING)

    assert plan_decommission(seen, now=NOW, window=MINUTE).actions == ()
