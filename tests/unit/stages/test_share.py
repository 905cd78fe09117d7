"""Sharing told as a story: both accounts see one image, each with tags of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ovenbird.domain.errors import CloudError, NotFound
from ovenbird.domain.images import Image, ImageId, SnapshotId
from ovenbird.stages.share import share

THEIRS = "222222222222"
IMAGE = Image(
    image_id=ImageId("ami-1"), name="hello-1.2.0", owner_id="111111111111",
    root_snapshot_id=SnapshotId("snap-1"), root_device_name="/dev/xvda",
    architecture="x86_64", boot_mode="uefi", ena=True, imds_v2=True, size_gib=4,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), state="available",
    tags={"Name": "hello 1.2.0", "ovenbird:app": "hello", "cost-centre": "ours alone"},
)  # fmt: skip


class World:
    """Both accounts; writes down what happens."""

    def __init__(self, breaks_on: str = "") -> None:
        self.log: list[str] = []
        self.breaks_on = breaks_on
        self.shared = False
        self.tags: dict[str, str] = {}

    def note(self, what: str) -> None:
        self.log.append(what)
        if what.split(maxsplit=1)[0] == self.breaks_on:
            raise CloudError(f"{what} broke")

    def share(self, image: Image, *, account_id: str) -> None:
        self.note(f"share {image.image_id} with {account_id}")
        self.shared = True

    def tag(self, image_id: ImageId, tags: Mapping[str, str]) -> None:
        self.note(f"tag {image_id}")
        self.tags.update(tags)

    def get(self, image_id: ImageId) -> Image:
        if not self.shared:
            raise NotFound(f"No image `{image_id}`")
        return replace(IMAGE, tags=dict(self.tags))

    def find_by_name(self, name: str) -> Image | None:
        raise AssertionError("an image is shared by its id, not by its name")

    def find_baked(self, bake_key: str) -> Image | None:
        raise AssertionError("what is shared was baked before")

    def list_baked(self, app: str | None = None, *, disabled: bool = False) -> tuple[Image, ...]:
        raise AssertionError("one image is shared and none is listed")

    def register(
        self, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
    ) -> Image:
        raise AssertionError("sharing makes no image")


def share_in(world: World, image: Image = IMAGE, account_id: str = THEIRS) -> Image:
    return share(image, account_id=account_id, images=world, there=world, progress=lambda _: None)


def test_an_image_is_shared_first_and_tagged_on_the_other_side() -> None:
    world = World()

    seen = share_in(world)

    assert world.log == [f"share ami-1 with {THEIRS}", "tag ami-1"]
    assert seen.tags == {
        "Name": "hello 1.2.0",
        "ovenbird:app": "hello",
        "ovenbird:source-account": "111111111111",
    }


@pytest.mark.parametrize("step", ["share", "tag"])
def test_sharing_again_after_a_failure_ends_as_if_it_had_not_failed(step: str) -> None:
    world = World(breaks_on=step)
    with pytest.raises(CloudError):
        share_in(world)
    world.breaks_on = ""

    assert share_in(world) == share_in(World())


def test_sharing_twice_is_sharing_once() -> None:
    world = World()

    assert share_in(world) == share_in(world)


def test_an_image_of_the_same_account_needs_no_sharing() -> None:
    world = World()

    assert share_in(world, account_id=IMAGE.owner_id) == IMAGE
    assert world.log == []
