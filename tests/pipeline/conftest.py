"""A world, an app and a running engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from ovenbird.domain.releases import Ending, Phase, Release, ReleaseRequest
from ovenbird.pipeline import changes, release, runtime  # noqa: F401 - workflows are found by name
from tests.pipeline.apps import APPROVAL, MANIFEST, MANUAL, PATIENT, make_app, request_for
from tests.pipeline.worlds import World


class Line:
    """A pipeline on a private database."""

    def __init__(self, world: World, app: Path) -> None:
        self.world, self.app = world, app

    @contextmanager
    def running(self) -> Iterator[runtime.Runtime]:
        ports = self.world.ports()
        try:
            with runtime.running(ports, state=self.world.directory) as engine:
                yield engine
        finally:
            ports.store.close()

    def request(self, ref: str, **fields: object) -> ReleaseRequest:
        wanted = request_for(self.app, ref, mirror=self.world.directory / "mirror")
        return replace(wanted, **fields)  # type: ignore[arg-type]

    def begin(self, engine: runtime.Runtime, request: ReleaseRequest) -> None:
        """Start a release as `release start` does."""
        engine.ports.store.put_release(self.record(request, engine.ports.clock.now()))
        release.start(request)

    def record(self, request: ReleaseRequest, now: datetime) -> Release:
        return Release(
            release_id=request.release_id, app=request.app, version="", ref=request.ref,
            commit=request.commit, phase=Phase.RUNNING, actor=request.actor, started_at=now,
        )  # fmt: skip

    def run(self, engine: runtime.Runtime, ref: str, **fields: object) -> Ending:
        request = self.request(ref, **fields)
        self.begin(engine, request)
        ending: Ending = engine.result(request.release_id)
        return ending


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("apps")
    return {
        "hello": make_app(home / "hello"),
        "asking": make_app(home / "asking", MANIFEST + APPROVAL),
        "patient": make_app(home / "patient", PATIENT),
        "manual": make_app(home / "manual", MANUAL),
    }


@pytest.fixture
def line(tmp_path: Path, apps: dict[str, Path]) -> Line:
    return Line(World(tmp_path / "state"), apps["hello"])


@pytest.fixture
def patient(tmp_path: Path, apps: dict[str, Path]) -> Line:
    return Line(World(tmp_path / "state"), apps["patient"])


@pytest.fixture
def asking(tmp_path: Path, apps: dict[str, Path]) -> Line:
    return Line(World(tmp_path / "state"), apps["asking"])


Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(line: Line) -> Wait:
    """Look until something is so."""

    def until(is_so: Callable[[], bool]) -> None:
        clock = line.world.ports().clock
        for _ in range(4800):  # four minutes: others may run beside
            if is_so():
                return
            clock.sleep(0.05)
        pytest.fail("it did not become so")

    return until
