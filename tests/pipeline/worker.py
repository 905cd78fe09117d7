"""A worker in a process of its own, to be killed: starts a release, or goes on with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ovenbird.domain.errors import OvenbirdError
from tests.pipeline.conftest import Line
from tests.pipeline.worlds import World


def main(directory: str, app: str, ref: str) -> None:
    line = Line(World(Path(directory)), Path(app))
    with line.running() as engine:
        request = line.request(ref)
        engine.adopt()
        if not engine.knows(request.release_id):
            line.begin(engine, request)
        try:
            phase = engine.result(request.release_id).phase
        except OvenbirdError as error:
            phase = type(error).__name__
        sys.stdout.write(json.dumps({"phase": phase, "adopted": sorted(engine.adopted)}))
