"""`ovenbird image share` and `image unshare` as a person uses them, on a world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.domain.images import (
    APP_TAG,
    BAKE_KEY_TAG,
    BOOT_CHECK_TAG,
    UNFIT,
    VERSION_TAG,
    ImageId,
)
from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, here
from tests.pipeline.worlds import BASE, PROD, World

TAGS = {APP_TAG: "hello", VERSION_TAG: "1.0.0", BAKE_KEY_TAG: "k"}
IMAGE = replace(BASE, image_id=ImageId("ami-0123"), name="hello-1.0.0", tags=TAGS)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "state")
    with world.state() as state:
        state.images.append(IMAGE)
    return world


def share(world: World, *words: str, verb: str = "share") -> Said:
    return here(world, "image", verb, "hello-1.0.0", *words)


def test_a_dry_run_says_what_is_missing_and_changes_nothing(world: World) -> None:
    said = share(world, "--environment", "prod", "--dry-run")

    assert said.status == 0, said.err
    assert said.out.splitlines() == [
        "Share ami-0123: hello-1.0.0",
        f"  Let {PROD} read the snapshot of `hello-1.0.0` in eu-west-1",
        f"  Let account {PROD} launch `hello-1.0.0` in eu-west-1",
        "  Write the tags of `hello-1.0.0` in `prod`",
    ]
    assert world.look().log == []
    data = share(world, "--environment", "prod", "--dry-run", "--json").data
    assert ([one["kind"] for one in data["changes"]], data["images"]) == (
        ["AllowVolumes", "AllowLaunch", "WriteTags"], {},
    )  # fmt: skip


def test_an_image_is_shared_once_and_taken_back(world: World) -> None:
    first = share(world, "--environment", "prod", "--yes")
    again = share(world, "--environment", "prod", "--json").data

    assert first.status == 0, first.err
    assert first.out == "prod  ami-0123  hello-1.0.0\n"
    assert (again["changes"], again["images"]) == ([], {"prod": "ami-0123"})
    assert world.look().log == [f"share 1.0.0 with {PROD}"]

    back = share(world, "--environment", "prod", "--yes", "--json", verb="unshare").data
    nothing = share(world, "--environment", "prod", verb="unshare")

    assert [one["environments"] for one in back["taken_back"]] == [["prod"]]
    assert world.look().log[1:] == [f"share 1.0.0 no more with {PROD}"]
    assert "None of these may use it" in nothing.err


def test_what_is_used_there_stays_shared(world: World) -> None:
    share(world, "--environment", "prod", "--yes")
    with world.state() as state:
        state.uses[IMAGE.image_id] = "instance i-1 in prod"

    said = share(world, "--environment", "prod", "--yes", verb="unshare")

    assert said.status == 4
    assert "is used in `prod`: instance i-1 in prod" in said.err
    assert world.look().shared == ["ami-0123"]


def test_others_are_named_as_what_they_are(world: World) -> None:
    wrong = share(world, "--account", "prod", "--dry-run")
    arn = "arn:aws:organizations::111111111111:organization/o-1"
    unit = "arn:aws:organizations::111111111111:ou/o-1/ou-1-2"
    right = share(world, "--organization", arn, "--unit", unit, "--dry-run")
    nobody = share(world, "--dry-run")

    assert (wrong.status, "`prod` is no account" in wrong.err) == (2, True)
    assert right.out.splitlines()[1] == (
        f"  Let organization {arn}, unit {unit} launch `hello-1.0.0` in eu-west-1"
    )
    assert (nobody.status, "Nobody is named" in nobody.err) == (2, True)
    unknown = share(world, "--account", "333333333333", "--dry-run", verb="unshare")
    assert "Whether account 333333333333 uses it is not known" in unknown.out


def test_a_release_whose_image_could_not_be_shared_is_refused_before_it_is_baked(
    line: Line,
) -> None:
    with line.world.state() as state:
        state.key = "arn:aws:kms:eu-west-1:111111111111:key/managed"
    start = ("release", "start", "--app", str(line.app), "--ref", "v1.0.0")

    dry = here(line.world, *start, "--dry-run")
    said = here(line.world, *start, "--yes")

    assert (dry.status, said.status) == (2, 2)
    assert "cannot be shared with account 222222222222" in said.err
    assert "images: {kms_key: alias/NAME}" in said.err
    assert (line.world.look().log, line.world.look().images) == ([], [])


def test_an_image_that_nobody_else_gets_may_be_encrypted_by_any_key(line: Line) -> None:
    with line.world.state() as state:
        state.key = "arn:aws:kms:eu-west-1:111111111111:key/managed"

    said = here(line.world, "image", "bake", "--app", str(line.app), "--ref", "v1.0.0", "--yes")

    assert said.status == 0, said.err
    assert len(line.world.look().images) == 1


def test_an_image_that_failed_its_boot_check_is_shared_with_nobody(world: World) -> None:
    with world.state() as state:
        state.images[0] = replace(IMAGE, tags={**TAGS, BOOT_CHECK_TAG: UNFIT})

    said = share(world, "--environment", "prod", "--yes")

    assert said.status == 2
    assert "failed its boot check" in said.err
    assert world.look().log == []
