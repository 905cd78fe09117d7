"""The key that signs packages and repositories, from its making to its end.

    HOME/                      a GnuPG home: our own, or one that was there before
    HOME/ovenbird-keys         which of its keys sign, and which did
    HOME/public.gpg            what clients accept: the public halves of all keys that sign
    HOME.lock                  held by who works with the home

A new key takes over in two steps. ``rotate`` adds it: from then on repositories are signed by
both, and clients get both. ``retire`` drops the old one: who has only that one is left behind.
Between the two a client that knows either key accepts every state (apt: one good signature is
enough). A package has room for one signature, which is the older key's until it retires.

New keys are RSA of 3072 bits: rpm before 4.17, and that of RHEL 9, know no Ed25519.
Signatures of both kinds are the same bytes each time, when the time is the same.

Source: gpg(1), `--quick-generate-key`, `--clear-sign`, `--detach-sign`, `--faked-system-time`;
apt-secure(8); rpm issues 1565 and 1877 (Ed25519).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, Conflict, InvalidRequest, NotFound
from ovenbird.domain.keys import Key
from ovenbird.domain.ports import Clock
from ovenbird.packaging.keys.gnupg import NOT_HERE, PASSPHRASE, Gnupg, signing_words
from ovenbird.packaging.keys.key_files import file_bytes, tried_key
from ovenbird.packaging.keys.ledger import AT_ONCE, Ledger, read_ledger, replace_file, write_ledger
from ovenbird.system.clock import SystemClock

USER_ID = "Ovenbird repository signing key"
ALGORITHM = "rsa3072"
LEDGER = "ovenbird-keys"
PUBLIC = "public.gpg"


class SigningKey:
    """The keys of one repository, in one GnuPG home; safe to use from several threads.

    Whatever signs makes a first key when there is none, and raises, before anything is signed:
    InvalidRequest when a key has expired or was revoked, or it is not clear which one signs;
    NotFound when the secret half of a key that signs is gone.

    Args:
        home: GnuPG's home directory.
        algorithm: Of the keys that are made, in gpg's words.
        clock: No signature is dated later than now.
    """

    def __init__(
        self, home: Path, *, algorithm: str = ALGORITHM, clock: Clock | None = None
    ) -> None:
        self._gnupg = Gnupg(home)
        self._algorithm, self._clock = algorithm, clock or SystemClock()
        self._deciding = threading.RLock()  # by one thread: which keys sign
        self._looked: tuple[int, tuple[Key, ...]] = (0, ())  # in which session, and what signs

    @property
    def home(self) -> Path:
        """GnuPG's home directory."""
        return self._gnupg.home

    @property
    def public(self) -> Path:
        """What clients accept (binary); not there before :meth:`ensure`."""
        return self.home / PUBLIC

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the home and its agent for several signatures; one alone does it by itself.

        Threads that sign meanwhile, with this object, share both.
        """
        with self._gnupg.held():
            yield

    def ensure(self) -> Path:
        """Make a key unless there is one; return the path of what clients accept (binary).

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            self._signing()
        return self.public

    def check(self, known: Collection[str]) -> None:
        """Refuse to go on with another key than the one that clients have; makes none.

        Args:
            known: Fingerprints of the keys that signed what is served now; may be empty.

        Raises:
            NotFound: None of them signs, or has signed, here.
        """
        with self.session():
            ledger = self._ledger()  # which of its keys retired, and when, was decided here
        missing = [one for one in known if one not in {*ledger.retired, *ledger.lost}]
        if not missing or set(known) & set(ledger.signs):
            return
        words = ", ".join(f"`{one}`" for one in missing)
        raise NotFound(
            f"The repository was signed by {words}, which does not sign here: `{self.home}`",
            hint="Bring the home back, or `ovenbird key import` the key; if it is lost:"
            f" `ovenbird key rotate --lost {missing[0]}`, and give clients the new key",
            home=str(self.home),
        )

    def list_keys(self) -> tuple[Key, ...]:
        """Return all keys of the home and what each is for; nothing is made or changed."""
        with self.session():
            ledger, secret = self._ledger(), self._gnupg.secret_keys()
            gone = {*ledger.signs, *ledger.retired} - {key.fingerprint for key in secret}
            public = self._gnupg.public_keys() if gone else ()
        halves = [
            replace(k, problem=k.problem or NOT_HERE) for k in public if k.fingerprint in gone
        ]
        found = [replace(key, role=ledger.role(key.fingerprint)) for key in (*secret, *halves)]
        order = [*ledger.retired, *ledger.signs]  # of keys that were made in the same second
        order += [key.fingerprint for key in found]
        return tuple(sorted(found, key=lambda one: (one.created_at, order.index(one.fingerprint))))

    def fingerprints(self) -> tuple[str, ...]:
        """Return the keys that sign repositories, oldest first.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            return tuple(key.fingerprint for key in self._signing())

    def fingerprint(self) -> str:
        """Return the key that signs packages: the oldest one that signs.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        return self.fingerprints()[0]

    def clear_sign(self, data: bytes) -> bytes:
        """Return text with the signatures of all keys around it, as ``InRelease`` has them.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            return self._gnupg.sign("--clear-sign", data, keys=self.fingerprints())

    def detach_sign(self, data: bytes | Path, *, at_epoch_s: int | None = None) -> bytes:
        """Return the signatures of all keys alone, armoured, as ``Release.gpg`` has them.

        Args:
            data: Bytes, or the file that has them.
            at_epoch_s: When the signature says it was made (:meth:`signing_time`), so that the
                same data gives the same bytes; None for now.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            at = None if at_epoch_s is None else self.signing_time(at_epoch_s)
            keys = self.fingerprints()
            return self._gnupg.sign("--detach-sign", data, keys=keys, at_epoch_s=at)

    def gpg_line(self, at_epoch_s: int) -> list[str]:
        """Return how gpg is called, by who runs it itself, to sign as a package is signed.

        Only good inside of a :meth:`session`.

        Args:
            at_epoch_s: When the signature says it was made; see :meth:`signing_time`.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        words = signing_words([self.fingerprint()], self.signing_time(at_epoch_s))
        return [*map(str, self._gnupg.head()), *words]

    def sign_package(self, data: Path, *, at_epoch_s: int) -> bytes:
        """Return the signature of the key that signs packages, alone and armoured.

        Args:
            data: The file that has what is signed.
            at_epoch_s: When the signature says it was made; see :meth:`signing_time`.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            at, keys = self.signing_time(at_epoch_s), [self.fingerprint()]
            return self._gnupg.sign("--detach-sign", data, keys=keys, at_epoch_s=at)

    def signing_time(self, epoch_s: int) -> int:
        """Return the time nearest to this one at which a signature counts.

        One from before its key was made, or from the future, is refused by gpg and rpm.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            made = max(int(key.created_at.timestamp()) for key in self._signing())
        return max(made, min(epoch_s, int(self._clock.now().timestamp())))

    def rotate(self, *, lost: Collection[str] = ()) -> str:
        """Make a new key, which signs beside the old one; return its fingerprint.

        Args:
            lost: Keys that signed once and are gone for good: they are accepted as such.

        Raises:
            Conflict: Two keys sign already.
            InvalidRequest, NotFound: The old key cannot sign; see the class.
        """
        with self.session(), self._deciding:
            ledger = self._ledger().given_up(*lost)
            ledger.refuse_third()
            self._usable(ledger)
            self._make(ledger)
            return self.fingerprints()[-1]

    def retire(self) -> str:
        """Let the older of two keys sign no more; return its fingerprint.

        Its secret half stays in the home; ``gpg --delete-secret-keys`` removes it.

        Raises:
            Conflict: There is no second key.
            InvalidRequest, NotFound: The new key cannot sign; see the class.
        """
        with self.session(), self._deciding:
            ledger = self._ledger()
            if len(ledger.signs) < AT_ONCE:
                raise Conflict(
                    "There is no second key that could go on alone",
                    hint="`ovenbird key rotate` makes one; retire the old key when clients have it",
                )
            old, ledger = ledger.signs[0], ledger.with_oldest_retired()
            self._usable(ledger)
            self._write(ledger)
            self._signing()
        return old

    def try_file(self, path: Path, *, passphrase_file: Path | None = None) -> str:
        """See that a key from a file could sign here, and change nothing.

        Args:
            path: A secret key, armoured or binary.
            passphrase_file: Its first line is the key's pass phrase.

        Returns:
            The key's fingerprint.

        Raises:
            NotFound: There is no such file.
            InvalidRequest: It has no secret key, or several, or one that cannot sign.
            Conflict: Two keys sign already.
        """
        secret = file_bytes(passphrase_file) if passphrase_file else b""
        fingerprint = tried_key(path, passphrase=secret)
        with self.session():
            ledger = self._ledger()
            others = ledger.without(fingerprint)
            if fingerprint not in ledger.signs:
                ledger.refuse_third()
            if others.signs and secret != self._gnupg.passphrase():
                raise InvalidRequest(
                    "Keys that sign together share one pass phrase, or have none",
                    hint="Change that of the new key by `gpg --change-passphrase`, export it again",
                )
            self._usable(others)
        return fingerprint

    def import_file(self, path: Path, *, passphrase_file: Path | None = None) -> str:
        """Let a key from a file sign, beside the one that signs now; return its fingerprint.

        A copy of the pass phrase stays in the home. For arguments and errors see
        :meth:`try_file`.
        """
        with self.session(), self._deciding:
            fingerprint = self.try_file(path, passphrase_file=passphrase_file)
            others = self._ledger().without(fingerprint)
            self._gnupg.make()
            self._gnupg.run("--import", path)
            self._gnupg.keep_passphrase(file_bytes(passphrase_file) if passphrase_file else b"")
            self._write(replace(others, signs=(*others.signs, fingerprint)))
            self._signing()
        return fingerprint

    def export(self, *, armor: bool = False) -> bytes:
        """Return what clients accept: the public halves of all keys that sign.

        Raises:
            InvalidRequest, NotFound: See the class.
        """
        with self.session():
            return self._gnupg.export(self.fingerprints(), armor=armor)

    def known(self) -> bytes:
        """Return the public halves of all keys that sign or have signed, in binary; makes none.

        Raises:
            NotFound: There is none.
            InvalidRequest: See the class.
        """
        with self.session():
            ledger = self._ledger()
            if not ledger.signs:
                raise NotFound(
                    f"There is no signing key in `{self.home}`",
                    hint="Bring the home back, or `ovenbird key import` the key",
                )
            return self._gnupg.export([*self.fingerprints(), *ledger.retired])

    def _signing(self) -> tuple[Key, ...]:
        """Return the keys that sign, once in a session looked at, tried and given out."""
        with self._deciding:
            if self._looked[0] != self._gnupg.sessions:
                self._looked = (self._gnupg.sessions, self._signing_now())
            return self._looked[1]

    def _signing_now(self) -> tuple[Key, ...]:
        ledger = self._ledger()
        if not ledger.signs:
            ledger = self._make(ledger)
        found = self._usable(ledger)
        names = [key.fingerprint for key in found]
        self._try_passphrase(names)
        data, path = self._gnupg.export(names), self.public
        if not path.exists() or path.read_bytes() != data:
            replace_file(path, data)
        if not (self.home / LEDGER).exists():
            self._write(ledger)
        return found

    def _try_passphrase(self, names: Collection[str]) -> None:
        if not (self.home / PASSPHRASE).exists():
            return
        try:
            self._gnupg.sign("--detach-sign", b"", keys=tuple(names))
        except CommandFailed as error:
            raise InvalidRequest(
                f"The pass phrase in `{self.home / PASSPHRASE}` is not that of the signing key",
                hint="Write the right one into its first line",
            ) from error

    def _make(self, ledger: Ledger) -> Ledger:
        """Make a key that signs beside those of the ledger."""
        self._gnupg.make()
        before = {key.fingerprint for key in self._gnupg.secret_keys()}
        empty = () if (self.home / PASSPHRASE).exists() else ("--passphrase", "")
        self._gnupg.run(*empty, "--quick-generate-key", USER_ID, self._algorithm, "sign", "0")
        (made,) = {key.fingerprint for key in self._gnupg.secret_keys()} - before
        ledger = replace(ledger, signs=(*ledger.signs, made))
        self._write(ledger)
        return ledger

    def _usable(self, ledger: Ledger) -> tuple[Key, ...]:
        """Return the keys that sign, or say what is wrong with one."""
        found = {key.fingerprint: key for key in self.list_keys()}
        for one in ledger.signs:
            key = found.get(one)
            if key is None or key.problem == NOT_HERE:
                raise NotFound(
                    f"The secret half of the signing key `{one}` is not in `{self.home}`",
                    hint="`ovenbird key import FILE` brings it back; if it is lost:"
                    f" `ovenbird key rotate --lost {one}`",
                    fingerprint=one,
                )
            if key.problem:
                raise InvalidRequest(
                    f"The signing key `{one}` cannot sign: {key.problem}",
                    hint=f"`gpg --homedir {self.home} --quick-set-expire {one} 2y` makes one that"
                    f" expired last longer; `ovenbird key rotate --lost {one}` replaces it",
                    fingerprint=one,
                )
        return tuple(found[one] for one in ledger.signs)

    def _ledger(self) -> Ledger:
        """Return which keys are for what; the one key of a home that was there before signs."""
        path = self.home / LEDGER
        if (ledger := read_ledger(path)) is not None:
            return ledger
        found = self._gnupg.secret_keys()
        usable = [key for key in found if not key.problem] or found
        if len(usable) > 1:
            raise InvalidRequest(
                f"`{self.home}` has {len(usable)} keys, and it is not clear which one signs",
                hint=f"Write `signs FINGERPRINT` into `{path}`",
            )
        return Ledger(signs=tuple(key.fingerprint for key in usable))

    def _write(self, ledger: Ledger) -> None:
        self._looked = (0, ())
        write_ledger(self.home / LEDGER, ledger)
