"""`ovenbird image outdated` and `image rebake` as a person uses them, on a world."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ovenbird.__main__ import program
from ovenbird.config.image_settings import RebakeSettings
from ovenbird.config.settings import Settings
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import BASE_NAME_TAG, COMMIT_TAG
from ovenbird.operations import rebaking
from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, WorldInstallation, here
from tests.pipeline.worlds import World

NEWER = "ami-newer"


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """The state of a world in which the app serves everywhere; to be copied."""
    world = World(tmp_path_factory.mktemp("promoted") / "state")
    start = ("release", "start", "--app", str(apps["hello"]), "--ref", "v1.0.0", "--yes", "--json")
    assert here(world, *start).data["phase"] == "promoted"
    return world.directory


@pytest.fixture
def released(promoted: Path, tmp_path: Path, apps: dict[str, Path]) -> Line:
    """A line whose app serves everywhere."""
    shutil.copytree(promoted, tmp_path / "state")
    return Line(World(tmp_path / "state"), apps["hello"])


def renew(world: World) -> None:
    """Let the base image have a newer version."""
    with world.state() as state:
        state.newer_base = NEWER


def image(world: World, *words: str) -> Said:
    return here(world, "image", *words)


def standings(world: World) -> list[Any]:
    found: list[Any] = image(world, "outdated", "--json").data
    return found


def test_what_serves_is_up_to_date_until_its_base_has_a_newer_version(released: Line) -> None:
    (before,) = standings(released.world)
    renew(released.world)
    (after,) = standings(released.world)
    shown = image(released.world, "outdated")

    assert (before["is_outdated"], before["command"]) == (False, "")
    assert (before["serves_in"], before["base_name"]) == (["dev", "prod"], "debian-12")
    assert after["reasons"] == ["`debian-12` is ami-newer now, and it was baked on ami-base"]
    assert "ovenbird image rebake --app hello" in shown.err
    assert "dev, prod" in shown.out


def test_an_outdated_app_is_released_again_at_its_commit(released: Line) -> None:
    world = released.world
    renew(world)
    dry = image(world, "rebake", "--outdated", "--dry-run")
    images_before = len(world.look().images)

    done = image(world, "rebake", "--outdated", "--yes", "--json").data

    assert dry.out.startswith("Release hello at commit ")
    assert images_before == 1
    first, second = world.look().images
    assert first.tags[COMMIT_TAG] == second.tags[COMMIT_TAG]
    assert done["done"][0]["error"] == ""
    assert {group.image_id for group in world.look().groups.values() if group.enabled} == {
        second.image_id
    }
    assert standings(world)[0]["is_outdated"] is False
    assert "Nothing is to be baked anew" in image(world, "rebake", "--outdated", "--yes").err


def test_an_image_that_serves_nowhere_is_only_baked(line: Line) -> None:
    world = line.world
    image(world, "bake", "--app", str(line.app), "--ref", "v1.0.0", "--yes")
    renew(world)

    image(world, "rebake", "--outdated", "--yes")

    assert (len(world.look().images), world.look().groups) == (2, {})


def test_an_app_that_is_named_is_baked_anew_in_any_case(released: Line) -> None:
    done = image(released.world, "rebake", "--app", "hello", "--yes", "--json").data

    assert (done["rebakes"][0]["fresh"], done["rebakes"][0]["reason"]) == (True, "it was asked for")
    assert len(released.world.look().images) == 2
    assert image(released.world, "rebake", "--app", "nobody", "--yes").status == 3


def test_when_different_commits_serve_a_person_decides(released: Line) -> None:
    world = released.world
    renew(world)
    with world.state() as state:
        other = replace(state.images[0], image_id="ami-other")  # type: ignore[arg-type]
        state.images.append(replace(other, tags={**other.tags, COMMIT_TAG: "f" * 40}))
        name = next(name for name, one in state.groups.items() if "dev" in name)
        state.groups[name] = replace(state.groups[name], image_id=other.image_id)

    said = image(world, "rebake", "--outdated", "--dry-run")

    assert said.out.startswith("Not hello: different commits serve (")


def test_what_is_not_known_is_said_and_not_baked(released: Line) -> None:
    world = released.world
    with world.state() as state:
        tags = {**state.images[0].tags, BASE_NAME_TAG: "gone"}
        state.images[0] = replace(state.images[0], tags=tags)

    assert "not known: `gone` is no longer in the settings" in image(world, "outdated").out
    assert image(world, "rebake", "--outdated", "--dry-run").out == "Nothing is to be baked anew\n"


def test_something_must_be_named(line: Line) -> None:
    assert image(line.world, "rebake").status == 2
    assert image(line.world, "rebake", "--outdated", "--app", "hello").status == 2


class Scheduling(WorldInstallation):
    """An installation that bakes anew each day."""

    @cached_property
    def settings(self) -> Settings:
        return super().settings.model_copy(update={"rebake": RebakeSettings(every_h=24)})


def test_a_schedule_is_due_once_in_its_time(released: Line) -> None:
    def timer() -> str:
        words = ("image", "rebake", "--scheduled")
        made = CliRunner().invoke(program, words, obj=lambda _: Scheduling(released.world))
        assert made.exit_code == 0, made.output
        return made.stderr

    first, second = timer(), timer()
    with Scheduling(released.world) as installation:
        now, due_at = installation.ports.clock.now(), rebaking.due_at(installation)

    assert first == "Nothing is to be baked anew\n"
    assert second.startswith("Not due before ")
    assert due_at is not None
    assert timedelta(hours=23) < due_at - now < timedelta(hours=25)


def test_a_timer_without_a_schedule_is_told(line: Line) -> None:
    said = image(line.world, "rebake", "--scheduled")

    assert (said.status, InvalidRequest.exit_status) == (2, 2)
    assert "rebake: {every_h: 24}" in said.err
