"""The boot check told as a story: who is booted, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ovenbird.domain.boot_checks import BootReport, Probe, Round
from ovenbird.domain.errors import Conflict, InvalidRequest, Unhealthy
from ovenbird.domain.images import BootCheck, Image, ImageId, SnapshotId
from ovenbird.domain.ports import Progress
from ovenbird.domain.provenance import has_passed
from ovenbird.stages.bake import bake
from ovenbird.stages.boot_check import Proving, boot_check
from ovenbird.stages.kitchen import Kitchen
from tests.evidence import Shelf
from tests.unit.stages.test_bake import REQUEST
from tests.unit.stages.test_bake import World as BakeWorld

PROBE = Probe(port=80, path="/healthz")
GOOD = BootReport(
    engine="container", status=200, seconds=3.0,
    last=Round(number=3, state="running", failed=(), restarted=()),
)  # fmt: skip
BAD = replace(
    GOOD, console="boom",
    last=Round(number=3, state="degraded", failed=("web.service",), restarted=()),
)  # fmt: skip


class World(BakeWorld):
    """A world that lists what it made, and keeps tags by image."""

    def list_baked(self, app: str | None = None, *, disabled: bool = False) -> tuple[Image, ...]:
        return tuple(self.made)

    def register(
        self, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
    ) -> Image:
        if self.find_by_name(name):
            raise Conflict(f"`{name}` is taken")
        return super().register(name=name, base=base, snapshot_id=snapshot_id, tags=tags)

    def download(self, snapshot_id: SnapshotId, *, parent: SnapshotId | None = None) -> Path:
        self.note(f"download {snapshot_id} on {parent}")
        return Path("/disk")

    def write_tags(self, image_id: ImageId, tags: Mapping[str, str]) -> None:
        self.note(f"tag {image_id} {' '.join(tags.values())}")
        self.made = [
            replace(one, tags={**one.tags, **tags}) if one.image_id == image_id else one
            for one in self.made
        ]

    def find_baked(self, bake_key: str) -> Image | None:
        fit = [one for one in self.made if one.bake_key == bake_key and not one.is_unfit]
        return fit[0] if fit else None


@dataclass
class Guests:
    """Boots nothing; what comes of it is given."""

    report: BootReport = GOOD
    cannot: str = ""
    booted: list[str] = field(default_factory=list)
    engine: str = "container"

    def missing(self, image: Image) -> str:
        return self.cannot

    def boot(self, image: Image, disk: Path, *, probe: Probe, progress: Progress) -> BootReport:
        self.booted.append(f"{image.image_id} {disk} {probe.path}")
        return self.report


@dataclass
class Line:
    """A world with an image that was just baked."""

    world: World = field(default_factory=World)
    guests: Guests = field(default_factory=Guests)
    shelf: Shelf = field(default_factory=Shelf)
    said: list[str] = field(default_factory=list)

    def bake(self, release_id: str = "hello-ccccccc-1", *, fresh: bool = False) -> Image:
        request = replace(REQUEST, release_id=release_id, fresh=fresh)
        kitchen = Kitchen(images=self.world, snapshots=self.world, workshop=self.world)
        return bake(request, kitchen=kitchen, progress=lambda _: None).image

    def check(self, image: Image, policy: BootCheck = BootCheck.ALWAYS) -> Image:
        proving = Proving(
            images=self.world,
            tags=self.world,
            snapshots=self.world,
            boots=self.guests,
            evidence=self.shelf,
        )
        return boot_check(
            image, policy=policy, probe=PROBE, proving=proving, progress=self.said.append
        )


def test_an_image_that_boots_is_tagged_and_its_result_is_kept() -> None:
    line = Line()
    image = line.bake()
    line.world.log.clear()

    found = line.check(image)

    assert line.guests.booted == ["ami-0 /disk /healthz"]
    assert line.world.log == ["download snap-new on snap-base", "tag ami-0 passed"]
    assert found.tags["ovenbird:boot-check"] == "passed"
    assert has_passed(line.shelf.boots[image.image_id], image)
    assert line.said[-1] == "Booted in 3 s (container): no unit failed, `/healthz` answers"


def test_an_image_that_does_not_boot_is_offered_to_nobody() -> None:
    line = Line(guests=Guests(report=BAD))
    image = line.bake()

    with pytest.raises(Unhealthy, match=r"`web\.service` failed") as caught:
        line.check(image)

    assert caught.value.facts == {"image_id": "ami-0", "stderr": "boom"}
    assert not has_passed(line.shelf.boots[image.image_id], image)
    assert line.world.made[0].is_unfit


def test_the_same_request_is_baked_again_under_a_name_of_its_own() -> None:
    line = Line(guests=Guests(report=BAD))
    first = line.bake()
    with pytest.raises(Unhealthy):
        line.check(first)

    again = line.bake("hello-ccccccc-2")
    third = line.bake("hello-ccccccc-3")

    assert again.image_id == third.image_id != first.image_id
    assert again.name.startswith(f"{first.name}-")


def test_the_first_image_of_a_base_is_booted_and_the_next_is_not() -> None:
    line = Line()
    line.check(line.bake(), BootCheck.FIRST)
    line.check(line.bake("hello-ccccccc-2", fresh=True), BootCheck.FIRST)

    assert len(line.guests.booted) == 1
    assert line.said[-1] == "An image of this base has booted before: not booted again"


def test_no_image_is_booted_when_the_check_is_off() -> None:
    line = Line()
    image = line.bake()

    assert line.check(image, BootCheck.OFF) == image
    assert line.guests.booted == []
    assert line.said[-1] == "Not booted: `image.boot_check` is off"


def test_where_nothing_can_be_booted_the_first_image_is_offered_and_it_is_said() -> None:
    line = Line(guests=Guests(cannot="containers are booted by root only"))
    image = line.bake()

    assert line.check(image, BootCheck.FIRST) == image
    assert line.said == ["Not booted: containers are booted by root only"]
    with pytest.raises(InvalidRequest, match="cannot be booted: containers are booted by root"):
        line.check(image)
    assert line.guests.booted == []


def test_the_disk_of_a_base_that_is_not_ours_is_not_read() -> None:
    line = Line()
    image = replace(line.bake(), owner_id="222222222222")
    line.world.log.clear()

    line.check(image)

    assert line.world.log[0] == "download snap-new on None"
