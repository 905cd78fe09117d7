"""Killed before and after the work of each step in turn: the next run completes it."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import Line
from tests.pipeline.processes import Begun
from tests.pipeline.test_step_names import CANARY, RETREAT
from tests.pipeline.worker import main
from tests.pipeline.worlds import State, World

pytestmark = pytest.mark.chaos


def work(line: Line, ref: str, **die: str) -> tuple[int, dict[str, Any]]:
    """Run a worker; return its status, and what it said if it lived."""
    environment = {f"OVENBIRD_DIE_{when}": name for when, name in die.items()}
    worker = Begun(main, str(line.world.directory), str(line.app), ref, **environment)
    out, err = worker.communicate(timeout=120)
    assert worker.returncode in {0, -signal.SIGKILL}, err
    return worker.returncode, json.loads(out) if worker.returncode == 0 else {}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """A state directory in which 1.0.0 serves, to be copied."""
    line = Line(World(tmp_path_factory.mktemp("served") / "state"), apps["hello"])
    assert work(line, "v1.0.0")[1]["phase"] == "promoted"
    return line.world.directory


@pytest.fixture
def second(line: Line, served: Path) -> Line:
    """A line of its own on which 1.0.0 serves."""
    shutil.copytree(served, line.world.directory, dirs_exist_ok=True)
    return line


def once(state: State) -> None:
    """What exists exists once."""
    made = [what for what in state.log if what.startswith(("create ", "register "))]
    assert [what for what, times in Counter(made).items() if times > 1] == []
    assert len({image.name for image in state.images}) == len(state.images)


def killed_after_each(line: Line, ref: str, names: list[str]) -> None:
    """Let worker after worker take the release over, each to be killed after one step's work."""
    for name in names:
        status, _ = work(line, ref, AFTER=name)
        assert (name, status) == (name, -signal.SIGKILL)


def test_a_release_killed_after_each_step_in_turn_is_completed(second: Line) -> None:
    killed_after_each(second, "v1.1.0", list(dict.fromkeys(CANARY)))

    status, said = work(second, "v1.1.0")

    state = second.world.look()
    assert (status, said["phase"]) == (0, "promoted")
    assert said["adopted"] != []
    once(state)
    weights = {name: group.weight for name, group in state.groups.items() if "prod" in name}
    assert weights == {"hello-prod-v001": 0, "hello-prod-v002": 100}


def test_a_retreat_killed_after_each_step_in_turn_is_completed(second: Line) -> None:
    with second.world.state() as state:
        state.bad.append("1.2.0")
    killed_after_each(second, "v1.2.0", RETREAT)

    status, said = work(second, "v1.2.0")

    state = second.world.look()
    assert (status, said["phase"]) == (0, "rolled_back")
    once(state)
    prod = {name: group.weight for name, group in state.groups.items() if "prod" in name}
    assert prod == {"hello-prod-v001": 100}


@pytest.mark.parametrize("name", ["bake", "prod/create_server_group", "prod/set_weights"])
def test_a_release_killed_before_a_step_is_completed(second: Line, name: str) -> None:
    status, _ = work(second, "v1.1.0", BEFORE=name)
    assert status == -signal.SIGKILL

    status, said = work(second, "v1.1.0")

    assert (status, said["phase"]) == (0, "promoted")
    once(second.world.look())
