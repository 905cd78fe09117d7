"""Builder instances: a base image launched as a room, made into an image, and gone.

sweep ─▶ keys made here ─▶ key pair ─▶ security group ─▶ instance ─▶ SSH ─▶ room
                                                     room ─▶ stopped ─▶ image
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from ovenbird.aws.builder_images import BuilderImages, Captured
from ovenbird.aws.builder_resources import TEMPORARY_TAG, BuilderResources, BuilderSpec, Mark
from ovenbird.aws.clients import Account
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed, Conflict, Unhealthy
from ovenbird.domain.images import BAKE_KEY_TAG, Image, PackagePin
from ovenbird.domain.ports import BakeRoom, Clock, Completing, Progress
from ovenbird.domain.recipes import RecipeStep
from ovenbird.system.locks import file_lock
from ovenbird.system.recipes import logs
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.rooms import live_rooms, ssh


class OpenRoom(Protocol):
    """Opens a machine as a room, by SSH; tests stand in for it."""

    def __call__(  # noqa: D102 - the class says it
        self, place: Path, reach: ssh.Reach, *, repository: RepositoryState, log: BakeLog
    ) -> AbstractContextManager[BakeRoom]: ...


class Builders:
    """The :class:`ovenbird.domain.ports.Builders` of one account.

    Args:
        account: Where instances are launched and images made.
        spec: How.
        directory: For keys and locks of bakes under way; in it only its owner reads.
        tools: As :func:`ovenbird.system.recipes.steps.perform` takes it.
        clock: Waits.
        open_room: Opens a machine as a room; by SSH unless a test stands in.
    """

    def __init__(
        self,
        account: Account,
        spec: BuilderSpec,
        *,
        directory: Path,
        tools: Path,
        clock: Clock,
        open_room: OpenRoom | None = None,
    ) -> None:
        self._spec, self._directory, self._clock = spec, directory, clock
        self._resources = BuilderResources(account, spec, clock=clock)
        self._images = BuilderImages(account, clock=clock)
        self._open_room = open_room or _by_ssh(spec, clock, tools)

    @contextmanager
    def open(
        self, base: Image, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[Builder]:
        """Launch a base image as a room; nothing of it is left when the block ends.

        Raises:
            CapacityShortage: AWS has no such instance now.
            CloudError: It could not be launched, or ended by itself.
            Unhealthy: SSH did not answer in time; says what stands on the console.
            CommandFailed: SSH does not let us in, or the machine did not boot well.
        """
        mark = Mark(builder_id=secrets.token_hex(4), deadline=self._clock.now() + self._spec.within)
        tags = {
            "Name": mark.name,
            BAKE_KEY_TAG: key,
            TEMPORARY_TAG: str(mark),
        }
        with ExitStack() as stack:
            place = stack.enter_context(self._place(mark))
            instance_id = self._launch(stack, place, base, mark=mark, tags=tags, progress=progress)
            log = stack.enter_context(logs.kept(self._log(key), tell=progress))
            room = self._enter(stack, place, instance_id, repository=repository, log=log)
            yield Builder(
                room,
                stop=lambda: self._resources.stop(instance_id),
                make=lambda name, tags, complete: self._images.make(
                    Captured(instance_id=instance_id, mark=mark),
                    name=name,
                    tags=tags,
                    complete=complete,
                    progress=progress,
                ),
                progress=progress,
            )

    def sweep(self, progress: Progress) -> None:
        """Remove what killed bakes left, of this host and of others whose time is over."""
        removed = (*self._resources.sweep(self.is_dead), *self._images.sweep(self.is_dead))
        if removed:
            progress(f"Removed what a killed bake left: {', '.join(removed)}")
        with self._gate():
            for lock in sorted(self._directory.glob("*.lock")):
                if _is_free(lock):
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink(missing_ok=True)

    def is_dead(self, mark: Mark) -> bool:
        """Tell whether the bake of a mark has ended, on this host or on another one."""
        lock = self._lock(mark)
        if lock.exists():
            return _is_free(lock)
        return mark.deadline < self._clock.now()  # of another host, or of a lost directory

    def _lock(self, mark: Mark) -> Path:
        return self._directory / f"{mark.builder_id}.lock"

    def _log(self, key: str) -> Path:
        return self._directory / "logs" / f"{key[:16]}.log"

    @contextmanager
    def _place(self, mark: Mark) -> Iterator[Path]:
        """Hold the lock that says that this bake lives, and a directory for its keys."""
        lock = self._lock(mark)
        place = lock.with_suffix("")
        with ExitStack() as held:
            with self._gate():
                held.enter_context(file_lock(lock))
                place.mkdir(mode=0o700)
            try:
                yield place
            finally:
                shutil.rmtree(place)
            lock.unlink()  # not after a failure: by it the next bake knows what is dead

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Let one process at a time begin, or look which locks are free."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(self._directory / "gate"):
            yield

    def _launch(
        self,
        stack: ExitStack,
        place: Path,
        base: Image,
        *,
        mark: Mark,
        tags: Mapping[str, str],
        progress: Progress,
    ) -> str:
        ssh.make_keys(place)
        resources = self._resources
        stack.enter_context(resources.key_pair(mark, ssh.public(place), tags))
        group_id = stack.enter_context(resources.security_group(mark, tags))
        progress(f"Launching a builder of `{base.name}`")
        return stack.enter_context(
            resources.instance(
                mark,
                base,
                group_id=group_id,
                user_data=user_data(place, self._spec.user),
                tags=tags,
            )
        )

    def _enter(
        self,
        stack: ExitStack,
        place: Path,
        instance_id: str,
        *,
        repository: RepositoryState,
        log: BakeLog,
    ) -> BakeRoom:
        reach = self._reach(instance_id)
        log(f"Waiting for SSH of builder `{instance_id}` at {reach.host}")
        opened = self._open_room(place, reach, repository=repository, log=log)
        try:
            return stack.enter_context(opened)
        except (Unhealthy, CommandFailed) as error:
            console = self._resources.console(instance_id)
            said = [str(error.facts.pop("stderr", "")), console and f"Its console:\n{console}"]
            error.facts["stderr"] = "\n".join(part for part in said if part)
            raise

    def _reach(self, instance_id: str) -> ssh.Reach:
        spec = self._spec
        return ssh.Reach(
            host=self._resources.address(instance_id),
            user=spec.user,
            proxy_command=spec.proxy_command.replace("{instance_id}", instance_id),
            pins_host=spec.pins_host,
            open_to=spec.open_to,
        )


class Builder:
    """A builder instance as a room.

    Args:
        room: Its inside.
        stop: Shuts it down.
        make: Makes an image of it when it is stopped; see :meth:`BuilderImages.make`.
    """

    def __init__(
        self,
        room: BakeRoom,
        *,
        stop: Callable[[], None],
        make: Callable[[str, Mapping[str, str], Completing], Image],
        progress: Progress,
    ) -> None:
        self._room, self._stop, self._make, self._progress = room, stop, make, progress

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        """Do one step of the recipe; a failing one fails the bake."""
        self._room.perform(step, directory=directory)

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions from our repository."""
        self._room.install(pins)

    def clean(self) -> None:
        """Remove what must not be in an image; nothing else is done in it after that."""
        self._room.clean()

    def check(self) -> None:
        """Find what would not start at boot."""
        self._room.check()

    def make_image(self, *, name: str, tags: Mapping[str, str], complete: Completing) -> Image:
        """Shut the machine down and make an image of it; it is offered when it is complete."""
        self._progress("Stopping the builder")
        self._stop()
        self._progress(f"Creating image `{name}`")
        return self._make(name, tags, complete)


def user_data(place: Path, user: str) -> str:
    """Return the cloud-config of a builder: its host key, and whether root may log in.

    The host key is made here, so that nobody can stand in for the builder; it is removed with
    the rest at the end. JSON is YAML.

    Source: cloud-init documentation, module "SSH" (``ssh_keys``, ``disable_root``).
    """
    keys = {
        "ed25519_private": (place / ssh.HOST_KEY).read_text(),
        "ed25519_public": ssh.public(place, ssh.HOST_KEY),
    }
    config = {"disable_root": user != "root", "ssh_deletekeys": True, "ssh_keys": keys}
    return f"#cloud-config\n{json.dumps(config, indent=1)}\n"


def _by_ssh(spec: BuilderSpec, clock: Clock, tools: Path) -> OpenRoom:
    @contextmanager
    def open_room(
        place: Path, reach: ssh.Reach, *, repository: RepositoryState, log: BakeLog
    ) -> Iterator[BakeRoom]:
        connected = ssh.connected(place, reach, within=spec.answers_within, clock=clock)
        with connected as connection:
            connection.ask(ends_itself(spec.within))
            with live_rooms.opened(
                connection,
                repository,
                goes_through_here=bool(spec.open_to),
                log=log,
                tools=tools,
            ) as room:
                yield room

    return open_room


def ends_itself(within: timedelta) -> list[str]:
    """Return the command that lets a machine shut itself down when nobody does it before."""
    return [
        "systemd-run", "--quiet", f"--on-active={within.total_seconds():g}",
        "systemctl", "poweroff",
    ]  # fmt: skip


def _is_free(lock: Path) -> bool:
    try:
        with file_lock(lock, wait=False):
            return True
    except Conflict:
        return False
