"""Bakes by somebody who is not root: the same room, in a process that is root in namespaces.

A user namespace with the ids of ``/etc/subuid`` is where that process is root; it mounts the
base disk through FUSE, and the rest is the same code that root runs, with the same bits.

Source: user_namespaces(7), unshare(1) ``--map-auto``, subuid(5), fuse2fs(1).
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import ovenbird
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.errors import CommandFailed, InvalidRequest, from_json
from ovenbird.domain.images import PackagePin
from ovenbird.domain.ports import BakeWorkshop, DirectRoom, Progress
from ovenbird.domain.recipes import RecipeStep
from ovenbird.system.commands import Process, end, run, spawn
from ovenbird.system.rooms.workshop import Workshop

NAMESPACES = (
    "unshare", "--map-auto", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child",
)  # fmt: skip
FUSE = Path("/dev/fuse")
SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))
PROGRAMS = {"unshare": "util-linux", "newuidmap": "uidmap", "fuse2fs": "fuse2fs"}
WITHIN_S = 10.0


def workshop_here(directory: Path, *, cache: Path) -> BakeWorkshop:
    """Return where bakes happen on this host: as root, or in namespaces without it."""
    kind = Workshop if os.geteuid() == 0 else RootlessWorkshop
    return kind(directory, cache=cache)


def missing() -> str:
    """Return what this host lacks for bakes without root; empty when it has all."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"`{program}` (package `{package}`)"
    if not os.access(FUSE, os.R_OK | os.W_OK):
        return f"rights to `{FUSE}` (mode 0666, kernel module `fuse`)"
    account = pwd.getpwuid(os.geteuid()).pw_name
    for file in SUBORDINATE:
        if not _has_ids(file, account):
            return f"ids for `{account}` in `{file}`, as `usermod --add-subuids` gives them"
    try:
        run([*NAMESPACES, "true"], timeout_s=WITHIN_S)
    except CommandFailed as error:
        return f"user namespaces, which this host refuses: {error.facts.get('stderr', error)}"
    return ""


def _has_ids(file: Path, account: str) -> bool:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = {line.partition(":")[0] for line in lines}
    return bool(names & {account, str(os.geteuid())})


class RootlessWorkshop:
    """Opens base disks as rooms for somebody who is not root.

    Args:
        directory: For mounts and clones of bakes under way.
        cache: Between bakes: apt's indexes and archives, and tools that are lent to images.
    """

    def __init__(self, directory: Path, *, cache: Path) -> None:
        self._directory, self._cache = directory, cache

    @contextmanager
    def open(
        self, disk: Path, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[DirectRoom]:
        """Open a base disk as a room; nothing is left when the block ends.

        Raises:
            InvalidRequest: This host lacks what it takes without root.
        """
        _require()
        with ExitStack() as stack:
            room = DistantRoom(*_started(stack), progress=progress)
            room.ask((self._directory, self._cache, disk, key, repository))
            try:
                yield room
            finally:
                room.close()

    def contents(self, disk: Path) -> ImageContents:
        """Return packages and files of a disk that a machine has made; it is only read.

        Raises:
            InvalidRequest: This host lacks what it takes without root, or the disk has no
                root file system that can be read so.
            CommandFailed: It cannot be mounted, or its packages cannot be listed.
        """
        _require()
        with ExitStack() as stack:
            room = DistantRoom(*_started(stack), progress=_ignore)
            contents: ImageContents = room.ask((self._directory, self._cache, disk))
            return contents


def _require() -> None:
    if lacking := missing():
        raise InvalidRequest(
            f"A bake without root needs {lacking}", hint="Provide it, or bake as root"
        )


def _ignore(_: str) -> None:
    """Tell nobody."""


def _started(stack: ExitStack) -> tuple[Connection, Process, IO[bytes]]:
    """Start the process behind a room, with a socket to it."""
    said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
    stack.enter_context(said)
    ours, theirs = socket.socketpair()
    with theirs:
        program = [sys.executable, "-m", "ovenbird.system.rooms.room_process", str(theirs.fileno())]
        process = spawn(
            [*NAMESPACES, *program],
            output=said,
            env={"PYTHONPATH": str(Path(ovenbird.__file__).parents[1])},
            pass_fds=(theirs.fileno(),),
        )
    stack.callback(end, process, within_s=WITHIN_S)
    connection = stack.enter_context(Connection(ours.detach()))
    return connection, process, said


class DistantRoom:
    """A room in another process.

    Args:
        connection: To the process.
        said: What it says outside of the connection, when it breaks.
        progress: Told each line that programs print.
    """

    def __init__(
        self, connection: Connection, process: Process, said: IO[bytes], *, progress: Progress
    ) -> None:
        self._connection, self._process, self._said = connection, process, said
        self._progress, self._is_busy = progress, False

    def close(self) -> None:
        """Let the process tidy up; one that is busy just ends, and its mounts with it."""
        if not self._is_busy:
            self.ask(None)

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        """Do one step of the recipe; a failing one fails the bake."""
        self._call("perform", step, directory=directory)

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions from our repository, signatures verified."""
        self._call("install", tuple(pins))

    def clean(self) -> None:
        """Remove what must not be in an image, and mend what differs between two bakes."""
        self._call("clean")

    def check(self) -> None:
        """Find services of our packages that would not start at boot."""
        self._call("check")

    def changed_blocks(self) -> Mapping[int, bytes]:
        """Return index → bytes of the blocks in which the image differs from its base."""
        blocks: dict[int, bytes] = self._call("changed_blocks")
        return blocks

    def total_blocks(self) -> int:
        """Return how many blocks of the image hold data; to be asked after the changes."""
        total: int = self._call("total_blocks")
        return total

    def contents(self) -> ImageContents:
        """Return the packages and files of the image; to be asked after the changes."""
        contents: ImageContents = self._call("contents")
        return contents

    def notes(self) -> tuple[str, ...]:
        """Return what a person should know about the image; to be asked after the changes."""
        notes: tuple[str, ...] = self._call("notes")
        return notes

    def _call(self, method: str, *words: Any, **named: Any) -> Any:
        return self.ask((method, words, named))

    def ask(self, request: Any) -> Any:
        """Send a request, tell the lines that come, and return the answer.

        Raises:
            OvenbirdError: What was raised there.
            CommandFailed: The process ended.
        """
        self._is_busy = True
        try:
            self._connection.send(request)
            while (answer := self._connection.recv())[0] == "line":
                self._progress(answer[1])
        except (EOFError, ConnectionError) as error:
            self._said.seek(0)
            words = self._said.read().decode(errors="replace")
            raise CommandFailed(
                "The process of the bake ended", hint="Start the bake again", stderr=words
            ) from error
        self._is_busy = False
        kind, value = answer
        if kind == "failed":
            raise from_json(value)
        return value
