"""A package repository that lives in a world: numbered states, no files of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ovenbird.domain.catalog import CatalogEntry, Finding, RepositoryState
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import SignerOf

if TYPE_CHECKING:
    from tests.pipeline.worlds import World


class Repository:
    """Publishing twice is publishing once; a state that was pruned is None."""

    def __init__(self, world: World) -> None:
        self._world = world

    def publish(
        self, packages: Sequence[Package], *, channel: str, at: datetime
    ) -> RepositoryState:
        self._world.note(f"publish {packages[0].version} to {channel}")
        return self._change(channel, added=packages)

    def withdraw(
        self, packages: Sequence[Package], *, channel: str, at: datetime
    ) -> RepositoryState:
        state = self._change(channel, gone=packages)
        self._world.note(f"withdraw {' '.join(sorted(p.version for p in packages))} from {channel}")
        return state

    @contextmanager
    def reachable(self, state: RepositoryState) -> Iterator[RepositoryState]:
        yield state

    def put_record(self, entry: CatalogEntry) -> None:
        if os.environ.get("WORLD_DIES_BEFORE_RECORD") == entry.package.name:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._world.state() as state:
            if entry.key not in [one.key for one in state.records]:
                state.records.append(entry)

    def records_of(self, name: str, version: str) -> tuple[CatalogEntry, ...]:
        found = self.every_record()
        return tuple(e for e in found if (e.package.name, e.package.version) == (name, version))

    def every_record(self) -> tuple[CatalogEntry, ...]:
        return tuple(self._world.look().records)

    def fetch(self, package: Package, into: Path) -> Package:
        return package

    def channels(self) -> tuple[str, ...]:
        return tuple(sorted(self._world.look().channels))

    def state(self, channel: str) -> RepositoryState:
        return self.states(channel)[-1]

    def unserved(self, channel: str) -> tuple[int, ...]:
        return ()

    def repair(self, channel: str) -> RepositoryState:
        self._world.note(f"repair {channel}")
        return self.state(channel)

    def rebuild(self, channel: str, *, at: datetime) -> RepositoryState:
        self._world.note(f"rebuild {channel} at {at}")
        return self.state(channel)

    def states(self, channel: str) -> tuple[RepositoryState, ...]:
        kept = enumerate(self._world.look().channels.get(channel, ()), 1)
        return tuple(_state(channel, number) for number, found in kept if found is not None)

    def list_packages(self, channel: str, number: int | None = None) -> tuple[Package, ...]:
        states = self._world.look().channels.get(channel, ())
        wanted = number or len(states)
        if not 0 < wanted <= len(states) or states[wanted - 1] is None:
            raise NotFound(f"Channel `{channel}` has no state {wanted}")
        return tuple(states[wanted - 1] or ())

    @contextmanager
    def fetched(self, package: Package) -> Iterator[Path]:
        if package.version in self._world.look().rotten:
            rotten = self._world.directory / "rotten"
            rotten.write_bytes(b"no package")
            yield rotten
            return
        yield Path(package.path)

    @contextmanager
    def signers(self) -> Iterator[SignerOf]:
        forged = self._world.look().forged

        def signer_of(path: Path, package: Package) -> str:
            if package.version in forged:
                raise InvalidRequest("BAD signature")
            return package.signed_by

        yield signer_of

    def verify(self) -> tuple[Finding, ...]:
        self._world.note("verify")
        return tuple(
            Finding(tool="ovenbird", code="other-digest", level="error", text=f"{v} is rotten")
            for v in self._world.look().rotten
        )

    def prune_before(self, oldest: Mapping[str, int]) -> None:
        with self._world.state() as state:
            for channel, first in oldest.items():
                states = state.channels[channel]
                state.channels[channel] = [None] * (first - 1) + list(states[first - 1 :])
        words = ", ".join(f"{channel} from {first}" for channel, first in sorted(oldest.items()))
        self._world.note(f"prune {words}")

    def _change(
        self, channel: str, *, added: Sequence[Package] = (), gone: Sequence[Package] = ()
    ) -> RepositoryState:
        keys = {(package.name, package.version, package.format) for package in gone}
        with self._world.state() as state:
            states = list(state.channels.get(channel, ()))
            old = tuple(states[-1] or ()) if states else ()
            new = tuple(p for p in old if (p.name, p.version, p.format) not in keys)
            new = (*new, *(package for package in added if package not in new))
            if new != old or not states:
                state.channels[channel] = [*states, new]
            return _state(channel, len(state.channels[channel]))


def _state(channel: str, number: int) -> RepositoryState:
    return RepositoryState(
        repository="main", channel=channel, number=number, url="file:/r",
        suite=f"{channel}-{number}", component="main", key_path="/k",
    )  # fmt: skip
