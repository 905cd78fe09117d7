"""Bakes that find something of an earlier bake in their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import (
    BOOT_CHECK_TAG,
    DISABLED,
    UNFIT,
    Baked,
    BakeStrategy,
    BootCheck,
    Image,
    ImageId,
    SnapshotId,
)
from ovenbird.domain.ports import Progress
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from tests.unit.stages.test_bake import BASE, REQUEST
from tests.unit.stages.test_boot_check import Line, World


class Changing(World):
    """Gives another snapshot in each bake, as a recipe does that writes down the time."""

    def upload(self, blocks: Mapping[int, bytes], **given: object) -> SnapshotId:
        return SnapshotId(f"snap-{len(self.log)}")

    def find_baked(self, bake_key: str) -> Image | None:
        found = super().find_baked(bake_key)
        return found if found and found.state == "available" else None


class Builders:
    """Builders that are the room of a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def sweep(self, progress: Progress) -> None: ...

    @contextmanager
    def open(
        self, base: Image, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[Builders]:
        yield self

    def __getattr__(self, name: str) -> object:
        return getattr(self.world, name)

    def make_image(self, *, name: str, tags: Mapping[str, str], complete: object) -> Image:
        return self.world.register(
            name=name, base=BASE, snapshot_id=SnapshotId("snap-new"), tags=tags
        )


def bake_in(world: World, release: int = 1, **changes: object) -> Baked:
    request = replace(REQUEST, release_id=f"hello-ccccccc-{release}", **changes)  # type: ignore[arg-type]
    kitchen = Kitchen(images=world, snapshots=world, workshop=world, builders=Builders(world))  # type: ignore[arg-type]
    return bake(request, kitchen=kitchen, progress=lambda _: None)


def marked(world: World, image: Image, **changes: object) -> None:
    world.made = [
        replace(one, **changes) if one.image_id == image.image_id else one  # type: ignore[arg-type]
        for one in world.made
    ]


def test_a_fresh_bake_that_was_killed_when_it_was_registered_finds_its_image() -> None:
    world = Changing()
    first = bake_in(world, fresh=True)

    again = bake_in(world, fresh=True)

    assert (again.image, again.reused, again.blocks_uploaded) == (first.image, True, 0)
    assert again.seconds


def test_the_image_of_another_bake_is_not_taken_for_ours() -> None:
    world = Changing()
    first = bake_in(world, fresh=True).image
    marked(world, first, tags={})

    with pytest.raises(Conflict):
        bake_in(world, fresh=True)


@pytest.mark.parametrize("strategy", [BakeStrategy.DIRECT, BakeStrategy.INSTANCE])
@pytest.mark.parametrize("unfit", [True, False])
def test_what_nobody_may_launch_only_has_the_name(strategy: BakeStrategy, *, unfit: bool) -> None:
    world = Changing()
    first = bake_in(world, strategy=strategy).image
    changes = {"tags": {**first.tags, BOOT_CHECK_TAG: UNFIT}} if unfit else {"state": DISABLED}
    marked(world, first, **changes)

    second = bake_in(world, 2, strategy=strategy).image

    assert second.image_id != first.image_id
    assert second.name.startswith(f"{first.name}-")
    assert second.is_offered


def test_an_image_that_failed_is_booted_again_whatever_booted_before() -> None:
    line = Line()
    good = line.check(line.bake(), BootCheck.FIRST)
    bad = replace(good, image_id=ImageId("ami-bad"), tags={**good.tags, BOOT_CHECK_TAG: UNFIT})

    line.check(bad, BootCheck.FIRST)

    assert len(line.guests.booted) == 2
