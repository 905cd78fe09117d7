"""Hands on a machine over SSH: commands in units of their own, files lent and files put.

A command runs by systemd-run(1): in a control group, so that nothing that it starts outlives
it, with the environment of a service and none of the login's.

Source: systemd-run(1); systemd.kill(5); systemd.service(5), "RuntimeMaxSec", "COMMAND LINES".
"""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.ports import Progress
from ovenbird.system.commands import how_it_ended
from ovenbird.system.rooms.base_roots import INSIDE
from ovenbird.system.rooms.hands import StreamedHands, common_environment
from ovenbird.system.rooms.ssh import Connection

BRING_S = 600.0  # for one file or tree over the network
SPARE_S = 30.0  # the machine ends a command by itself when nobody is left to do so
LENT = f"/{INSIDE}/lent"
# /run itself has a tenth of the memory, and programs do not run there.
# Source: initramfs-tools' `init`: "nodev,noexec,nosuid,size=10%".
ROOM_FOR_LENT = """mkdir -p "$1"
mountpoint -q "$1" || mount -t tmpfs -o mode=755,nodev,size=90% tmpfs "$1" || exit
mkdir -p "$2"
"""
PUT = """set -e
umask 022
mkdir -p -- "$(dirname -- "$1")"
part=$(mktemp -- "$(dirname -- "$1")/.ovenbird.XXXXXXXX")
trap 'rm -f -- "$part"' EXIT
cat > "$part"
chown -- "$2" "$part"
chmod -- "$3" "$part"
mv -fT -- "$part" "$1"
"""


class SshHands(StreamedHands):
    """The :class:`ovenbird.domain.ports.Hands` on a machine.

    Args:
        connection: To the machine.
        tell: Takes each line of output.
    """

    def __init__(self, connection: Connection, *, tell: Progress) -> None:
        self._connection, self._tell = connection, tell
        self._units = self._lent = 0

    @contextmanager
    def lend(self, source: Path) -> Iterator[str]:
        """Copy a file or tree of this host to the machine's memory, and yield its path there.

        It belongs to root and is gone when the block ends, at the latest when the machine stops.
        """
        self._lent += 1
        place = f"{LENT}/{self._lent}"
        self._connection.ask(["sh", "-c", ROOM_FOR_LENT, "sh", LENT, place])
        try:
            with tempfile.TemporaryFile() as archive:
                with tarfile.open(fileobj=archive, mode="w") as tree:
                    tree.add(source, arcname=source.name, filter=_of_root)
                archive.seek(0)
                unpack = ["tar", "-x", "-p", "-f", "-", "-C", place]
                self._connection.send(unpack, archive, timeout_s=BRING_S)
            yield f"{place}/{source.name}"
        finally:
            with contextlib.suppress(CommandFailed):  # it is in memory, and goes with the machine
                self._connection.ask(["rm", "-rf", place])

    def put(self, data: bytes, target: str, *, owner: str, group: str, mode: int) -> None:
        """Write a file that stays in the image; what was there goes, all at once.

        Raises:
            CommandFailed: It could not be written, or the account does not exist.
        """
        command = ["sh", "-c", PUT, "sh", target, f"{owner}:{group}", f"{mode:o}"]
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            try:
                self._connection.send(command, file, timeout_s=BRING_S)
            except CommandFailed as error:
                raise CommandFailed(
                    f"The bake failed: writing `{target}` {how_it_ended(error)}",
                    hint=f"Does the account `{owner}:{group}` exist in the image at this step?",
                    **error.facts,
                ) from error

    def _stream(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> None:
        self._units += 1
        unit = f"ovenbird-{self._units}"
        known = common_environment() | dict(environment)
        line = in_a_unit(argv, unit=unit, environment=known, timeout_s=timeout_s + SPARE_S)
        try:
            self._connection.stream(line, timeout_s=timeout_s, on_line=self._tell)
        except CommandFailed as error:
            if "within_s" in error.facts:  # only our end of it has ended
                self._connection.ask(["systemctl", "stop", unit])
            raise


def in_a_unit(
    argv: Sequence[str], *, unit: str, environment: Mapping[str, str], timeout_s: float
) -> list[str]:
    """Return the line that runs a command in a transient unit and waits for it.

    systemd expands variables in the words of a command; a doubled ``$`` is one that stays.
    """
    given = [f"--setenv={key}={value}" for key, value in environment.items()]
    return [
        "systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}",
        "--property=KillSignal=SIGKILL",
        f"--property=RuntimeMaxSec={timeout_s:g}",
        *given, "--", *(word.replace("$", "$$") for word in argv),
    ]  # fmt: skip


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
