"""An app of several packages through a release: published, recorded, offered; nothing twice."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from ovenbird.domain.releases import Phase
from tests.pipeline.apps import MANIFEST, make_app
from tests.pipeline.conftest import Line
from tests.pipeline.installation import here
from tests.pipeline.processes import Begun
from tests.pipeline.worker import main
from tests.pipeline.worlds import World

WORKER = """\
packages:
  hello-worker:
    formats: [deb, rpm]
    contents: [{from: hello.txt, to: /opt/hello-worker/hello.txt}]
    depends: [hello]
"""
BOTH = [("hello", "deb"), ("hello-worker", "deb"), ("hello-worker", "rpm")]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app of two packages."""
    dev_only = MANIFEST.partition("  prod:")[0]
    return make_app(tmp_path_factory.mktemp("both") / "hello", dev_only + WORKER)


@pytest.fixture
def pair(tmp_path: Path, both: Path) -> Line:
    return Line(World(tmp_path / "state"), both)


def listed(world: World, *words: str) -> list[tuple[str, str]]:
    """Return names and formats of what the catalog has."""
    found = here(world, "catalog", "list", *words, "--json").data
    packages = [one["package"] for one in found]
    return sorted((one["name"], one["format"]) for one in packages)


def recorded(world: World) -> list[tuple[str, str]]:
    """Return names and formats of what the repository itself has records of."""
    found = world.look().records
    return sorted((one.package.name, one.package.format.value) for one in found)


def test_all_packages_are_published_installed_recorded_and_offered(pair: Line) -> None:
    with pair.running() as engine:
        ending = pair.run(engine, "v1.0.0")
    shown = here(pair.world, "catalog", "show", "hello", "--json").data
    found = here(pair.world, "catalog", "search", "/opt/hello-worker/*", "--json").data

    assert ending.phase is Phase.PROMOTED
    assert pair.world.look().log[:3] == [
        "publish 1.0.0 to candidate", "install hello 1.0.0, hello-worker 1.0.0", "register 1.0.0",
    ]  # fmt: skip
    assert listed(pair.world) == recorded(pair.world) == BOTH
    assert listed(pair.world, "--channel", "release") == BOTH
    assert [(one["package"]["name"], len(one["images"])) for one in shown] == [
        ("hello", 1), ("hello-worker", 1), ("hello-worker", 0),
    ]  # fmt: skip
    assert {one["entry"]["package"]["name"] for one in found} == {"hello-worker"}
    assert here(pair.world, "catalog", "verify").status == 0


@pytest.mark.chaos
@pytest.mark.parametrize("name", ["hello", "hello-worker"])
def test_killed_between_a_publication_and_its_records_nothing_is_lost(
    pair: Line, name: str
) -> None:
    status, _ = work(pair, WORLD_DIES_BEFORE_RECORD=name)
    between = pair.world.look()
    again, said = work(pair)

    after = pair.world.look()
    assert status == -signal.SIGKILL
    assert [len(states) for states in between.channels.values()] == [1]
    assert len(between.records) == (0 if name == "hello" else 1)
    assert (again, said["phase"], len(said["adopted"])) == (0, "promoted", 1)
    assert [len(states) for states in after.channels.values()] == [1, 1]
    assert listed(pair.world) == recorded(pair.world) == BOTH
    assert after.log.count("register 1.0.0") == 1


def test_what_another_machine_published_comes_into_the_records(pair: Line, tmp_path: Path) -> None:
    with pair.running() as engine:
        pair.run(engine, "v1.0.0")
    other = World(tmp_path / "other")
    shutil.copy(pair.world.directory / "world.json", other.directory)

    before = here(other, "catalog", "verify")
    new = here(other, "catalog", "sync", "--json").data
    again = here(other, "catalog", "sync", "--json").data
    shown = here(other, "catalog", "show", "hello").out

    assert (before.status, "`ovenbird catalog sync`" in before.out) == (1, True)
    assert sorted((one["package"]["name"], one["package"]["format"]) for one in new) == BOTH
    assert again == []
    assert listed(other) == listed(other, "--channel", "release") == BOTH
    assert "channel  candidate-1 of main" in shown
    assert "channel  release-1 of main" in shown
    assert here(other, "catalog", "verify").status == 0


def test_what_another_machine_published_is_not_built_again(pair: Line, tmp_path: Path) -> None:
    with pair.running() as engine:
        pair.run(engine, "v1.0.0")
    other = Line(World(tmp_path / "other"), pair.app)
    shutil.copy(pair.world.directory / "world.json", other.world.directory)
    with other.world.state() as state:
        state.images.clear()
        state.groups.clear()
        state.log.clear()

    with other.running() as engine:
        ending = other.run(engine, "v1.0.0")
    facts = here(other.world, "catalog", "show", "hello", "--files").out

    assert ending.phase is Phase.PROMOTED
    assert not (other.world.directory / "outbox").exists()  # nothing was built
    assert "install hello 1.0.0, hello-worker 1.0.0" in other.world.look().log
    assert [len(states) for states in other.world.look().channels.values()] == [1, 1]
    assert listed(other.world) == BOTH
    assert "/opt/hello/hello.txt" in facts


def work(line: Line, **variables: str) -> tuple[int, Any]:
    """Run a worker in a process of its own; return its status, and what it said."""
    worker = Begun(main, str(line.world.directory), str(line.app), "v1.0.0", **variables)
    out, err = worker.communicate(timeout=120)
    assert worker.returncode in {0, -signal.SIGKILL}, err
    return worker.returncode, json.loads(out or "null")
