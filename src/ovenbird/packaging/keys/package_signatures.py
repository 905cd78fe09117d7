"""Signatures in packages: put in before they are published, and looked at again later.

    deb    member `_gpgorigin`: of the bytes of debian-binary, control.tar.* and data.tar.*,
           as debsigs makes and debsig-verify reads it; dpkg and apt pass over it
    rpm    in the signature header, of the header, which has the payload's digest: by rpmsign
    apk, archlinux    none: Alpine's are of a key of their own kind, Arch's in files beside

The time of a signature is the commit's, so that signing twice gives the same bytes. A package
has room for one signature; in a rotation it is the older key's.

Source: deb(5), members that begin with `_`; debsigs(1), "Signature types"; nfpm's deb/deb.go,
`debsign`; rpmsign(8); rpmkeys(8); rpm, macros.in, `__gpg_sign_cmd`. gpgv(1), `--status-fd`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, InvalidRequest, NotFound
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging import ar_files
from ovenbird.packaging.keys.gnupg import Gnupg, primary_keys
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.system.caches import full_disk_errors
from ovenbird.system.commands import run

TIMEOUT_S = 600.0  # a gigabyte is read a few times
ORIGIN = "_gpgorigin"
SIGNED_FORMATS = (PackageFormat.DEB, PackageFormat.RPM)
_SIGNED = re.compile(r"debian-binary|(control|data)\.tar(\.\w+)?")  # in their order in the deb
_RPM_SIGNATURE = re.compile(r"\bSignature, key ID ([0-9a-f]+): (\w+)")

SignatureOf = Callable[[Path, PackageFormat], str]
"""Returns the fingerprint of the key that signed a package; empty when nobody did."""


def sign_package(path: Path, format_: PackageFormat, key: SigningKey, *, epoch_s: int) -> str:
    """Put a signature into a package; return the key's fingerprint, or nothing for no signature.

    One that is there is replaced. The package is changed in one step, or not at all.

    Args:
        path: The package.
        format_: Its format; only deb and rpm are signed.
        key: Who signs.
        epoch_s: The commit's time, seconds since 1970.

    Raises:
        NotFound: The package is gone, or the secret half of the key.
        InvalidRequest: The package is damaged, or the key cannot sign.
        CommandFailed: `rpmsign` is not installed, or refused.
        OvenbirdError: The disk is full.
    """
    if format_ not in SIGNED_FORMATS:
        return ""
    if not path.exists():
        raise NotFound(f"The package `{path}` is gone", hint="Start the release again")
    with full_disk_errors(path.parent), key.session(), _beside(path) as part:
        if format_ is PackageFormat.DEB:
            _sign_deb(path, part, key, epoch_s=epoch_s)
        else:
            shutil.copyfile(path, part)
            _sign_rpm(part, key, epoch_s=epoch_s)
        part.chmod(path.stat().st_mode)
        part.replace(path)
        return key.fingerprint()


@contextmanager
def signatures(public_keys: bytes) -> Iterator[SignatureOf]:
    """Give what tells who signed a package, among some keys and no others.

    It raises InvalidRequest for a package that is damaged, or was changed after it was signed,
    and for a signature of another key.

    Args:
        public_keys: In binary, as :meth:`SigningKey.known` returns them.
    """
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as folder:
        known = _KnownKeys(Path(folder), public_keys)
        yield known.signature_of


def signature_of(path: Path, format_: PackageFormat, *, public_keys: bytes) -> str:
    """Return who signed one package; see :func:`signatures`.

    Raises:
        InvalidRequest: It is damaged, or its signature is bad, or of another key.
    """
    with signatures(public_keys) as look:
        return look(path, format_)


class _KnownKeys:
    """Public keys where gpgv and rpmkeys find them: a key ring, and a database of rpm's."""

    def __init__(self, folder: Path, public_keys: bytes) -> None:
        self._folder, self._ring = folder, folder / "known.gpg"
        self._ring.write_bytes(public_keys)
        gnupg = Gnupg(folder / "home")
        gnupg.make()
        with gnupg.held():
            gnupg.run("--import", self._ring)
            self._primary = primary_keys(gnupg.run("--list-keys", "--with-colons"))
            primaries = sorted(set(self._primary.values()))
            self._armored = [gnupg.export([one], armor=True) for one in primaries]
        self._database = folder / "rpm"

    def signature_of(self, path: Path, format_: PackageFormat) -> str:
        """See :func:`signatures`."""
        if not path.exists():
            raise NotFound(f"The package `{path}` is gone")
        if format_ is PackageFormat.DEB:
            return self._deb(path)
        return self._rpm(path) if format_ is PackageFormat.RPM else ""

    def _deb(self, path: Path) -> str:
        found = ar_files.members(path)
        own = [member for member in found if member.name == ORIGIN]
        if not own:
            return ""
        data, signature = self._folder / "data", self._folder / "signature"
        _write_signed(path, found, data)
        with path.open("rb") as source, signature.open("wb") as target:
            ar_files.copy(source, target, start=own[0].begins_at, size=own[0].size)
        try:
            words = ["gpgv", "--keyring", str(self._ring), "--status-fd", "1"]
            said = run([*words, signature, data], timeout_s=TIMEOUT_S)
        except CommandFailed as error:
            raise _bad(path, str(error.facts.get("stderr", error))) from error
        finally:
            data.unlink()
        valid = [line.split() for line in said.splitlines() if line.startswith("[GNUPG:] VALIDSIG")]
        if len(valid) != 1:
            raise _bad(path, f"{len(valid)} signatures where one is due")
        return valid[0][-1]  # the primary key's fingerprint

    def _rpm(self, path: Path) -> str:
        self._import()
        words = ["rpmkeys", "--dbpath", str(self._database), "--checksig", "--verbose"]
        said = run([*words, path], timeout_s=TIMEOUT_S, ok=frozenset({0, 1}))  # 1: not right
        lines = [line.strip() for line in said.splitlines()[1:]]
        wrong = [line for line in lines if not line.endswith(": OK")]
        if wrong or not lines:
            raise _bad(path, "; ".join(wrong) or "rpm cannot read it")
        found = {match[1] for line in lines if (match := _RPM_SIGNATURE.search(line))}
        names = {
            self._primary[one]
            for one in self._primary
            if any(one.lower().endswith(short) for short in found)
        }
        return min(names, default="")

    def _import(self) -> None:
        if self._database.exists():
            return
        self._database.mkdir()
        for number, armored in enumerate(self._armored):
            file = self._folder / f"{number}.asc"
            file.write_bytes(armored)
            words = ["rpmkeys", "--dbpath", str(self._database), "--import"]
            run([*words, file], timeout_s=TIMEOUT_S)


def _bad(path: Path, words: str) -> InvalidRequest:
    return InvalidRequest(
        f"The signature of `{path}` is not right: {' '.join(words.split())}",
        hint="The package was changed after it was signed, or by a key that is not known here",
    )


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a file beside a package that can take its place; gone when the block fails."""
    with tempfile.TemporaryDirectory(prefix=".sign-", dir=path.parent) as folder:
        yield Path(folder) / path.name


def _sign_deb(path: Path, part: Path, key: SigningKey, *, epoch_s: int) -> None:
    found = ar_files.members(path)
    data = part.with_name("data")
    _write_signed(path, found, data)
    at = key.signing_time(epoch_s)
    member = ar_files.member_bytes(ORIGIN, key.sign_package(data, at_epoch_s=at), epoch_s=at)
    data.unlink()
    with path.open("rb") as source, part.open("wb") as target:
        target.write(ar_files.MAGIC)
        for one in found:
            if one.name != ORIGIN:
                ar_files.copy(
                    source, target, start=one.head_at, size=ar_files.HEAD_BYTES + one.size
                )
                target.write(b"\n" * (one.size % 2))
        target.write(member)


def _write_signed(path: Path, found: tuple[ar_files.Member, ...], target: Path) -> None:
    """Write what a deb's signature is of: the bytes of its three members in a row.

    Raises:
        InvalidRequest: The deb has not these three.
    """
    signed = [member for member in found if _SIGNED.fullmatch(member.name)]
    kinds = [member.name.partition(".")[0] for member in signed]
    if kinds != ["debian-binary", "control", "data"]:
        raise InvalidRequest(f"`{path}` is no deb: its members are {[one.name for one in found]}")
    with path.open("rb") as source, target.open("wb") as file:
        for member in signed:
            ar_files.copy(source, file, start=member.begins_at, size=member.size)


def _sign_rpm(part: Path, key: SigningKey, *, epoch_s: int) -> None:
    line = key.gpg_line(epoch_s)
    gpg = shutil.which(line[0]) or line[0]
    # The first word is the program, the others its argv; rpm sets the two file names.
    words = " ".join(shlex.quote(word).replace("%", "%%") for word in (gpg, *line))
    signing = f"{words} --no-armor --detach-sign --output %{{shescape:%{{__signature_filename}}}}"
    signing += " %{?__plaintext_filename:-- %{shescape:%{__plaintext_filename}}}"
    macros = {
        "_gpg_name": key.fingerprint(),
        "_gpg_path": str(key.home).replace("%", "%%"),
        "__gpg_sign_cmd": signing,
    }
    options = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    run(["rpmsign", *options, "--addsign", part], timeout_s=TIMEOUT_S)
