"""Signatures by GnuPG, with a home directory of our own and a key made when there is none.

Source: gpg(1), `--quick-generate-key`, `--clear-sign`, `--detach-sign`; apt-secure(8).
"""

from __future__ import annotations

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
        with file_lock(self._home.with_suffix(".lock")):
            if not public.exists():
                self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._home.chmod(0o700)
                if not self._gpg("--list-secret-keys", "--with-colons").strip():
                    self._gpg(
                        "--passphrase", "", "--quick-generate-key", USER_ID, "ed25519", "sign", "0"
                    )
                part = public.with_suffix(".part")
                self._gpg("--yes", "--output", str(part), "--export")
                part.replace(public)
        self._forget_agent()
        return public

    def clear_sign(self, path: Path, target: Path) -> None:
        """Write *path* with its signature around it to *target* (``InRelease``)."""
        self._sign("--clear-sign", path, target)

    def detach_sign(self, path: Path, target: Path) -> None:
        """Write the signature alone, armoured, to *target* (``Release.gpg``)."""
        self._sign("--detach-sign", path, target)

    def _sign(self, how: str, path: Path, target: Path) -> None:
        self._gpg(
            "--yes", "--armor", "--digest-algo", DIGEST, "--output", str(target), how, str(path)
        )
        self._forget_agent()

    def _gpg(self, *words: str) -> str:
        head = ["gpg", "--homedir", str(self._home), "--batch", "--no-tty"]
        return run([*head, "--pinentry-mode", "loopback", *words], timeout_s=TIMEOUT_S)

    def _forget_agent(self) -> None:
        # gpg starts an agent that would outlive us.
        run(["gpgconf", "--homedir", self._home, "--kill", "all"], timeout_s=TIMEOUT_S)
