"""The bake told as a story by a world that writes down what happens."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.errors import CommandFailed, NotFound
from ovenbird.domain.images import (
    Baked,
    BakeRequest,
    Image,
    ImageId,
    PackagePin,
    SnapshotId,
)
from ovenbird.domain.ports import Progress
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.stages.bake import bake, bake_key
from ovenbird.stages.kitchen import Kitchen

STATE = RepositoryState(
    repository="main", channel="candidate", number=7, url="file:/r",
    suite="candidate-7", component="main", key_path="/k",
)  # fmt: skip
BASE = Image(
    image_id=ImageId("ami-base"), name="debian-12", owner_id="111111111111",
    root_snapshot_id=SnapshotId("snap-base"), root_device_name="/dev/xvda",
    architecture="x86_64", boot_mode="uefi", ena=True, imds_v2=True, size_gib=4,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), state="available",
)  # fmt: skip
REQUEST = BakeRequest(
    app="hello", version="1.2.0", commit="c" * 40, release_id="hello-ccccccc-1",
    base_image_id=BASE.image_id, recipe=(RecipeStep(work=Shell(lines=("apt-get install nginx",))),),
    packages=(PackagePin(name="hello", version="1.2.0", architecture="all", digest_sha256="d"),),
    repository=STATE,
)  # fmt: skip


class World:
    """Images, snapshots, workshop and room in one; keeps a list of what happened."""

    def __init__(self, breaks_on: str = "") -> None:
        self.log: list[str] = []
        self.made: list[Image] = []
        self.breaks_on = breaks_on
        self.tags: dict[str, str] = {}

    def note(self, what: str) -> None:
        self.log.append(what)
        if what == self.breaks_on:
            raise CommandFailed(f"{what} broke")

    def get(self, image_id: ImageId) -> Image:
        for image in (BASE, *self.made):
            if image.image_id == image_id:
                return replace(image, tags=self.tags or image.tags)
        raise NotFound(f"No image `{image_id}`")

    def find_by_name(self, name: str) -> Image | None:
        return next((image for image in self.made if image.name == name), None)

    def find_baked(self, bake_key: str) -> Image | None:
        return next((image for image in self.made if image.bake_key == bake_key), None)

    def list_baked(self, app: str | None = None, *, disabled: bool = False) -> tuple[Image, ...]:
        raise AssertionError("a bake looks for one image and lists none")

    def register(
        self, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
    ) -> Image:
        self.note(f"register {snapshot_id}")
        image_id = ImageId(f"ami-{len(self.made)}")
        made = replace(base, image_id=image_id, name=name, root_snapshot_id=snapshot_id, tags=tags)
        self.made.append(made)
        return made

    def download(self, snapshot_id: SnapshotId, *, parent: SnapshotId | None = None) -> Path:
        self.note(f"download {snapshot_id}" + (f" on {parent}" if parent else ""))
        return Path("/disk")

    def upload(
        self,
        blocks: Mapping[int, bytes],
        *,
        parent: SnapshotId | None,
        size_gib: int,
        token: str,
        tags: Mapping[str, str],
    ) -> SnapshotId:
        self.note(f"upload {sorted(blocks)} on {parent}")
        return SnapshotId("snap-new")

    def changed(self, first: SnapshotId, second: SnapshotId) -> frozenset[int]:
        return frozenset({1, 3})

    def forget_unfinished(self, tag: str, value: str, *, keep: SnapshotId) -> None:
        self.note(f"forget unfinished but {keep}")

    @contextmanager
    def open(
        self, disk: Path, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[World]:
        self.note(f"open {disk}")
        try:
            yield self
        finally:
            self.log.append("close")

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        self.note(step.shown)

    def install(self, pins: Sequence[PackagePin]) -> None:
        self.note(f"install {' '.join(pin.name for pin in pins)}")

    def clean(self) -> None:
        self.note("clean")

    def changed_blocks(self) -> dict[int, bytes]:
        self.note("apply")
        return {3: b"c", 1: b"a"}

    def total_blocks(self) -> int:
        return 900

    def check(self) -> None:
        self.note("check")

    def contents(self, disk: Path | None = None) -> ImageContents:
        return ImageContents()

    def notes(self) -> tuple[str, ...]:
        return ("less exact",)

    def verify(
        self, snapshot_id: SnapshotId, *, parent: SnapshotId, blocks: Collection[int]
    ) -> None:
        self.note(f"verify {sorted(blocks)} of {snapshot_id} on {parent}")


def bake_in(world: World, request: BakeRequest = REQUEST) -> Baked:
    kitchen = Kitchen(images=world, snapshots=world, workshop=world)
    return bake(request, kitchen=kitchen, progress=lambda _: None)


def test_a_bake_closes_the_room_before_it_uploads() -> None:
    world = World()

    baked = bake_in(world)

    assert (baked.blocks_uploaded, baked.blocks_total, baked.reused) == (2, 900, False)
    assert world.log == [
        "download snap-base", "open /disk", "apt-get install nginx",
        "install hello", "clean", "check", "apply", "close", "upload [1, 3] on snap-base",
        "forget unfinished but snap-new", "verify [1, 3] of snap-new on snap-base",
        "register snap-new",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "step", ["apt-get install nginx", "install hello", "clean", "check", "apply"]
)
def test_a_bake_leaves_nothing_behind_when_a_step_fails(step: str) -> None:
    world = World(breaks_on=step)

    with pytest.raises(CommandFailed):
        bake_in(world)

    assert world.log[-2:] == [step, "close"]
    assert world.made == []


def test_the_same_request_is_baked_once() -> None:
    world = World()

    first, again = bake_in(world), bake_in(world)

    assert (again.image, again.reused, again.blocks_total) == (first.image, True, 900)
    assert again.digest_sha256 == first.digest_sha256
    assert world.log.count("register snap-new") == 1


def test_a_fresh_bake_has_a_name_of_its_own() -> None:
    world = World()
    bake_in(world)

    again = bake_in(world, replace(REQUEST, fresh=True, release_id="hello-ccccccc-2"))

    assert len({image.name for image in world.made}) == 2
    assert not again.reused


def test_an_image_that_is_too_old_is_baked_anew_under_another_name() -> None:
    world = World()
    first = bake_in(world).image
    old = replace(REQUEST, release_id="hello-ccccccc-2")

    young = bake_in(world, replace(old, not_before=first.created_at))
    again = bake_in(world, replace(old, not_before=first.created_at + timedelta(seconds=1)))

    assert (young.image, young.reused, again.reused) == (first, True, False)
    assert again.image.name != first.name


def test_a_missing_base_image_is_said_before_anything_is_done() -> None:
    world = World()

    with pytest.raises(NotFound):
        bake_in(world, replace(REQUEST, base_image_id=ImageId("ami-none")))

    assert world.log == []


def test_the_key_covers_what_is_declared_and_nothing_else() -> None:
    key = bake_key(REQUEST, BASE)
    pin = replace(REQUEST.packages[0], digest_sha256="e")

    assert bake_key(replace(REQUEST, release_id="other"), BASE) == key
    assert bake_key(replace(REQUEST, packages=(pin,)), BASE) != key
    assert bake_key(replace(REQUEST, recipe=()), BASE) != key
    assert bake_key(REQUEST, replace(BASE, root_snapshot_id=SnapshotId("snap-2"))) != key
