"""Sharing told as a story: all of it or nothing, in accounts and Regions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.domain.errors import CloudError, Throttled
from ovenbird.domain.images import Image
from ovenbird.domain.sharing import (
    AUTO_SCALING_ROLE,
    Principal,
    PrincipalKind,
    ShareRequest,
    ShareTarget,
    changes,
    plan_sharing,
)
from ovenbird.stages.share import carry_out, observe, share
from tests.sharing import HERE, IMAGE, NORTH, OURS, THEIRS, Cloud

KEY = "arn:aws:kms:eu-west-1:111111111111:key/ours"
NORTH_KEY = "arn:aws:kms:eu-north-1:111111111111:key/north"
DEV = ShareTarget(environment="dev", account_id=OURS, region=HERE)
PROD = ShareTarget(environment="prod", account_id=THEIRS, region=HERE)
ORGANIZATION = Principal(
    kind=PrincipalKind.ORGANIZATION, name="arn:aws:organizations::1:organization/o-1"
)
PLAIN = ShareRequest(image=IMAGE, region=HERE, targets=(DEV, PROD))
ENCRYPTED = replace(PLAIN, image=replace(IMAGE, kms_key=KEY))
COPYING = replace(ENCRYPTED, targets=(DEV, replace(PROD, copies=True, kms_key="alias/theirs")))
NORTHERN = replace(
    ENCRYPTED,
    targets=(
        DEV,
        replace(PROD, region=NORTH, kms_key=NORTH_KEY),
        ShareTarget(environment="north", account_id=OURS, region=NORTH),
    ),
    others=(ORGANIZATION,),
)
STORIES = {"plain": PLAIN, "encrypted": ENCRYPTED, "copying": COPYING, "northern": NORTHERN}


def cloud_of(request: ShareRequest) -> Cloud:
    return Cloud(images={(OURS, HERE, IMAGE.image_id): request.image})


def share_in(cloud: Cloud, request: ShareRequest = PLAIN) -> dict[str, Image]:
    places = {one.environment: (one.account_id, one.region) for one in request.targets}
    return share(request, doors=cloud.doors(places), progress=lambda _: None)


def changes_left(cloud: Cloud, request: ShareRequest) -> int:
    places = {one.environment: (one.account_id, one.region) for one in request.targets}
    return len(changes(plan_sharing(request, observe(request, doors=cloud.doors(places)))))


def test_the_snapshot_is_shared_before_the_image_and_tags_are_written_there() -> None:
    cloud = Cloud()

    seen = share_in(cloud)

    assert cloud.log == [f"snap-1 for {THEIRS}", f"ami-1 for {THEIRS}", "tag ami-1"]
    assert seen["dev"] == IMAGE
    assert seen["prod"].tags == {
        "Name": "hello 1.2.0",
        "ovenbird:app": "hello",
        "ovenbird:source-account": OURS,
    }


def test_production_may_use_the_key_before_it_may_launch() -> None:
    cloud = cloud_of(ENCRYPTED)

    share_in(cloud, ENCRYPTED)

    assert cloud.log[1:3] == [
        f"grant arn:aws:iam::{THEIRS}:{AUTO_SCALING_ROLE}",
        f"ami-1 for {THEIRS}",
    ]


def test_an_account_that_copies_launches_its_own_image() -> None:
    cloud = cloud_of(COPYING)

    seen = share_in(cloud, COPYING)

    assert seen["prod"].image_id == "ami-2-eu-west-1"
    assert seen["prod"].owner_id == THEIRS
    assert cloud.log == [
        f"snap-1 for {THEIRS}",
        f"grant arn:aws:iam::{THEIRS}:root",
        f"ami-1 for {THEIRS}",
        "copy to 2-eu-west-1 with alias/theirs",
    ]


def test_another_region_has_a_copy_that_is_shared_there() -> None:
    cloud = cloud_of(NORTHERN)

    seen = share_in(cloud, NORTHERN)

    assert {name: image.image_id for name, image in seen.items()} == {
        "dev": "ami-1",
        "prod": "ami-1-eu-north-1",
        "north": "ami-1-eu-north-1",
    }
    assert cloud.log == [
        f"ami-1 for {ORGANIZATION.name}",
        f"copy to 1-eu-north-1 with {NORTH_KEY}",
        f"snap-1-eu-north-1 for {THEIRS}",
        f"grant arn:aws:iam::{THEIRS}:{AUTO_SCALING_ROLE}",
        f"ami-1-eu-north-1 for {THEIRS}",
        "tag ami-1-eu-north-1",
    ]


@pytest.mark.parametrize("story", STORIES)
def test_sharing_twice_is_sharing_once(story: str) -> None:
    request = STORIES[story]
    cloud = cloud_of(request)
    first = share_in(cloud, request)
    cloud.log.clear()

    assert share_in(cloud, request) == first
    assert cloud.log == []
    assert changes_left(cloud, request) == 0


def test_an_image_of_the_same_account_needs_no_sharing() -> None:
    cloud = Cloud()

    assert share_in(cloud, replace(PLAIN, targets=(DEV,))) == {"dev": IMAGE}
    assert cloud.log == []


@pytest.mark.parametrize("how", ["breaks", "refuses"])
@pytest.mark.parametrize("story", STORIES)
def test_after_a_failure_of_any_action_all_is_as_it_was(story: str, how: str) -> None:
    request = STORIES[story]
    whole = cloud_of(request)
    share_in(whole, request)
    for number in range(1, len(whole.log) + 1):
        cloud = cloud_of(request)
        before = cloud.state()
        setattr(cloud, how, {number})

        with pytest.raises(CloudError, match=r"broke|was refused"):
            share_in(cloud, request)

        assert cloud.state() == before
        share_in(cloud, request)
        assert cloud.state() == whole.state()


@pytest.mark.parametrize("story", STORIES)
def test_after_any_look_that_failed_all_is_as_it_was(story: str) -> None:
    request = STORIES[story]
    whole = cloud_of(request)
    share_in(whole, request)
    for number in range(1, whole.looks + 1):
        cloud = cloud_of(request)
        before = cloud.state()
        cloud.blind = number

        with pytest.raises(Throttled):
            share_in(cloud, request)
        assert cloud.state() == before


@pytest.mark.parametrize("story", STORIES)
def test_what_a_killed_run_did_is_found_and_the_rest_is_done(story: str) -> None:
    request = STORIES[story]
    whole = cloud_of(request)
    seen = share_in(whole, request)
    places = {one.environment: (one.account_id, one.region) for one in request.targets}
    for number in range(len(whole.log)):
        cloud = cloud_of(request)
        doors = cloud.doors(places)
        observed = observe(request, doors=doors)
        begun = plan_sharing(request, observed)[:number]
        carry_out(request, observed, begun, doors, lambda _: None)

        assert share_in(cloud, request) == seen
        assert cloud.state() == whole.state()
        assert sorted(set(cloud.log)) == sorted(cloud.log)


def test_what_others_had_before_stays_when_it_fails() -> None:
    cloud = Cloud(cannot_launch={THEIRS}, volumes={"snap-1": {THEIRS, "333333333333"}})
    cloud.tags[(THEIRS, "ami-1")] = {"Name": "theirs", "ovenbird:app": "hello"}
    before = cloud.state()

    with pytest.raises(CloudError, match="cannot be launched") as caught:
        share_in(cloud)

    assert cloud.state() == before
    assert "taken back: write the tags of `hello-1.2.0` in `prod`, let account" in str(caught.value)


def test_what_cannot_be_taken_back_is_said() -> None:
    cloud = Cloud(refuses={3, 5})

    with pytest.raises(CloudError) as caught:
        share_in(cloud)

    assert str(caught.value) == (
        "tag ami-1 was refused; taken back: "
        f"let {THEIRS} read the snapshot of `hello-1.2.0` in eu-west-1; not taken back: "
        f"let account {THEIRS} launch `hello-1.2.0` in eu-west-1 "
        f"(not ami-1 for {THEIRS} was refused)"
    )
    assert caught.value.hint == ("Ask nicely. Share it again, or take back by hand what is named")


def test_a_person_who_interrupts_leaves_nothing() -> None:
    cloud = Cloud()
    places = {"dev": (OURS, HERE), "prod": (THEIRS, HERE)}

    def interrupt(text: str) -> None:
        if "launch" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share(PLAIN, doors=cloud.doors(places), progress=interrupt)
    assert cloud.state() == Cloud().state()
