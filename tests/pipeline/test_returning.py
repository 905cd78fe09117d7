"""`ovenbird cluster rollback --to`: a version, a number, a group; also one that is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, here
from tests.pipeline.worlds import World


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """A directory of a world in which 1.1.0 serves and 1.0.0 rests."""
    line = Line(World(tmp_path_factory.mktemp("past") / "state"), apps["hello"])
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
    return line.world.directory


@pytest.fixture
def served(line: Line, past: Path) -> Line:
    """A world of its own with that past."""
    shutil.copytree(past, line.world.directory, dirs_exist_ok=True)
    return line


def back(line: Line, *words: str) -> Said:
    return here(line.world, "cluster", "rollback", "hello-prod", *words)


def weights(line: Line) -> dict[str, int]:
    groups = line.world.look().groups
    return {name[-4:]: group.weight for name, group in groups.items() if "prod" in name}


@pytest.mark.parametrize("to", ["1.0.0", "v001", "hello-prod-v001"])
def test_a_version_that_rests_gets_the_traffic(served: Line, to: str) -> None:
    said = back(served, "--to", to, "--yes")

    assert said.status == 0, said.err
    assert weights(served) == {"v001": 100, "v002": 0}


@pytest.mark.parametrize("to", ["1.0.0", "v001", "hello-prod-v001"])
def test_a_version_whose_group_is_gone_is_launched_again(served: Line, to: str) -> None:
    with served.world.state() as state:
        del state.groups["hello-prod-v001"]

    dry = back(served, "--to", to, "--dry-run")
    assert dry.status == 0, dry.err
    assert "its group is gone; ami-0 is launched again" in dry.out
    assert weights(served) == {"v002": 100}

    said = back(served, "--to", to, "--yes")

    assert said.status == 0, said.err
    assert weights(served) == {"v002": 0, "v003": 100}
    assert served.world.look().groups["hello-prod-v003"].version == "1.0.0"


def test_one_that_does_not_get_healthy_leaves_all_as_it_is(served: Line) -> None:
    with served.world.state() as state:
        del state.groups["hello-prod-v001"]
        state.breaks_on = "weights hello-prod-v003 100"

    said = back(served, "--to", "1.0.0", "--yes")

    assert said.status != 0
    assert weights(served) == {"v002": 100}


def test_what_nobody_knows_is_said(served: Line) -> None:
    assert back(served, "--to", "9.9.9", "--yes").status == 3
    said = back(served, "--to", "v077", "--yes")
    assert (said.status, "records do not know its version" in said.err) == (3, True)
