"""Hands inside of a root file system of this host: commands, files lent and files put."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.ports import Progress
from ovenbird.system.commands import how_it_ended, stream
from ovenbird.system.disks import debugfs
from ovenbird.system.disks.disks import mounted
from ovenbird.system.rooms import base_roots
from ovenbird.system.rooms.base_roots import INSIDE
from ovenbird.system.rooms.image_paths import make_directories, resolved, within


class StreamedHands(ABC):
    """What hands have in common: commands that are told line by line, and how they fail."""

    @abstractmethod
    def _stream(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> None:
        """Run a command to its end and tell each line; CommandFailed unless it ends with 0."""

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        said: str,
        hint: str,
    ) -> None:
        """Run a command to its end; nothing that it starts outlives it.

        Raises:
            CommandFailed: It ended with another status than 0, or ran too long.
        """
        try:
            self._stream(argv, environment, timeout_s)
        except CommandFailed as error:
            text = f"The bake failed: `{said}` {how_it_ended(error)}"
            raise CommandFailed(text, hint=hint, **error.facts) from error

    def status(
        self, argv: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
    ) -> int:
        """Run a command and return its exit status.

        Raises:
            CommandFailed: It ran too long, or could not be run.
        """
        try:
            self._stream(argv, environment, timeout_s)
        except CommandFailed as error:
            if "status" not in error.facts:
                raise
            return int(error.facts["status"])
        return 0


class ChrootHands(StreamedHands):
    """The :class:`ovenbird.domain.ports.Hands` in a root that is mounted here.

    Args:
        root: As :func:`ovenbird.system.rooms.base_roots.opened` gives it, furnished.
        tell: Takes each line of output.
    """

    def __init__(self, root: Path, *, tell: Progress) -> None:
        self._root, self._tell, self._lent = root, tell, 0

    @contextmanager
    def lend(self, source: Path) -> Iterator[str]:
        """Show a file or tree of this host inside, read-only, and yield its path there."""
        self._lent += 1
        inside = INSIDE / f"lent-{self._lent}" / source.name
        place = resolved(self._root, f"/{inside}")
        make_directories(place.parent)
        if source.is_file():
            place.touch()
        with mounted(source, place, bind=True, options="ro"):
            yield f"/{inside}"

    def put(self, data: bytes, target: str, *, owner: str, group: str, mode: int) -> None:
        """Write a file that stays in the image; what was there goes.

        Raises:
            InvalidRequest: The links on the way to it go in a circle.
            CommandFailed: The owner or the group does not exist.
        """
        path = within(self._root, target)
        make_directories(path.parent)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(data)
        if (owner, group) != ("root", "root"):
            self.run(
                ["chown", f"{owner}:{group}", target],
                environment={},
                timeout_s=60,
                said=f"chown {owner}:{group} {target}",
                hint="Does the account exist in the image at this step?",
            )
        path.chmod(mode)

    def _stream(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> None:
        stream(
            base_roots.inside(self._root, list(argv)),
            timeout_s=timeout_s,
            on_line=self._tell,
            env=common_environment() | dict(environment),
        )


def common_environment() -> dict[str, str]:
    """Return what every command inside of an image sees."""
    return {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",  # not ours
        "DEBIAN_FRONTEND": "noninteractive",
        "APT_CONFIG": f"/{INSIDE}/apt.conf",
        "PYTHONHASHSEED": "0",  # else compiled modules differ between two bakes
        "SOURCE_DATE_EPOCH": str(debugfs.EPOCH_S),
        "TZ": "UTC",
    }
