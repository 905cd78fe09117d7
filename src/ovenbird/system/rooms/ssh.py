"""One connection to a machine by the system's OpenSSH, shared by all commands.

key and host key made here ─▶ master (waits until the machine answers) ─▶ commands, forwards

The private key, the known host and the socket live in one directory that only its owner
reads; ``~/.ssh`` is neither read nor written. The master ends with the process that started it.

Source: ssh(1), ssh_config(5), ssh-keygen(1), setpriv(1).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from ovenbird.domain.errors import CommandFailed, Unhealthy
from ovenbird.domain.ports import Clock
from ovenbird.system.commands import Process, end, piped, run, spawn
from ovenbird.system.commands import stream as stream_program

KEY, HOST_KEY, KNOWN, SOCKET = "key", "host_key", "known_hosts", "c"
ALIAS = "builder"  # the host's name in the known hosts, whatever its address is
ATTEMPT_S = 10  # for one try to connect
REFUSED_S = 60.0  # cloud-init may still be about to write the keys; Source: cc_ssh, its frequency
PAUSE_S = 0.5
SHORT_S = 60.0  # for what only talks to the master, or ends at once
LOST = 255  # Source: ssh(1), "EXIT STATUS"
_REFUSALS = {
    "Permission denied": "does not take the key",
    "Host key verification failed": "has another host key than the one that was sent to it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a machine is reached.

    Args:
        user: Account to log in as; another one than root needs ``sudo`` without a password.
        proxy_command: As in ssh_config(5), with ``%h`` and ``%p``; empty to connect directly.
        pins_host: Whether only the host key that was made here is accepted; otherwise the first
            one that answers is.
        open_to: ``host:port`` that the machine may reach through this host, besides our own.
    """

    host: str
    user: str = "root"
    port: int = 22
    proxy_command: str = ""
    pins_host: bool = True
    open_to: tuple[str, ...] = ()


def make_keys(place: Path) -> None:
    """Make the key pair of the bake and the host key of the machine.

    Args:
        place: Empty directory; readable for its owner only.
    """
    for name in (KEY, HOST_KEY):
        kind = ["-t", "ed25519", "-N", "", "-C", "ovenbird"]
        run(["ssh-keygen", "-q", *kind, "-f", place / name], timeout_s=SHORT_S)
    (place / KNOWN).write_text(f"{ALIAS} {public(place, HOST_KEY)}\n")


def public(place: Path, name: str = KEY) -> str:
    """Return the public half of a key, one line without its end."""
    return (place / f"{name}.pub").read_text().strip()


def options(reach: Reach) -> list[str]:
    """Return ssh's options; the paths are relative to the place."""
    known = {
        "BatchMode": "yes",
        "ConnectTimeout": str(ATTEMPT_S),
        "ControlPath": SOCKET,
        "ExitOnForwardFailure": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": KEY,
        "LogLevel": "ERROR",
        "PermitRemoteOpen": " ".join(reach.open_to) or "none",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "8",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes" if reach.pins_host else "accept-new",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": KNOWN,
    }
    if reach.proxy_command:
        known["ProxyCommand"] = reach.proxy_command
    words = [word for key, value in known.items() for word in ("-o", f"{key}={value}")]
    return ["-F", "none", "-T", *words, "-p", str(reach.port), "-l", reach.user]


def refusal(said: str) -> str:
    """Return why a machine that answers does not let us in; empty when it does not answer."""
    return next((words for sign, words in _REFUSALS.items() if sign in said), "")


class Connection:
    """A connection that is up.

    Args:
        place: Where its keys and its socket are.
    """

    def __init__(self, place: Path, reach: Reach) -> None:
        self._reach = reach
        self._ssh = ["env", f"--chdir={place}", "ssh", *options(reach)]

    def stream(
        self, command: Sequence[str], *, timeout_s: float, on_line: Callable[[str], None]
    ) -> None:
        """Run a command on the machine as root, and hand over each line as it comes.

        Raises:
            CommandFailed: It ended with another status than 0, ran too long (and may go on
                running there), or the connection was lost.
        """
        try:
            stream_program(self._argv(command), timeout_s=timeout_s, on_line=on_line)
        except CommandFailed as error:
            self._say_if_lost(error)
            raise

    def send(self, command: Sequence[str], data: IO[bytes], *, timeout_s: float) -> str:
        """Run a command on the machine as root, with data as its input; return what it says.

        Raises:
            CommandFailed: As :meth:`stream`.
        """
        try:
            with piped(self._argv(command), timeout_s=timeout_s, stdin=data) as output:
                return output.read().decode(errors="replace")
        except CommandFailed as error:
            self._say_if_lost(error)
            raise

    def ask(self, command: Sequence[str]) -> str:
        """Run a short command on the machine as root and return what it says."""
        return run(self._argv(command), timeout_s=SHORT_S)

    def lead_here(self, port: int) -> int:
        """Let a port of the machine's loopback lead to one of this host's; return its number."""
        return self._forward(f"127.0.0.1:0:127.0.0.1:{port}")

    def lead_out(self) -> int:
        """Open a SOCKS proxy on the machine's loopback that goes out from this host.

        It reaches what the connection is open to, and nothing else.
        """
        return self._forward("127.0.0.1:0")

    def is_up(self) -> bool:
        """Tell whether the machine still answers."""
        try:
            self.ask(["true"])
        except CommandFailed:
            return False
        return True

    def _forward(self, what: str) -> int:
        said = run([*self._ssh, "-O", "forward", "-R", what, self._reach.host], timeout_s=SHORT_S)
        match = re.search(r"\d+", said)
        if not match:
            raise CommandFailed("`ssh -O forward` does not say which port it opened", stderr=said)
        return int(match[0])

    def _argv(self, command: Sequence[str]) -> list[str]:
        as_root = [] if self._reach.user == "root" else ["sudo", "-n", "--"]
        return [*self._ssh, self._reach.host, shlex.join([*as_root, *command])]

    def _say_if_lost(self, error: CommandFailed) -> None:
        if error.facts.get("status") == LOST and not self.is_up():
            raise CommandFailed(
                f"The connection to `{self._reach.host}` was lost",
                hint="Did a step of the recipe reboot the machine, or stop its network?",
                stderr=str(error.facts.get("stderr", "")),
            ) from error


@contextmanager
def connected(
    place: Path, reach: Reach, *, within: timedelta, clock: Clock
) -> Iterator[Connection]:
    """Connect to a machine as soon as it answers; the connection ends with the block.

    Args:
        place: Where :func:`make_keys` made the keys.
        reach: Where the machine is, and who logs in.
        within: How long the machine may take to answer.
        clock: Waits between two tries.

    Raises:
        Unhealthy: It did not answer in time.
        CommandFailed: It answers, and does not let us in, for a minute.
    """
    with (place / "ssh.log").open("w+b", buffering=0) as said:
        master = _await_master(place, reach, said, within=within, clock=clock)
        try:
            yield Connection(place, reach)
        finally:
            end(master, within_s=5)


def _await_master(
    place: Path, reach: Reach, said: IO[bytes], *, within: timedelta, clock: Clock
) -> Process:
    begun = clock.now()
    refused_since = None
    while True:
        master = _start_master(place, reach, said)
        if _comes_up(master, place, clock):
            return master
        words = _last(said)
        now = clock.now()
        why = refusal(words)
        refused_since = (refused_since or now) if why else None
        is_late = now - begun > within
        if refused_since and (is_late or now - refused_since > timedelta(seconds=REFUSED_S)):
            raise _refused(reach, why, words)
        if is_late:
            raise _silent(reach, within, words)
        clock.sleep(PAUSE_S)


def _start_master(place: Path, reach: Reach, said: IO[bytes]) -> Process:
    """Start a master that dies with this process, and takes the tunnels along."""
    said.seek(0)
    said.truncate()
    (place / SOCKET).unlink(missing_ok=True)  # of a try that was killed
    line = ["setpriv", "--pdeathsig=TERM", "ssh", "-M", "-N", *options(reach), reach.host]
    return spawn(line, output=said, cwd=place)


def _comes_up(master: Process, place: Path, clock: Clock) -> bool:
    """Tell whether a master is connected; it makes its socket when it is."""
    try:
        for _ in range(int(3 * ATTEMPT_S / 0.02)):
            if master.poll() is not None:
                return False
            if (place / SOCKET).exists():
                return True
            clock.sleep(0.02)
    except BaseException:
        end(master, within_s=5)
        raise
    end(master, within_s=5)
    return False


def _last(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-500:]


def _refused(reach: Reach, why: str, words: str) -> CommandFailed:
    return CommandFailed(
        f"The machine at `{reach.host}` {why}",
        hint=f"Does its image run cloud-init, and may `{reach.user}` log in by SSH with a key?",
        stderr=words,
    )


def _silent(reach: Reach, within: timedelta, words: str) -> Unhealthy:
    return Unhealthy(
        f"SSH at `{reach.host}` did not answer within {within.total_seconds():g} s",
        hint="May this host connect there? Look at `builders` in the settings",
        stderr=words,
    )
