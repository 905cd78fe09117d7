"""A bake keeps evidence of its image before EC2 knows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import BUILDER_TAG, DISK_TAG, PROVENANCE_TAG, Baked, BakeRequest
from ovenbird.domain.provenance import Origin, sha256
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from tests.evidence import Shelf
from tests.unit.stages.test_bake import REQUEST, World


def bake_in(world: World, shelf: Shelf, request: BakeRequest = REQUEST) -> Baked:
    kitchen = Kitchen(images=world, snapshots=world, workshop=world, evidence=shelf)
    return bake(request, kitchen=kitchen, progress=lambda _: None)


def test_the_tags_of_an_image_name_its_evidence() -> None:
    world, shelf = World(), Shelf()

    baked = bake_in(world, shelf)

    ((place, evidence),) = shelf.kept.items()
    origin = Origin.parse(evidence.statement)
    tags = baked.image.tags
    assert place == (baked.image.bake_key, tags[PROVENANCE_TAG])
    assert tags[PROVENANCE_TAG] == sha256(evidence.statement)
    assert origin.disk_sha256 == tags[DISK_TAG] == baked.digest_sha256
    assert set(origin.byproducts.values()) == {sha256(evidence.files), sha256(evidence.sbom)}
    assert (origin.commit, origin.packages) == (REQUEST.commit, {"hello": ("1.2.0", "d")})
    assert tags[BUILDER_TAG].startswith("ovenbird ")
    assert "evidence" in baked.seconds


def test_no_image_is_registered_whose_evidence_cannot_be_kept() -> None:
    world = World()

    with pytest.raises(CommandFailed, match="agent is gone"):
        bake_in(world, Shelf(breaks=True))

    assert world.made == []


def test_the_same_image_of_another_release_has_the_same_evidence() -> None:
    shelf = Shelf()
    first = bake_in(World(), shelf)
    again = bake_in(World(), shelf, replace(REQUEST, fresh=True, release_id="hello-ccccccc-2"))

    assert len(shelf.kept) == 1
    assert again.image.tags[PROVENANCE_TAG] == first.image.tags[PROVENANCE_TAG]
