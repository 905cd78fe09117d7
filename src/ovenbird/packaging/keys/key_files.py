"""Secret keys in files: each is tried before it may change anything."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, InvalidRequest, NotFound
from ovenbird.domain.keys import Key
from ovenbird.packaging.keys.gnupg import Gnupg


def file_bytes(path: Path) -> bytes:
    """Return what a file has.

    Raises:
        NotFound: There is none.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"There is no file `{path}`") from error


def tried_key(path: Path, *, passphrase: bytes) -> str:
    """Sign with a key in a home that is thrown away; return its fingerprint.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: It has no secret key, or several, or one that cannot sign.
    """
    data = file_bytes(path)
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as folder:
        gnupg = Gnupg(Path(folder) / "home")
        gnupg.make()
        # The pass phrase lies beside it: to stretch it well would take seconds for nothing.
        (gnupg.home / "gpg-agent.conf").write_text("s2k-count 65536\n")
        with gnupg.held():
            key = _imported(gnupg, path, data)
            gnupg.keep_passphrase(passphrase)
            try:
                gnupg.sign("--detach-sign", b"", keys=[key.fingerprint])
            except CommandFailed as error:
                raise InvalidRequest(
                    f"The key in `{path}` cannot sign: its pass phrase is another one",
                    hint="Name the file that has it by `--passphrase-file`",
                ) from error
            return key.fingerprint


def _imported(gnupg: Gnupg, path: Path, data: bytes) -> Key:
    """Import the one secret key of a file."""
    copy = gnupg.home / "imported"
    copy.touch(mode=0o600)
    copy.write_bytes(data)
    try:
        gnupg.run("--import", copy)
    except CommandFailed as error:
        raise InvalidRequest(f"`{path}` has no OpenPGP key") from error
    found = gnupg.secret_keys()
    if len(found) != 1:
        raise InvalidRequest(
            f"`{path}` has {len(found)} secret keys",
            hint="`gpg --export-secret-keys FINGERPRINT` writes one",
        )
    if found[0].problem:
        raise InvalidRequest(f"The key in `{path}` cannot sign: {found[0].problem}")
    return found[0]
