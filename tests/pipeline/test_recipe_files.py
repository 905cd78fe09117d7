"""Files that a recipe reads: looked at before anything is built, and in the identity of a bake."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.releases import Ending, Phase
from tests.pipeline.apps import MANIFEST, make_app
from tests.pipeline.conftest import Line
from tests.pipeline.worlds import World

BRINGS = "image:\n  base: debian-12\n  recipe:\n    - file: {{from: {name}, to: /etc/hello}}\n"


def line(place: Path, name: str) -> Line:
    manifest = MANIFEST.replace("image: {base: debian-12}\n", BRINGS.format(name=name))
    assert manifest != MANIFEST
    return Line(World(place / "state"), make_app(place / "app", manifest))


def test_a_recipe_reads_files_of_the_commit(tmp_path: Path) -> None:
    release = line(tmp_path, "hello.txt")
    with release.running() as engine:
        ending = release.run(engine, "v1.0.0")

    assert ending == Ending(phase=Phase.PROMOTED)
    assert "register 1.0.0" in release.world.look().log


def test_a_file_that_is_not_in_the_commit_ends_the_release_before_it_builds(tmp_path: Path) -> None:
    release = line(tmp_path, "gone.txt")
    with release.running() as engine, pytest.raises(InvalidRequest) as caught:
        release.run(engine, "v1.0.0")

    assert str(caught.value) == (
        "ovenbird.yaml:9: `image.recipe[0].file`: `gone.txt` is not in the commit"
    )
    assert "Commit it" in caught.value.hint
    assert release.world.look().log == []
