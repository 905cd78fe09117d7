"""What was changed by hand is told, and nothing else; what can be mended safely is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    SERVER_GROUP_TAG,
    Capacity,
    Cluster,
    Details,
    InstanceId,
    ServerGroup,
)
from ovenbird.domain.drift import Kind, Recorded, drift, recorded, shares_of
from ovenbird.domain.images import APP_TAG
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import Action, Plan, SetWeights, Weight, describe
from ovenbird.domain.reconciling import plan_reconcile
from ovenbird.domain.releases import ActionDone, Phase, Rollout
from tests.unit.domain.clusters_model import (
    NOW,
    RESTING,
    SERVING,
    WARM_UP,
    Shape,
    after,
    cluster,
    environment,
    group,
    name,
    rollout,
    told,
)


def change(*texts: str) -> Rollout:
    return Rollout(
        rollout_id="r", release_id="r", kind="rollout", environment="prod", cluster="hello-prod",
        image_id="ami", version="1", actor="ann", phase=Phase.PROMOTED, started_at=NOW,
        actions=tuple(ActionDone(text=text, seconds=1.0) for text in texts),
    )  # fmt: skip


def done(actions: tuple[Action, ...]) -> Rollout:
    return change(*map(describe, actions))


def whole(one: ServerGroup) -> Details:
    tags = {APP_TAG: "hello", CLUSTER_TAG: "hello-prod", SERVER_GROUP_TAG: str(one.name)}
    return Details(
        template_version="1", first_version="1", template_image=one.image_id,
        alarms=(f"{one.name}-5xx",), tags=tags,
        images={i.instance_id: one.image_id for i in one.instances},
    )  # fmt: skip


def wholes(seen: Cluster) -> dict[ServerGroupName, Details]:
    return {one.name: whole(one) for one in seen.groups}


def reconciled(
    seen: Cluster,
    known: Recorded,
    details: Mapping[ServerGroupName, Details] | None = None,
    *,
    back: bool = False,
) -> Plan:
    return plan_reconcile(seen, known, details or wholes(seen), warm_up=WARM_UP, traffic_back=back)


def kinds(seen: Cluster, known: Recorded) -> list[Kind]:
    return [one.kind for one in drift(seen, known, wholes(seen))]


BEFORE = cluster(RESTING, SERVING)
KNOWN = Recorded(
    weights={"hello-prod-v001": 0, "hello-prod-v002": 100},
    served=frozenset({"hello-prod-v001", "hello-prod-v002"}),
    sizes={"hello-prod-v002": Capacity(min=1, desired=2, max=9)},
    desired={"hello-prod-v001": 2, "hello-prod-v002": 2},
    made=frozenset({"hello-prod-v001", "hello-prod-v002"}),
)


@given(
    st.dictionaries(st.integers(0, 999), st.integers(0, 100), min_size=1, max_size=5),
)
def test_weights_are_read_back_from_their_words(shares: dict[int, int]) -> None:
    weights = tuple(Weight(name=name(n), percent=share) for n, share in shares.items())

    read = shares_of(describe(SetWeights(weights=weights)))

    assert read == {str(name(n)): share for n, share in shares.items()}
    assert shares_of("Sent for you") == {}


def test_what_our_own_rollouts_left_is_no_difference() -> None:
    seen = cluster()
    past: list[Rollout] = []
    for turn in ("one", "two", "three"):
        plan = rollout(seen, environment(), release=turn)
        seen = after(seen, plan.actions)
        past.append(done(plan.actions))

        assert drift(seen, recorded(past), wholes(seen)) == ()
        assert reconciled(seen, recorded(past)).actions == ()


def test_what_is_not_recorded_is_no_difference() -> None:
    assert drift(BEFORE, Recorded()) == ()
    assert not Recorded().is_known
    assert reconciled(BEFORE, Recorded()).reason


def test_weights_changed_by_hand_are_told_and_stay_where_they_are() -> None:
    one, two = BEFORE.groups
    seen = replace(BEFORE, groups=(replace(one, weight=30), replace(two, weight=70)))

    found = drift(seen, KNOWN)
    plan = reconciled(seen, KNOWN)

    assert [one.kind for one in found] == [Kind.WEIGHTS, Kind.MARKS, Kind.PINNED]
    assert found[0].text == (
        "the traffic goes 30 % to `hello-prod-v001`, 70 % to `hello-prod-v002`; "
        "it was sent 100 % to `hello-prod-v002`"
    )
    assert told(plan) == [
        "Send 30 % to v001, 70 % to v002",
        "Enable v001",
        "Unpin v001: give its old minimum back",
    ]
    later = recorded([done(plan.actions)])
    assert drift(after(seen, plan.actions), later) == ()


def test_traffic_goes_back_when_it_is_asked_for_and_can_be_taken() -> None:
    one, two = BEFORE.groups
    moved = (replace(one, weight=100), replace(two, weight=0))
    sick = (moved[0], replace(moved[1], instances=()))

    back = reconciled(replace(BEFORE, groups=moved), KNOWN, back=True)
    cannot = reconciled(replace(BEFORE, groups=sick), KNOWN, back=True)

    assert told(back)[0] == "Send 100 % to v002"
    assert told(back)[1:] == [
        "Pin v001 at its present size",
        "Disable v001: it rests with its instances, ready for a rollback",
    ]
    assert told(cannot)[0] == "Send 100 % to v001"


def test_traffic_of_a_group_that_cannot_take_it_goes_to_the_others() -> None:
    one, two = BEFORE.groups
    seen = replace(BEFORE, groups=(replace(one, weight=50), replace(two, weight=50, instances=())))
    dark = replace(BEFORE, groups=(one, replace(two, instances=())))

    assert Kind.DARK in kinds(seen, KNOWN)
    assert told(reconciled(seen, KNOWN))[0] == "Send 100 % to v001"
    assert told(reconciled(dark, KNOWN))[0] == "Send 100 % to v001"


def test_without_anybody_who_can_serve_the_traffic_stays() -> None:
    one, two = (replace(each, instances=()) for each in BEFORE.groups)

    plan = reconciled(replace(BEFORE, groups=(one, two)), KNOWN)

    assert not any(isinstance(action, SetWeights) for action in plan.actions)


def test_a_size_that_was_taken_comes_back_and_one_that_was_given_stays() -> None:
    one, two = BEFORE.groups
    known = replace(KNOWN, sizes={"hello-prod-v002": Capacity(min=2, desired=3, max=9)})
    less = replace(two, capacity=Capacity(min=0, desired=1, max=9))
    more = replace(two, capacity=Capacity(min=5, desired=6, max=12))

    taken = replace(BEFORE, groups=(one, less))
    given = replace(BEFORE, groups=(one, more))

    assert kinds(taken, known) == kinds(given, known) == [Kind.SIZE]
    assert told(reconciled(taken, known)) == [
        "Resize v002 to 3 / 2 / 9 (desired / min / max)",
        "Wait up to 60 s until v002 has 3 instances healthy",
    ]
    assert reconciled(given, known).actions == ()


def test_a_size_between_its_limits_is_auto_scaling_s_own() -> None:
    one, two = BEFORE.groups
    grown = replace(two, capacity=Capacity(min=1, desired=7, max=9))

    assert kinds(replace(BEFORE, groups=(one, grown)), KNOWN) == []


def test_what_a_rollback_needs_gets_its_instances_back() -> None:
    one, two = BEFORE.groups
    shrunk = replace(one, capacity=Capacity(min=0, desired=0, max=9), instances=())
    seen = replace(BEFORE, groups=(shrunk, two))

    assert kinds(seen, KNOWN) == [Kind.SIZE]
    assert told(reconciled(seen, KNOWN)) == ["Resize v001 to 2 / 2 / 9 (desired / min / max)"]


def test_a_minimum_that_stayed_pinned_is_given_back() -> None:
    one, two = BEFORE.groups
    seen = replace(BEFORE, groups=(one, replace(two, pinned_min=1)))

    assert kinds(seen, KNOWN) == [Kind.PINNED]
    assert told(reconciled(seen, KNOWN)) == ["Unpin v002: give its old minimum back"]


def test_a_group_that_a_rollout_has_shrunk_stays_pinned() -> None:
    one, two = BEFORE.groups
    seen = replace(BEFORE, groups=(one, replace(two, pinned_min=1, pinned_desired=4)))

    assert told(reconciled(seen, KNOWN)) == []


def test_a_group_that_was_deleted_by_hand_is_told() -> None:
    one, two = BEFORE.groups
    without = replace(BEFORE, groups=(two,))
    hollow = replace(two, capacity=Capacity(min=0, desired=0, max=0), instances=())
    dark = replace(BEFORE, groups=(one, hollow))

    [gone] = drift(without, KNOWN)
    assert (gone.kind, gone.text) == (Kind.GONE, "`hello-prod-v001` was deleted by hand")
    assert drift(dark, KNOWN)[0].text == (
        "`hello-prod-v002`, which had 100 % of the traffic, was deleted by hand"
    )
    details = {one.name: whole(one)}
    assert told(reconciled(dark, KNOWN, details)) == [
        "Send 100 % to v001",
        "Enable v001",
        "Unpin v001: give its old minimum back",
        "Decommission v002: drain and destroy it",
    ]


def test_a_group_without_its_tags_is_mended_before_anything_else() -> None:
    one, two = BEFORE.groups
    hollow = replace(two, capacity=Capacity(min=0, desired=0, max=0), instances=())
    seen = replace(BEFORE, groups=(one, hollow))
    details = {one.name: whole(one), two.name: replace(whole(two), tags={})}

    assert told(reconciled(seen, KNOWN, details)) == [
        "Mend v002: write ovenbird:app, ovenbird:cluster, ovenbird:server-group"
    ]
    assert Kind.GONE not in {one.kind for one in drift(seen, KNOWN, details)}


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"template_version": "3"}, Kind.TEMPLATE, "launches from version 3 of its template"),
        ({"template_version": "$Latest"}, Kind.TEMPLATE, "launches from version $Latest"),
        ({"template_image": "ami-9"}, Kind.IMAGE, "would launch ami-9; its tag says ami-2"),
        ({"images": {InstanceId("i-1"): "ami-9"}}, Kind.IMAGE, "runs ami-9; its tag says ami-2"),
        ({"alarms": ()}, Kind.ALARMS, "has no alarm"),
        ({"tags": {}}, Kind.TAGS, "lacks `ovenbird:app`, `ovenbird:cluster`"),
        ({"suspended": ("AZRebalance", "Launch")}, Kind.PROCESSES, "suspended processes: Launch"),
    ],
)  # fmt: skip
def test_what_aws_says_beside_is_compared(
    changed: dict[str, object], kind: Kind, text: str
) -> None:
    serving = BEFORE.groups[1]
    details = wholes(BEFORE)
    details[serving.name] = replace(details[serving.name], **changed)  # type: ignore[arg-type]

    [found] = drift(BEFORE, KNOWN, details)

    assert (found.kind, text in found.text) == (kind, True)


def test_processes_and_templates_are_mended() -> None:
    serving = BEFORE.groups[1]
    details = wholes(BEFORE)
    details[serving.name] = replace(
        details[serving.name], suspended=("Launch",), template_version="2"
    )

    assert told(reconciled(BEFORE, KNOWN, details)) == [
        "Mend v002: resume Launch; launch from version 1 of its template"
    ]


shapes = st.builds(
    Shape,
    weight=st.sampled_from([0, 0, 30, 70, 100]),
    size=st.integers(0, 4),
    rested=st.none() | st.just(timedelta(minutes=5)),
    pinned=st.booleans(),
    healthy=st.none() | st.just(0),
)


@given(st.lists(shapes, min_size=1, max_size=4), st.booleans(), st.data())
def test_whatever_was_changed_is_mended_without_darkness_and_once(
    given_shapes: list[Shape], back: object, data: st.DataObject
) -> None:
    seen = cluster(*given_shapes)
    names = [str(one.name) for one in seen.groups]
    before = data.draw(st.sampled_from(names))
    known = Recorded(
        weights={before: 100},
        served=frozenset(data.draw(st.sets(st.sampled_from(names)))) | {before},
        desired=dict.fromkeys(names, 2),
        made=frozenset(names),
    )
    served = any(one.enabled and one.healthy for one in seen.groups)
    able = any(one.healthy for one in seen.groups if one.enabled)

    plan = reconciled(seen, known, back=bool(back))
    now = after(seen, plan.actions)

    if served:
        assert any(one.enabled and one.healthy for one in now.groups)
    if able:
        assert all(one.healthy for one in now.groups if one.enabled)
    assert all(one.disabled_at is None for one in now.groups if one.enabled and one.healthy)
    again = reconciled(now, recorded([done(plan.actions)]) if plan.actions else known)
    assert [type(action).__name__ for action in again.actions] == []


def test_the_group_of_the_model_is_whole() -> None:
    assert drift(cluster(SERVING), Recorded(), {name(1): whole(group(1, SERVING))}) == ()
