"""Images of builders, when EC2 answers strangely."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from ovenbird.aws.builder_images import BuilderImages, Captured
from ovenbird.aws.builder_resources import TEMPORARY_TAG, Mark
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import BAKE_KEY_TAG, NO_EVIDENCE_TAG, Image
from tests.unit.aws.clouds import Cloud, raw, refusal

MARK = Mark(builder_id="3f2a91c0", deadline=datetime(2026, 11, 28, 14, tzinfo=UTC))


@dataclass(kw_only=True)
class Forgetful(Cloud):
    """Makes an image, and its answer is lost; botocore asks again.

    Args:
        mark: Of the image that has the name.
    """

    mark: str

    def create_image(self, **given: Any) -> None:
        tags = [{"Key": TEMPORARY_TAG, "Value": self.mark}]
        self.images.append(raw("ami-1", Name=given["Name"], Tags=tags))
        raise refusal("InvalidAMIName.Duplicate")

    def modify_image_attribute(self, **_: Any) -> None: ...

    def create_tags(self, **given: Any) -> None:
        for image in self.images:
            if image["ImageId"] in given["Resources"]:
                image["Tags"] = [*image["Tags"], *given["Tags"]]

    def delete_tags(self, **_: Any) -> None: ...


def make(mark: str) -> Image:
    cloud = Forgetful(mark=mark)
    images = BuilderImages(cloud.account(), clock=cloud.clock)
    return images.make(
        Captured(instance_id="i-1", mark=MARK),
        name="hello",
        tags={BAKE_KEY_TAG: "k"},
        complete=lambda made: {NO_EVIDENCE_TAG: f"{made.image_id} is new"},
        progress=print,
    )


def test_an_image_whose_answer_was_lost_is_ours_all_the_same() -> None:
    made = make(str(MARK))

    assert (made.bake_key, made.tags[NO_EVIDENCE_TAG]) == ("k", "ami-1 is new")


def test_the_image_of_another_builder_is_not_taken_for_ours() -> None:
    with pytest.raises(Conflict) as caught:
        make("other 2026-11-28T14:00:00+00:00")

    assert "start the command again" in caught.value.hint
