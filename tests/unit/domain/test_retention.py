"""Retention: what goes, what stays, and what can never go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.catalog import CatalogEntry, Publication
from ovenbird.domain.clusters import ROLLBACK_WINDOW_TAG, Capacity, Cluster, ServerGroup
from ovenbird.domain.images import (
    APP_TAG,
    COMMIT_TAG,
    PACKAGES_TAG,
    VERSION_TAG,
    Image,
    ImageId,
    SnapshotId,
)
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.retention import (
    Hold,
    Limits,
    Policy,
    RetentionPlan,
    holds_of,
    oldest_kept,
    plan_retention,
)
from tests.unit.domain.catalog_values import AT, entry, publication

NOW = AT + timedelta(days=1000)
STRICT = Policy(general=Limits(keep_last=1, keep_days=0))
CLUSTER = ClusterName(app="hello", stack="prod")


def plan(
    entries: Iterable[CatalogEntry],
    *holds: Hold,
    policy: Policy = STRICT,
    publications: Iterable[Publication] | None = None,
) -> RetentionPlan:
    entries = tuple(entries)
    return plan_retention(
        [one.package for one in entries],
        publications if publications is not None else [publication(one) for one in entries],
        holds=holds, policy=policy, now=NOW,
    )  # fmt: skip


def going(found: RetentionPlan) -> list[str]:
    return [choice.publication.key.version for choice in found.goes]


def staying(found: RetentionPlan) -> dict[str, str]:
    return {choice.publication.key.version: choice.reason for choice in found.stays}


def group(
    number: int, *, weight: int = 0, rested_h: float = 0, image: str = "ami-1"
) -> ServerGroup:
    return ServerGroup(
        name=ServerGroupName(cluster=CLUSTER, version=number), image_id=ImageId(image),
        version=f"1.{number}.0", capacity=Capacity(min=1, desired=1, max=1), instances=(),
        weight=weight, target_group="arn", created_at=AT,
        disabled_at=None if weight else NOW - timedelta(hours=rested_h),
        tags={ROLLBACK_WINDOW_TAG: "7200"},
    )  # fmt: skip


def image(**tags: str) -> Image:
    return Image(
        image_id=ImageId("ami-1"), name="hello", owner_id="1", root_device_name="/dev/xvda",
        root_snapshot_id=SnapshotId("snap-1"), architecture="x86_64", boot_mode="uefi", ena=True,
        imds_v2=True, size_gib=4, created_at=AT, state="available",
        tags={f"ovenbird:{name.replace('_', '-')}": value for name, value in tags.items()},
    )  # fmt: skip


def test_the_newest_by_dpkg_s_order_stay_whenever_they_were_published() -> None:
    versions = ["1.0.0", "1.10.0", "1.9.0", "2.0~rc1", "2.0", "1:0.1"]
    entries = [entry(version, days=-n) for n, version in enumerate(versions)]

    found = plan(entries, policy=Policy(general=Limits(keep_last=3, keep_days=0)))

    assert going(found) == ["1.10.0", "1.9.0", "1.0.0"]
    assert staying(found) == {
        "1:0.1": "it is the newest",
        "2.0": "it is among the 3 newest",
        "2.0~rc1": "it is among the 3 newest",
    }


def test_the_young_stay_and_reasons_are_given() -> None:
    entries = [entry("1.0", days=10), entry("1.1", days=900), entry("1.2", days=999)]

    found = plan(entries, policy=Policy(general=Limits(keep_last=1, keep_days=200)))

    assert staying(found)["1.1"] == "it is not older than 200 days"
    [gone] = found.goes
    assert gone.reason == "2 newer versions in `candidate`, 990 days old, runs nowhere"


def test_a_channel_can_keep_more() -> None:
    entries = [entry("1.0"), entry("1.1"), entry("1.2")]
    policy = replace(STRICT, channels={"release": Limits(keep_last=2, keep_days=0)})
    publications = [
        publication(one, channel=c) for one in entries for c in ("candidate", "release")
    ]

    found = plan(entries, policy=policy, publications=publications)

    assert [(c.publication.channel, c.publication.key.version) for c in found.goes] == [
        ("candidate", "1.1"),
        ("candidate", "1.0"),
        ("release", "1.0"),
    ]


def test_apps_and_formats_are_counted_apart() -> None:
    entries = [entry("1.0"), entry("1.1"), entry("0.1", name="worker")]

    assert going(plan(entries)) == ["1.0"]


@pytest.mark.parametrize(
    "hold",
    [
        Hold(reason="r", app="hello", version="1.0.0"),
        Hold(reason="r", app="hello", commit=entry("1.0.0").package.commit),
        Hold(reason="r", app="hello"),
        Hold(reason="r", app="other", digests=frozenset({entry("1.0.0").package.digest_sha256})),
    ],
)
def test_what_runs_stays_by_version_commit_digest_or_doubt(hold: Hold) -> None:
    found = plan([entry("1.0.0"), entry("1.1.0"), entry("1.2.0")], hold)

    assert staying(found)["1.0.0"] == "r"


def test_what_the_catalog_does_not_know_stays() -> None:
    found = plan_retention(
        [], [publication(entry("1.0")), publication(entry("1.1"))],
        holds=(), policy=STRICT, now=NOW,
    )  # fmt: skip

    assert going(found) == []


def test_server_groups_hold_what_they_run_and_say_why() -> None:
    resting = (group(1, rested_h=9), group(2, rested_h=3), group(3, rested_h=1))
    cluster = Cluster(name=CLUSTER, environment="prod", groups=(*resting, group(4, weight=100)))
    known = {ImageId("ami-1"): image(app="hello", version="1.4.0", commit="c", packages="hello=dd")}

    old, before, rests, serves = holds_of(cluster, known, now=NOW)

    assert (serves.app, serves.version, serves.commit) == ("hello", "1.4.0", "c")
    assert serves.digests == {"dd"}
    assert serves.reason == "hello-prod-v004 in prod serves it"
    assert rests.reason.startswith(
        "hello-prod-v003 in prod rests with it, and a rollback may need it until 2028-09-27 13:00"
    )
    assert before.reason == "hello-prod-v002 in prod rests with it"
    assert old.reason == "hello-prod-v001 in prod rests with it"


def test_a_group_whose_image_is_gone_holds_its_version() -> None:
    cluster = Cluster(name=CLUSTER, environment="prod", groups=(group(1, weight=100),))

    [hold] = holds_of(cluster, {}, now=NOW)

    assert (hold.app, hold.version, hold.digests) == ("hello", "1.1.0", frozenset())
    assert {APP_TAG, VERSION_TAG, COMMIT_TAG, PACKAGES_TAG} == {
        f"ovenbird:{name}" for name in ("app", "version", "commit", "packages")
    }


@pytest.mark.parametrize(
    ("times", "oldest"),
    [
        ({}, 0),  # nothing is known: all stays
        ({1: 0, 2: 10, 3: 20, 4: 30}, 2),  # 2 was the newest until 20
        ({1: 0, 2: 10}, 2),
        ({1: 0, 9: 10}, 4),  # the newest that there is stays, whatever the records say
        ({1: 20}, 0),
    ],
)
def test_states_stay_readable_until_they_were_replaced_long_enough(
    times: dict[int, int], oldest: int
) -> None:
    known = {number: AT + timedelta(days=days) for number, days in times.items()}

    assert oldest_kept([1, 2, 3, 4], known, before=AT + timedelta(days=15)) == oldest
    assert oldest_kept([], {}, before=AT) == 0


# Properties

versions = st.builds(
    lambda major, minor, tail: f"{major}.{minor}{tail}",
    st.integers(0, 3), st.integers(0, 11), st.sampled_from(["", "~rc1", "-1"]),
)  # fmt: skip
entries_ = st.lists(
    st.builds(
        lambda version, name, days: entry(version, name=name, app=name, days=days),
        versions, st.sampled_from(["hello", "worker"]), st.integers(0, 1000),
    ),
    max_size=12, unique_by=lambda one: one.key,
)  # fmt: skip
policies = st.builds(
    Policy,
    general=st.builds(Limits, keep_last=st.integers(0, 5), keep_days=st.integers(0, 1000)),
    channels=st.dictionaries(
        st.just("release"), st.builds(Limits, keep_last=st.integers(0, 9)), max_size=1
    ),
)
holds_ = st.lists(
    st.builds(
        lambda app, version: Hold(reason="runs", app=app, version=version),
        st.sampled_from(["hello", "worker"]), versions | st.just(""),
    ),
    max_size=4,
)  # fmt: skip


@st.composite
def situations(
    draw: st.DrawFn,
) -> tuple[list[CatalogEntry], list[Publication], list[Hold], Policy]:
    entries = draw(entries_)
    publications = [
        publication(one, channel=channel)
        for one in entries
        for channel in draw(st.sets(st.sampled_from(["candidate", "release"]), min_size=1))
    ]
    return entries, publications, draw(holds_), draw(policies)


Situation = tuple[list[CatalogEntry], list[Publication], list[Hold], Policy]


def planned(situation: Situation) -> RetentionPlan:
    entries, publications, holds, policy = situation
    return plan(entries, *holds, policy=policy, publications=publications)


@given(situations())
def test_every_publication_is_decided_on_once(situation: Situation) -> None:
    decided = [choice.publication for choice in planned(situation).choices]

    assert len(decided) == len(set(decided))
    assert set(decided) == set(situation[1])


@given(situations())
def test_nothing_that_runs_ever_goes(situation: Situation) -> None:
    entries, _, holds, _ = situation
    packages = {one.key: one.package for one in entries}

    assert not [
        choice
        for choice in planned(situation).goes
        if any(hold.needs(packages[choice.publication.key]) for hold in holds)
    ]


@given(situations())
def test_the_newest_of_each_package_and_channel_stay(situation: Situation) -> None:
    policy = situation[3]
    stays: dict[tuple[str, str], int] = {}
    for choice in planned(situation).stays:
        place = (choice.publication.channel, choice.publication.key.name)
        stays[place] = stays.get(place, 0) + 1
    for one in situation[1]:
        line = [p for p in situation[1] if (p.channel, p.key.name) == (one.channel, one.key.name)]
        wanted = max(1, policy.limits_of(one.channel).keep_last)
        assert stays[one.channel, one.key.name] >= min(wanted, len(line))


@given(situations())
def test_nothing_young_goes(situation: Situation) -> None:
    policy = situation[3]

    for choice in planned(situation).goes:
        limit = timedelta(days=policy.limits_of(choice.publication.channel).keep_days)
        assert NOW - choice.publication.published_at > limit


@given(situations())
def test_after_it_was_done_nothing_more_goes(situation: Situation) -> None:
    entries, _, holds, policy = situation
    left = [choice.publication for choice in planned(situation).stays]

    again = plan(entries, *holds, policy=policy, publications=left)

    assert again.goes == ()
    assert {choice.publication for choice in again.stays} == set(left)


@given(situations(), st.integers(0, 500))
def test_what_goes_today_goes_tomorrow(situation: Situation, days: int) -> None:
    entries, publications, holds, policy = situation
    later = plan_retention(
        [one.package for one in entries], publications,
        holds=holds, policy=policy, now=NOW + timedelta(days=days),
    )  # fmt: skip

    assert {c.publication for c in planned(situation).goes} <= {c.publication for c in later.goes}
