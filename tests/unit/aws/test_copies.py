"""Copies of images, also those that were interrupted, failed or vanished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ovenbird.aws.copies import ATTEMPTS, Copy, ImageCopies
from ovenbird.domain.errors import CloudError, Conflict, NotFound, Unhealthy
from ovenbird.domain.images import Image, ImageId
from tests.unit.aws.clouds import AMAZON, OURS, Cloud, raw, refusal


def ensure(cloud: Cloud, told: list[str] | None = None) -> Image:
    copies = ImageCopies(cloud.account(), clock=cloud.clock)
    source = copies._images.get(ImageId("ami-aaaaaaaa"))
    copy = Copy(source=source, region="eu-north-1", name="copy", tags={"a": "1"})
    say = [] if told is None else told
    return copies.ensure(copy, progress=say.append)


def test_a_copy_is_tagged_in_the_call_that_makes_it() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")])

    image = ensure(cloud)

    tags = [
        {"Key": "a", "Value": "1"},
        {"Key": "ovenbird:copied-from", "Value": "ami-aaaaaaaa"},
    ]
    assert image.name == "copy"
    assert cloud.copied[0]["TagSpecifications"] == [
        {"ResourceType": "image", "Tags": tags},
        {"ResourceType": "snapshot", "Tags": tags},
    ]


def test_who_waits_for_a_long_copy_is_told() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")], copy_states=["pending"] * 40 + ["available"])
    told: list[str] = []

    ensure(cloud, told)

    assert told[0].startswith("Copying `ami-aaaaaaaa`")
    assert told[1:] == [f"Still copying `ami-aaaaaaaa` after {s} s" for s in (30, 60)]


def test_a_half_made_copy_is_gone_on_with() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")], copy_states=["pending"])
    with pytest.raises(Unhealthy, match="still `pending`"):
        ensure(cloud)
    cloud.images[1]["State"] = "available"

    assert ensure(cloud).image_id == "ami-00000001"
    assert len(cloud.copied) == 1


def test_a_copy_that_failed_says_why_and_is_gone_and_the_next_try_begins_anew() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")], copy_states=["failed"])

    with pytest.raises(CloudError, match=r"ended as `failed`"):
        ensure(cloud)
    assert [image["ImageId"] for image in cloud.images] == ["ami-aaaaaaaa"]
    cloud.copy_states = ["available"]
    assert ensure(cloud).state == "available"


def test_an_id_that_never_was_is_asked_for_again_with_another_token() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")], copy_states=["gone"])

    with pytest.raises(CloudError, match="vanished"):
        ensure(cloud)
    assert len({copied["ClientToken"] for copied in cloud.copied}) == ATTEMPTS


def test_the_name_of_another_image_is_not_taken_for_the_copy() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa"), raw("ami-bbbbbbbb", Name="copy")])

    with pytest.raises(Conflict, match="`ami-bbbbbbbb` is named `copy`"):
        ensure(cloud)


def test_other_tags_are_another_copy_for_ec2() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")])
    copies = ImageCopies(cloud.account(), clock=cloud.clock)
    source = copies._images.get(ImageId("ami-aaaaaaaa"))
    for value in ("1", "2", "1"):
        copy = Copy(source=source, region="eu-north-1", name="copy", tags={"a": value})
        copies.ensure(copy, progress=print)
        copies.remove(copy)

    first, second, third = (copied["ClientToken"] for copied in cloud.copied)
    assert first == third != second


@pytest.mark.parametrize(("owner", "tries"), [(AMAZON, 4), (OURS, 1)])
def test_what_was_shared_just_now_is_asked_for_again(owner: str, tries: int) -> None:
    cloud = Slow(images=[raw("ami-aaaaaaaa", OwnerId=owner)])

    if owner == OURS:
        with pytest.raises(NotFound):
            ensure(cloud)
    else:
        assert ensure(cloud).state == "available"
    assert cloud.tries == tries


@dataclass(kw_only=True)
class Slow(Cloud):
    """Knows an image only when it was asked for it some times."""

    tries: int = 0

    def copy_image(self, **given: Any) -> dict[str, str]:
        self.tries += 1
        if self.tries <= 3:
            raise refusal("InvalidAMIID.NotFound")
        return super().copy_image(**given)
