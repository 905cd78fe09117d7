"""`ovenbird image bake` and `ovenbird image prune` as a person uses them, on a world."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import CloudError
from ovenbird.domain.image_retention import ImageUse
from ovenbird.domain.images import APP_TAG, BAKE_KEY_TAG, DISABLED, VERSION_TAG, Image, ImageId
from ovenbird.system.clock import SystemClock
from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, here
from tests.pipeline.worlds import BASE, World

now = SystemClock().now


def bake(line: Line, ref: str, *words: str) -> Said:
    return here(line.world, "image", "bake", "--app", str(line.app), "--ref", ref, *words)


def test_an_image_is_baked_and_nothing_is_rolled_out(line: Line) -> None:
    said = bake(line, "v1.0.0", "--timings", "--yes")

    assert said.status == 0, said.err
    assert said.out.splitlines()[0].split() == ["phase", "took"]
    assert {"download", "recipe", "install", "upload"} <= {
        row.split()[0] for row in said.out.splitlines()
    }
    assert said.out.splitlines()[-1].endswith("baked  1.0.0  ami-0")
    assert (len(line.world.look().images), line.world.look().groups) == (1, {})


def test_a_release_uses_the_image_that_was_baked_before(line: Line) -> None:
    first = bake(line, "v1.0.0", "--json", "--yes").data
    again = bake(line, "v1.0.0", "--json", "--yes").data
    start = ("release", "start", "--app", str(line.app), "--ref", "v1.0.0", "--yes", "--json")
    released = here(line.world, *start).data

    assert (first["phase"], first["image_id"], min(first["timings"])) == (
        "baked", "ami-0", "apply",
    )  # fmt: skip
    assert (again["image_id"], again["timings"]) == ("ami-0", {})
    assert (released["phase"], released["image_id"]) == ("promoted", "ami-0")


def test_a_dry_run_says_what_would_be_baked(line: Line) -> None:
    said = bake(line, "v1.0.0", "--dry-run", "--json")

    assert (said.data["base_id"], said.data["strategy"], said.data["image_id"]) == (
        "ami-base", "direct", "",
    )  # fmt: skip
    assert line.world.look().images == []
    assert "  strategy direct" in bake(line, "v1.0.0", "--dry-run").out


@pytest.fixture
def old(tmp_path: Path) -> World:
    """A world with twelve images, one made each ten days; the oldest is number 0."""
    world = World(tmp_path / "state")
    with world.state() as state:
        state.images += [image(number) for number in range(12)]
    return world


def image(number: int) -> Image:
    tags = {APP_TAG: "hello", VERSION_TAG: f"1.{number}", BAKE_KEY_TAG: f"{number:064}"}
    return replace(
        BASE,
        image_id=ImageId(f"ami-{number}"),
        name=f"hello-1.{number}",
        created_at=now() - timedelta(days=10 * (12 - number)),
        tags=tags,
    )


def age(world: World, days: float) -> None:
    """Let days pass, by making everything older."""
    with world.state() as state:
        state.images = [
            replace(
                one,
                created_at=one.created_at - timedelta(days=days),
                tags={
                    key: (
                        str(now() - timedelta(days=days)).replace(" ", "T")
                        if key.endswith("retired-at")
                        else value
                    )
                    for key, value in one.tags.items()
                },
            )
            for one in state.images
        ]


def prune(world: World, *words: str) -> Said:
    return here(world, "image", "prune", *words)


def test_images_that_nothing_uses_go_step_by_step(old: World) -> None:
    with old.state() as state:
        state.uses["ami-1"] = "it runs as i-1 in dev"

    first = prune(old, "--keep-last", "9", "--yes", "--json").data["images"]
    again = prune(old, "--keep-last", "9", "--yes", "--json").data["images"]
    age(old, 8)
    prune(old, "--keep-last", "9", "--yes")
    age(old, 31)
    said = prune(old, "--keep-last", "9", "--yes")

    assert {one["image_id"]: one["step"] for one in first if one["step"] != "stay"} == {
        "ami-0": "deprecate", "ami-2": "deprecate",
    }  # fmt: skip
    assert next(one["reason"] for one in first if one["image_id"] == "ami-1") == (
        "it runs as i-1 in dev"
    )
    assert {one["step"] for one in again} == {"stay"}
    assert old.look().log == [
        "deprecate 1.2", "deprecate 1.0", "disable 1.2", "disable 1.0", "remove 1.2",
        "remove 1.0",
    ]  # fmt: skip
    assert "Removed with their snapshots (2)" in said.out
    assert {one.image_id for one in old.look().images} == {
        f"ami-{number}" for number in range(12) if number not in {0, 2}
    }


def test_what_is_used_again_is_restored(old: World) -> None:
    prune(old, "--keep-last", "11", "--yes")
    age(old, 8)
    prune(old, "--keep-last", "11", "--yes")
    disabled = [one.image_id for one in old.look().images if one.state == DISABLED]
    with old.state() as state:
        state.uses["ami-0"] = "a template names it"

    said = prune(old, "--keep-last", "11", "--yes")

    assert disabled == ["ami-0"]
    assert "Restored (1)\n  ami-0  hello 1.0: a template names it" in said.out
    assert {one.state for one in old.look().images} == {"available"}


def test_a_dry_run_shows_all_and_changes_nothing(old: World) -> None:
    said = prune(old, "--keep-last", "9", "--dry-run")

    assert "Deprecated: they can still be launched (3)" in said.out
    assert "  ami-11  hello 1.11: it is the newest" in said.out
    assert old.look().log == []


def test_nothing_goes_without_a_word(old: World) -> None:
    said = prune(old, "--keep-last", "9")

    assert (said.status, old.look().log) == (2, [])
    assert "Add `--yes`" in said.err


def test_nothing_goes_when_an_account_cannot_be_asked(
    old: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: World) -> tuple[ImageUse, ...]:
        raise CloudError("AWS refused looking: AccessDenied")

    monkeypatch.setattr(World, "list_uses", refuse)

    said = prune(old, "--keep-last", "1", "--yes")

    assert (said.status, old.look().log) == (1, [])
    assert "AccessDenied" in said.err


def test_records_that_contradict_aws_stop_everything(line: Line) -> None:
    start = ("release", "start", "--app", str(line.app), "--ref", "v1.0.0", "--yes")
    assert here(line.world, *start).status == 0
    with line.world.state() as state:
        state.groups = {
            name: replace(group, image_id=ImageId("ami-other"))
            for name, group in state.groups.items()
        }

    said = prune(line.world, "--yes")

    assert said.status == 4
    assert "The records look wrong: `hello-dev` runs `ami-0`" in said.err
