"""Signatures by GnuPG, with a home directory of our own and a key made when there is none.

Source: gpg(1), `--quick-generate-key`, `--clear-sign`, `--detach-sign`; apt-secure(8).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.system.commands import run
from ovenbird.system.locks import file_lock

TIMEOUT_S = 60.0
USER_ID = "Ovenbird repository signing key"
DIGEST = "SHA512"


class SigningKey:
    """The key that signs repositories.

    Args:
        home: GnuPG's home directory, readable by its owner only.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def ensure(self) -> Path:
        """Make the key unless it is there; return the path of its public half (binary)."""
        public = self._home / "public.gpg"
        with self._agent():
            if not public.exists():
                self._make(public)
        return public

    def _make(self, public: Path) -> None:
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._home.chmod(0o700)
        if not self._gpg("--list-secret-keys", "--with-colons").strip():
            self._gpg("--passphrase", "", "--quick-generate-key", USER_ID, "ed25519", "sign", "0")
        part = public.with_suffix(".part")
        self._gpg("--yes", "--output", str(part), "--export")
        part.replace(public)

    def clear_sign(self, path: Path, target: Path) -> None:
        """Write *path* with its signature around it to *target* (``InRelease``)."""
        self._sign("--clear-sign", path, target)

    def detach_sign(self, path: Path, target: Path) -> None:
        """Write the signature alone, armoured, to *target* (``Release.gpg``)."""
        self._sign("--detach-sign", path, target)

    def _sign(self, how: str, path: Path, target: Path) -> None:
        words = ["--yes", "--armor", "--digest-algo", DIGEST, "--output", str(target)]
        with self._agent():
            self._gpg(*words, how, str(path))

    def _gpg(self, *words: str) -> str:
        head = ["gpg", "--homedir", str(self._home), "--batch", "--no-tty"]
        return run([*head, "--pinentry-mode", "loopback", *words], timeout_s=TIMEOUT_S)

    @contextmanager
    def _agent(self) -> Iterator[None]:
        """Hold the key alone, and end the agent that gpg starts and that would outlive us."""
        with file_lock(self._home.with_name(f"{self._home.name}.lock")):
            try:
                yield
            finally:
                if self._home.exists():
                    run(["gpgconf", "--homedir", self._home, "--kill", "all"], timeout_s=TIMEOUT_S)
