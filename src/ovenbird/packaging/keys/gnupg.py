"""One GnuPG home, worked with by one process at a time; its agent ends with the work.

gpg starts an agent for each home, which outlives it. Measured on 2026-11-25 (GnuPG 2.2, a
busy machine): a signature with an agent that runs takes 15 to 20 ms, one that has to start it
40 to 90 ms, and ending it 10 to 180 ms; so whoever signs more than once holds the home.

Source: gpg(1); gpg-agent(1), "Agent's sockets"; GnuPG's doc/DETAILS, "Format of the colon
listings".
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.keys import Key
from ovenbird.system.clock import await_true
from ovenbird.system.commands import run
from ovenbird.system.locks import file_lock

TIMEOUT_S = 120.0  # a key of RSA needs random numbers, and a busy machine its time
GONE_WITHIN = timedelta(seconds=5)  # an agent that was told to end; it takes milliseconds
SOCKET_BYTES = 107  # Source: unix(7), sun_path, without the zero at its end
LONGEST_SOCKET = "S.gpg-agent.browser"
PASSPHRASE = "passphrase"  # noqa: S105 - the name of the file that has it
MARK = "ovenbird-agent"  # there while an agent is ours
NOT_HERE = "its secret half is not here"
_ALGORITHMS = {"1": "rsa", "17": "dsa", "22": "ed25519"}  # numbers of RFC 4880 and of GnuPG
_VALIDITY = {"e": "it expired", "r": "it was revoked", "d": "it is disabled", "i": "it is invalid"}


class Gnupg:
    """A home directory of GnuPG.

    Args:
        home: Its path; modes are tightened to the owner whenever it is held.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sessions = 0  # how many times it was taken from other processes
        self._counting = threading.Lock()
        self._depth = 0
        self._taken = ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes, and other objects, from the home; threads and blocks share it.

        Raises:
            InvalidRequest: The home is not ours, or its path is too long for the agent.
        """
        with self._counting:
            if self._depth == 0:
                self._taken.enter_context(self._alone())
                self.sessions += 1
            self._depth += 1
        try:
            yield
        finally:
            with self._counting:
                self._depth -= 1
                if self._depth == 0:
                    self._taken.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with file_lock(self.home.with_name(f"{self.home.name}.lock")):
            self._tighten()
            is_ours = self._mark_agent()
            try:
                yield
            finally:
                if self.home.exists() and is_ours:  # an agent that we met may have its uses
                    self._end_agent()

    def run(self, *words: str | Path) -> str:
        """Run gpg on this home.

        Raises:
            CommandFailed: gpg refused.
        """
        with self.held():
            return run([*self.head(), *words], timeout_s=TIMEOUT_S)

    def head(self) -> list[str | Path]:
        """Return how gpg is called on this home; its own configuration file does not count."""
        head: list[str | Path] = ["gpg", "--homedir", self.home, "--no-options", "--batch",
                "--no-tty", "--yes", "--trust-model", "always",
                "--no-auto-check-trustdb", "--pinentry-mode", "loopback"]  # fmt: skip
        secret = self.home / PASSPHRASE
        if secret.exists():
            head += ["--passphrase-file", secret]
        return head

    def make(self) -> None:
        """Make the home directory unless it is there."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home.chmod(0o700)
        (self.home / MARK).touch()

    def secret_keys(self) -> tuple[Key, ...]:
        """Return the keys whose secret half can be in the home, oldest first."""
        if not self.home.exists():
            return ()
        with self.held():
            listing = self.run("--list-secret-keys", "--with-colons")
        return tuple(sorted(keys_of(listing), key=lambda key: (key.created_at, key.fingerprint)))

    def public_keys(self) -> tuple[Key, ...]:
        """Return the keys whose public half is in the home."""
        with self.held():
            return keys_of(self.run("--list-keys", "--with-colons"))

    def passphrase(self) -> bytes:
        """Return the pass phrase of all keys; empty for none."""
        path = self.home / PASSPHRASE
        return path.read_bytes() if path.exists() else b""

    def keep_passphrase(self, secret: bytes) -> None:
        """Keep the pass phrase of all keys beside them, for whoever can read them anyway."""
        path = self.home / PASSPHRASE
        if not secret:
            path.unlink(missing_ok=True)
            return
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secret)

    def export(self, fingerprints: Sequence[str], *, armor: bool = False) -> bytes:
        """Return public keys in one piece."""
        return self._made("--export", *fingerprints, armor=armor)

    def sign(
        self,
        how: str,
        data: bytes | Path,
        *,
        keys: Sequence[str],
        at_epoch_s: int | None = None,
    ) -> bytes:
        """Return what gpg makes of bytes, or of a file's, with one signature for each key.

        Args:
            how: ``--clear-sign`` or ``--detach-sign``.
            data: What is signed.
            keys: Fingerprints.
            at_epoch_s: When the signature says it was made; None for now.
        """
        words = [*signing_words(keys, at_epoch_s), how]
        if isinstance(data, Path):
            return self._made(*words, str(data), armor=True)
        with tempfile.NamedTemporaryFile(prefix="ovenbird-") as file:
            file.write(data)
            file.flush()
            return self._made(*words, file.name, armor=True)

    def _made(self, *words: str, armor: bool) -> bytes:
        """Return what gpg writes to a file; its standard output is text, and this may be none."""
        with self.held(), tempfile.TemporaryDirectory(prefix="ovenbird-") as folder:
            target = Path(folder) / "out"
            self.run(*(["--armor"] if armor else []), "--output", target, *words)
            return target.read_bytes()

    def _tighten(self) -> None:
        """Take from others what modes give them, as gpg wants it too."""
        if not self.home.exists():
            return
        if self.home.stat().st_uid != os.geteuid():
            raise InvalidRequest(
                f"The key's home `{self.home}` belongs to another user",
                hint="Name another one as `repository.signing_key`, or run as its owner",
            )
        self.home.chmod(0o700)
        for path in self.home.glob("private-keys-v1.d/*.key"):
            path.chmod(0o600)

    def _mark_agent(self) -> bool:
        """Tell whether the agent that there is, or will be, is ours; leave a mark if it is.

        The mark outlives a process that is killed, so that the next one ends its agent.
        """
        if not self.home.exists():
            return True
        mark = self.home / MARK
        is_ours = mark.exists() or not _answers(self._socket())
        if is_ours:
            mark.touch()
        return is_ours

    def _end_agent(self) -> None:
        """End our agent, and see it go: who comes next must not take it for another's."""
        run(["gpgconf", "--homedir", self.home, "--kill", "all"], timeout_s=TIMEOUT_S)
        place = self._socket()
        with suppress(TimeoutError):  # it hangs; the next one who works here uses it
            await_true(lambda: not _answers(place), within=GONE_WITHIN, every_s=0.002)
            (self.home / MARK).unlink(missing_ok=True)

    def _socket(self) -> Path:
        """Return where the home's agent listens.

        Raises:
            InvalidRequest: The path is too long.
        """
        asked = run(
            ["gpgconf", "--homedir", self.home, "--list-dirs", "agent-socket"], timeout_s=TIMEOUT_S
        )
        place = Path(asked.strip())
        if len(os.fsencode(place.with_name(LONGEST_SOCKET))) > SOCKET_BYTES:
            raise InvalidRequest(
                f"The path of the key's home `{self.home}` is too long for GnuPG's sockets",
                hint="Name another one as `repository.signing_key`",
            )
        return place


def _answers(place: Path) -> bool:
    """Tell whether somebody listens at a socket."""
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(place)) == 0


def signing_words(keys: Sequence[str], at_epoch_s: int | None) -> list[str]:
    """Return what gpg is told of who signs, and when; None for now."""
    words = ["--digest-algo", "SHA512"]
    for key in keys:
        words += ["--local-user", key]
    if at_epoch_s is not None:
        words += ["--faked-system-time", f"{at_epoch_s}!"]
    return words


def primary_keys(listing: str) -> dict[str, str]:
    """Return the fingerprint of each key and subkey in a listing, and of the key it belongs to."""
    found: dict[str, str] = {}
    primary, is_first = "", False
    for line in listing.splitlines():
        fields = line.split(":")
        is_first = is_first or fields[0] in {"pub", "sec"}
        if fields[0] == "fpr":
            primary = fields[9] if is_first else primary
            found[fields[9]], is_first = primary, False
    return found


def keys_of(listing: str) -> tuple[Key, ...]:
    """Read gpg's listing of public keys, or of secret ones, with colons."""
    blocks: list[list[list[str]]] = []
    for line in listing.splitlines():
        fields = [*line.split(":"), *[""] * 20]
        if fields[0] in {"sec", "pub"}:
            blocks.append([])
        if blocks:
            blocks[-1].append(fields)
    return tuple(_key(block) for block in blocks)


def _key(rows: list[list[str]]) -> Key:
    first = rows[0]
    return Key(
        fingerprint=next(row[9] for row in rows if row[0] == "fpr"),
        user_id=next((_unescaped(row[9]) for row in rows if row[0] == "uid"), ""),
        algorithm=_algorithm(first),
        created_at=_time(first[5]),
        expires_at=_time(first[6]) if first[6] else None,
        problem=_problem(rows),
    )


def _problem(rows: list[list[str]]) -> str:
    """Say why a key cannot sign; of a key with subkeys one that can is enough."""
    first = rows[0]
    if words := _VALIDITY.get(first[1]):
        when = f" on {_time(first[6]):%Y-%m-%d}" if first[1] == "e" and first[6] else ""
        return f"{words}{when}"
    if "D" in first[11]:
        return "it is disabled"
    signing = [row for row in rows if row[0] in {"sec", "ssb", "pub", "sub"} and "s" in row[11]]
    usable = [row for row in signing if row[1] not in _VALIDITY]
    if not usable:
        return "it is not made for signing" if not signing else "its signing subkeys have expired"
    if first[0] == "sec" and all(row[14] == "#" for row in usable):
        return NOT_HERE
    return ""


def _algorithm(row: list[str]) -> str:
    return row[16] or f"{_ALGORITHMS.get(row[3], row[3])}{row[2]}"


def _time(field: str) -> datetime:
    return datetime.fromtimestamp(int(field), UTC)


def _unescaped(text: str) -> str:
    """Return a user id as it is; gpg writes a colon as its number."""
    return text.replace("\\x3a", ":")
