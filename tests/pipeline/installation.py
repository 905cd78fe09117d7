"""An installation whose outside is a world, and the command line on it, here or in a process."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ovenbird.__main__ import main, program
from ovenbird.config.settings import EnvironmentSettings, RepositorySettings, Settings
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.ports import Repository
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.ports import Ports
from tests.pipeline.processes import Begun
from tests.pipeline.worlds import DEV, PROD, World

PRICES = {"t3.micro": 0.0104}


class WorldInstallation(Installation):
    """Settings and ports of a world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    @cached_property
    def settings(self) -> Settings:
        directory = self.world.directory.absolute()
        return Settings(
            state_directory=directory,
            repository=RepositorySettings(directory=directory, signing_key=directory / "key"),
            bake_environment="dev",
            prices=PRICES,
            environments={
                name: EnvironmentSettings(
                    account_id=account_id, region="eu-west-1", vpc_id="vpc", subnet_ids=("subnet",),
                    url=f"http://{name}.example",
                )
                for name, account_id in (("dev", DEV), ("prod", PROD))
            },
        )  # fmt: skip

    @cached_property
    def ports(self) -> Ports:
        return replace(self.world.ports(), store=self.store)

    @property
    def repository(self) -> Repository:
        return self.world.ports().repository


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def maker(world: World) -> Callable[[Path | None], Installation]:
    return lambda _settings: WorldInstallation(world)


def here(world: World, *words: str, answer: str = "") -> Said:
    """Run a command in this process, as ``invoke`` would."""
    result = CliRunner().invoke(program, words, obj=maker(world), input=answer)
    error = result.exception
    if isinstance(error, OvenbirdError):
        said = f"{result.stderr}error: {error}\nhint: {error.hint}\n"
        return Said(status=error.exit_status, out=result.stdout, err=said)
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return Said(status=result.exit_code, out=result.stdout, err=result.stderr)


def apart(world: World, *words: str, **environment: str) -> Said:
    """Run a command in a process of its own."""
    process = begun(world, *words, **environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode is not None
    return Said(status=process.returncode, out=out, err=err)


def begun(world: World, *words: str, **environment: str) -> Begun:
    """Begin a command in a process of its own."""
    return Begun(command, str(world.directory), *words, **environment)


def command(directory: str, *words: str) -> None:
    """Be the program, on the world in a directory."""
    if most := os.environ.get("FILE_BYTES"):  # a file that grows beyond is refused, as when full
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    sys.exit(main(words, obj=maker(World(Path(directory)))))
