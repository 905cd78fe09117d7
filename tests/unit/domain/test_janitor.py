"""What the janitor may take: each rule of safety by itself, and all of them together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.clusters import BASELINE, CLUSTER_TAG, ROLE_TAG, SERVER_GROUP_TAG, Cluster
from ovenbird.domain.errors import Conflict
from ovenbird.domain.image_retention import KEEP_TAG
from ovenbird.domain.images import RELEASE_TAG
from ovenbird.domain.janitor import (
    OF_BAKES,
    Choice,
    Kind,
    Leftover,
    Records,
    choose,
    plan_cluster,
    plan_leftovers,
    refuse_strange,
)
from ovenbird.domain.resting import previous
from tests.unit.domain.clusters_model import (
    NOW,
    RESTING,
    SERVING,
    Shape,
    after,
    cluster,
    told,
)

GRACE = timedelta(hours=24)
LONG_AGO = NOW - timedelta(days=3)
FAILED = Records(ended={"failed": LONG_AGO, "old": LONG_AGO}, promoted=frozenset({"old"}))


def left(kind: Kind = Kind.TARGET_GROUP, **changes: Any) -> Leftover:
    made = Leftover(
        kind=kind, ident="id", name="thing", environment="prod", made_at=LONG_AGO,
        tags={RELEASE_TAG: "failed", CLUSTER_TAG: "hello-prod", SERVER_GROUP_TAG: "hello-prod-v9"},
    )  # fmt: skip
    return replace(made, **changes)


def chosen(one: Leftover, records: Records = FAILED) -> Choice:
    return choose(one, records, now=NOW, grace=GRACE)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_nothing_needs_goes(kind: Kind) -> None:
    assert chosen(left(kind)) == Choice(
        leftover=left(kind), goes=True, reason="nothing needs it since 2026-05-29 12:00 UTC"
    )


@pytest.mark.parametrize(
    ("changes", "records", "reason"),
    [
        ({"used_by": "a load balancer sends requests to it"}, FAILED, "a load balancer sends"),
        ({"tags": {}}, FAILED, "no tag of ours"),
        ({"tags": {"owner": "ann", "release": "failed"}}, FAILED, "no tag of ours"),
        ({"tags": {**left().tags, KEEP_TAG: "yes"}}, FAILED, "ovenbird:keep"),
        ({}, replace(FAILED, locked={"prod hello-prod": "r-2"}), "`r-2` changes its cluster now"),
        ({}, replace(FAILED, ended={"failed": None}), "`failed`, which made it, has not ended"),
        ({}, replace(FAILED, ended={"other": LONG_AGO}), "do not know its release `failed`"),
        ({}, Records(), "do not know its release `failed`"),
        ({"made_at": NOW - timedelta(hours=1)}, FAILED, "not older than 24 hours"),
        ({"made_at": NOW - GRACE}, FAILED, "not older than 24 hours"),
        ({"made_at": NOW + timedelta(hours=1)}, FAILED, "a clock is wrong"),
        ({}, replace(FAILED, ended={"failed": NOW - timedelta(hours=1)}), "not older than 24"),
        ({"kind": Kind.SNAPSHOT, "tags": {"ovenbird:bake-key": "k"}, "made_at": None}, FAILED,
         "nobody knows how old it is"),
        ({"kind": Kind.INSTANCE, "tags": {"ovenbird:temporary": "x"}, "used_by": "a bake"}, FAILED,
         "a bake"),
    ],
)  # fmt: skip
def test_what_may_be_needed_stays(changes: dict[str, Any], records: Records, reason: str) -> None:
    choice = chosen(left(**changes), records)

    assert (choice.goes, reason in choice.reason) == (False, True), choice.reason


def test_things_of_bakes_need_no_release_and_those_of_groups_do() -> None:
    tags = {"ovenbird:temporary": "3f2a91c0 2026-05-29T12:00:00+00:00"}

    goes = {kind for kind in Kind if chosen(left(kind, tags=tags)).goes}

    assert goes == OF_BAKES


def test_so_many_go_at_once_and_instances_before_their_security_groups() -> None:
    found = [left(Kind.SECURITY_GROUP, ident="b"), left(Kind.TARGET_GROUP, ident="c"),
             left(Kind.INSTANCE, ident="a"), left(Kind.ALARM, ident="d", used_by="it")]  # fmt: skip

    choices = plan_leftovers(found, FAILED, now=NOW, grace=GRACE, at_once=2)

    assert [(one.leftover.ident, one.goes) for one in choices] == [
        ("a", True), ("b", True), ("d", False), ("c", False),
    ]  # fmt: skip
    assert choices[-1].reason.startswith("2 others go first; then: nothing needs it since")


def test_records_that_are_empty_or_of_another_installation_are_not_believed() -> None:
    seen = cluster(RESTING, SERVING)

    with pytest.raises(Conflict, match="they are empty, and `hello-prod-v001` is there"):
        refuse_strange([seen], Records())
    with pytest.raises(Conflict, match="do not know its release `old`"):
        refuse_strange([seen], Records(ended={"other": LONG_AGO}))
    refuse_strange([seen], FAILED)
    refuse_strange([], Records())


def plan(seen: Cluster, records: Records = FAILED) -> list[str]:
    return told(plan_cluster(seen, records, now=NOW, grace=GRACE))


def test_a_cluster_on_which_something_works_is_left_alone() -> None:
    seen = cluster(replace(RESTING, rested=timedelta(days=9)), replace(SERVING, pinned=True))
    busy = replace(FAILED, locked={"prod hello-prod": "r-2"})

    found = plan_cluster(seen, busy, now=NOW, grace=GRACE)

    assert (found.actions, found.reason) == ((), "`r-2` changes `hello-prod` now")
    assert plan(seen) == [
        "Unpin v002: give its old minimum back",
        "Decommission v001: drain and destroy it",
    ]


def test_what_rests_within_its_window_stays() -> None:
    assert plan(cluster(RESTING, SERVING)) == []


def test_a_group_of_a_failed_release_goes_also_where_nothing_serves() -> None:
    orphan = Shape(release="failed")
    young = replace(FAILED, ended={"failed": NOW - timedelta(hours=1)})

    assert plan(cluster(orphan)) == ["Decommission v001: drain and destroy it"]
    assert plan(cluster(orphan), young) == []
    assert plan(cluster(orphan), replace(FAILED, ended={"failed": None})) == []
    assert plan(cluster(orphan), Records()) == []
    assert plan(cluster(Shape(release="old"))) == []


def test_a_group_that_a_rollout_held_rests_from_now_on() -> None:
    held = Shape(pinned=True)

    assert plan(cluster(held, SERVING)) == [
        "Disable v001: it rests with its instances, ready for a rollback",
        "Unpin v001: give its old minimum back",
    ]
    assert plan(cluster(held)) == []


def test_a_baseline_goes_also_when_its_release_ended_well() -> None:
    seen = cluster(SERVING, Shape(release="old"))
    baseline = replace(
        seen.groups[1], tags={ROLE_TAG: BASELINE}, created_at=NOW - timedelta(minutes=1)
    )

    assert plan(replace(seen, groups=(seen.groups[0], baseline))) == [
        "Decommission v002: drain and destroy it"
    ]


def test_what_a_rollout_holds_that_stopped_midway_stays_held() -> None:
    assert plan(cluster(Shape(weight=50, pinned=True), Shape(weight=50))) == []


def test_what_has_rested_is_kept_by_its_tag() -> None:
    seen = cluster(Shape(rested=timedelta(days=9)), SERVING)
    kept = replace(seen.groups[0], tags={KEEP_TAG: "for ann"})

    assert plan(seen) == ["Decommission v001: drain and destroy it"]
    assert plan(replace(seen, groups=(kept, seen.groups[1]))) == []


def test_a_group_that_never_served_stays_until_its_release_has_ended_long_ago() -> None:
    seen = cluster(SERVING, Shape(release="failed"))
    young = replace(FAILED, ended={"failed": NOW - timedelta(hours=1), "old": LONG_AGO})

    found = plan_cluster(seen, young, now=NOW, grace=GRACE)

    assert found.actions == ()
    assert "kept by its tag" in found.reason
    assert plan(seen) == ["Decommission v002: drain and destroy it"]


def test_a_group_that_is_kept_by_its_tag_is_no_orphan() -> None:
    seen = cluster(Shape(release="failed"))
    kept = replace(seen.groups[0], tags={KEEP_TAG: "for ann"})

    assert plan(replace(seen, groups=(kept,))) == []


ages = st.none() | st.integers(-10, 500).map(lambda hours: NOW - timedelta(hours=hours))
records = st.builds(
    Records,
    ended=st.dictionaries(st.sampled_from(["failed", "old", "new"]), ages),
    promoted=st.sets(st.sampled_from(["old"])).map(frozenset),
    locked=st.just({}) | st.just({"prod hello-prod": "r"}),
)
shapes = st.builds(
    Shape,
    weight=st.sampled_from([0, 0, 50, 100]),
    size=st.integers(0, 3),
    rested=st.none() | st.integers(1, 5000).map(lambda minutes: timedelta(minutes=minutes)),
    pinned=st.booleans(),
    release=st.sampled_from(["failed", "old", "new", "stranger"]),
)


@given(st.lists(shapes, max_size=5), records)
def test_no_plan_takes_traffic_a_way_back_or_what_is_owned(
    given_shapes: list[Shape], known: Records
) -> None:
    seen = cluster(*given_shapes)
    back = previous(seen)
    now = after(seen, plan_cluster(seen, known, now=NOW, grace=GRACE).actions)

    kept = {group.name for group in now.groups}
    gone = [group for group in seen.groups if group.name not in kept]
    assert not any(group.enabled for group in gone)
    assert not (gone and known.locked)
    for group in gone:
        if seen.serving is None:
            ended = known.ended.get(group.release_id)
            assert ended is not None
            assert NOW - ended > GRACE
        if group == back and group.disabled_at is not None:
            assert NOW - group.disabled_at > timedelta(hours=1)
    # Of what it lets rest one may be too many: that goes with the next run, then nothing.
    later = after(now, plan_cluster(now, known, now=NOW, grace=GRACE).actions)
    again = plan_cluster(later, known, now=NOW, grace=GRACE)
    assert again.actions == ()


things = st.builds(
    left,
    st.sampled_from(list(Kind)),
    made_at=ages,
    used_by=st.sampled_from(["", "something"]),
    tags=st.dictionaries(
        st.sampled_from([RELEASE_TAG, CLUSTER_TAG, KEEP_TAG, "owner"]),
        st.sampled_from(["failed", "old", "hello-prod"]),
    ),
)


@given(st.lists(things), records, st.integers(0, 5))
def test_nothing_goes_that_is_used_young_or_owned(
    found: list[Leftover], known: Records, at_once: int
) -> None:
    choices = plan_leftovers(found, known, now=NOW, grace=GRACE, at_once=at_once)

    going = [one.leftover for one in choices if one.goes]
    assert len(choices) == len(found)
    assert len(going) <= at_once
    for one in going:
        owner = one.tags.get(RELEASE_TAG, "")
        assert not one.used_by
        assert KEEP_TAG not in one.tags
        assert one.made_at is None or one.made_at < NOW - GRACE
        assert one.kind in OF_BAKES or known.ended.get(owner) is not None
        assert not (owner in known.ended and known.ended[owner] is None)
        assert not (known.locked and one.cluster == "hello-prod")
