"""A builder's image is read back, and offered with its evidence, or with why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.domain.blocks import BLOCK_BYTES, checksum, disk_digest
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.contents import ImageContents, ImageFile
from ovenbird.domain.errors import (
    CloudError,
    CommandFailed,
    InvalidRequest,
    OvenbirdError,
    Throttled,
)
from ovenbird.domain.images import (
    DISK_TAG,
    NO_EVIDENCE_TAG,
    PROVENANCE_TAG,
    Baked,
    BakeStrategy,
    Image,
    ImageId,
    SnapshotId,
)
from ovenbird.domain.ports import Completing, Progress
from ovenbird.domain.provenance import Evidence, Origin
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen, Work
from ovenbird.system.rooms.image_contents import unpacked
from tests.evidence import Shelf
from tests.unit.domain.test_provenance import BASE
from tests.unit.stages.test_bake import REQUEST, World

FILE = ImageFile(path="/hello", mode=0o100644, uid=0, gid=0, size_bytes=1, digest_sha256="e")
REFUSED = CloudError("AWS refused it: AccessDeniedException: no", code="AccessDeniedException")
UNRELATED = CloudError("AWS refused it: ValidationException: no", code="ValidationException")
SAME, CHANGED, GROWN, EMPTY = (
    data.ljust(BLOCK_BYTES, b"\0") for data in (b"same", b"changed", b"grown", b"")
)
DIFFERENT = disk_digest({1: checksum(CHANGED), 2: checksum(GROWN)})
ALL = disk_digest({0: checksum(SAME), 1: checksum(CHANGED), 2: checksum(GROWN)})


class Builders:
    """Builder instances of a world; CreateImage makes ``snap-made``."""

    def __init__(self, world: Disks) -> None:
        self.world = world

    @contextmanager
    def open(
        self, base: Image, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[Builder]:
        self.world.note("launch")
        try:
            yield Builder(base, self.world)
        finally:
            self.world.log.append("terminate")

    def sweep(self, progress: Progress) -> None:
        self.world.note("sweep")


class Builder(World):
    """A builder instance; its world writes down what happens in it."""

    def __init__(self, base: Image, world: Disks) -> None:
        super().__init__()
        self.base, self.world = base, world

    def note(self, what: str) -> None:
        self.world.note(what)

    def make_image(self, *, name: str, tags: Mapping[str, str], complete: Completing) -> Image:
        self.note("create image")
        snapshot_id = SnapshotId("snap-made")
        image_id = ImageId("ami-made")
        made = replace(self.base, image_id=image_id, name=name, root_snapshot_id=snapshot_id)
        offered = replace(made, tags={**tags, **complete(made)})
        self.note("offer")
        self.world.made.append(offered)
        return offered


class Disks(World):
    """A world with the disks of a base and of what a builder made of it.

    Args:
        refuses: What is asked → what is raised then.
    """

    def __init__(self, place: Path, refuses: Mapping[str, OvenbirdError]) -> None:
        super().__init__()
        self.place, self.refuses = place, refuses
        (place / "snap-base").write_bytes(SAME + EMPTY)
        (place / "snap-made").write_bytes(SAME + CHANGED + GROWN + EMPTY)

    def note(self, what: str) -> None:
        super().note(what)
        if what in self.refuses:
            raise self.refuses[what]

    def download(self, snapshot_id: SnapshotId, *, parent: SnapshotId | None = None) -> Path:
        super().download(snapshot_id, parent=parent)
        return self.place / snapshot_id

    def changed(self, first: SnapshotId, second: SnapshotId) -> frozenset[int]:
        self.note(f"compare {first} {second}")
        return frozenset({0, 1, 2, 3})  # EBS lists what was written, also with the same bytes

    def contents(self, disk: Path | None = None) -> ImageContents:
        assert disk == self.place / "snap-made"
        self.note("read")
        return ImageContents(files=(FILE,))


class NotedShelf(Shelf):
    """Notes when evidence is kept."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def keep(self, evidence: Evidence) -> None:
        self.world.note("keep")
        super().keep(evidence)


def bake_in(world: Disks, shelf: Shelf | None) -> Baked:
    kitchen = Kitchen(
        images=world, snapshots=world, workshop=world, builders=Builders(world), evidence=shelf
    )
    request = replace(REQUEST, strategy=BakeStrategy.INSTANCE)
    return bake(request, kitchen=kitchen, progress=lambda _: None)


def origin_of(shelf: Shelf) -> Origin:
    ((_, evidence),) = shelf.kept.items()
    return Origin.parse(evidence.statement)


def test_a_builders_image_is_read_back_and_its_evidence_kept_before_it_is_offered(
    tmp_path: Path,
) -> None:
    world = Disks(tmp_path, {})
    shelf = NotedShelf(world)

    baked = bake_in(world, shelf)

    ((place, evidence),) = shelf.kept.items()
    assert world.log == [
        "sweep", "launch", "apt-get install nginx", "install hello", "clean", "check",
        "create image", "download snap-base", "download snap-made on snap-base",
        "compare snap-base snap-made", "read", "keep", "offer", "terminate",
    ]  # fmt: skip
    assert place == (baked.image.bake_key, baked.image.tags[PROVENANCE_TAG])
    assert unpacked(evidence.files) == (FILE,)
    assert baked.digest_sha256 == baked.image.tags[DISK_TAG] == DIFFERENT
    assert (origin_of(shelf).disk_sha256, origin_of(shelf).is_whole) == (DIFFERENT, False)
    assert (baked.notes, "evidence" in baked.seconds) == ((), True)


def test_a_phase_within_another_is_not_counted_twice(tmp_path: Path) -> None:
    world = Disks(tmp_path, {})
    kitchen = Kitchen(images=world, snapshots=world, workshop=world)
    work = Work(request=REQUEST, base=BASE, key="k", kitchen=kitchen, progress=world.log.append)

    with work.timed("create image"):
        work.seconds["evidence"] = 60.0  # as a phase inside has taken it down

    assert work.seconds == {"evidence": 60.0, "create image": 0.0}


@pytest.mark.parametrize(
    ("asked", "digest", "is_whole"),
    [("compare snap-base snap-made", DIFFERENT, False), ("download snap-base", ALL, True)],
)
def test_what_ebs_does_not_tell_of_the_base_is_read_from_the_disks(
    tmp_path: Path, asked: str, digest: str, *, is_whole: bool
) -> None:
    shelf = Shelf()

    baked = bake_in(Disks(tmp_path, {asked: UNRELATED}), shelf)

    assert (origin_of(shelf).disk_sha256, origin_of(shelf).is_whole) == (digest, is_whole)
    assert (baked.digest_sha256, baked.notes) == (digest, ())


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("download snap-made on snap-base", REFUSED),
        ("read", InvalidRequest("The root partition of `snap-made` holds LVM")),
        ("read", CommandFailed("`mount` exited with status 32")),
    ],
)
def test_an_image_that_cannot_be_read_says_why_it_has_no_evidence(
    tmp_path: Path, asked: str, error: OvenbirdError
) -> None:
    world, shelf = Disks(tmp_path, {asked: error}), Shelf()

    baked, again = bake_in(world, shelf), bake_in(world, shelf)

    tags = baked.image.tags
    assert (tags[NO_EVIDENCE_TAG], PROVENANCE_TAG in tags) == (str(error), False)
    assert baked.notes == (f"There is no evidence of `{baked.image.name}`: {error}",)
    assert (again.image, again.reused, again.notes) == (baked.image, True, baked.notes)
    assert shelf.kept == {}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("download snap-base", Throttled("later", code="RequestLimitExceeded")),
        ("download snap-made on snap-base", CloudError("the connection was lost")),
        ("compare snap-base snap-made", CloudError("the connection was lost")),
        ("keep", CommandFailed("The key's agent is gone")),
    ],
)
def test_no_image_is_offered_when_its_evidence_fails_by_chance(
    tmp_path: Path, asked: str, error: OvenbirdError
) -> None:
    world = Disks(tmp_path, {asked: error})

    with pytest.raises(type(error), match=str(error)):
        bake_in(world, NotedShelf(world))

    assert world.log[-2:] == [asked, "terminate"]
    assert world.made == []


def test_nothing_is_read_where_nothing_is_kept(tmp_path: Path) -> None:
    world = Disks(tmp_path, {})

    baked = bake_in(world, None)

    assert world.log[-3:] == ["create image", "offer", "terminate"]
    assert (baked.digest_sha256, baked.notes) == ("", ())
