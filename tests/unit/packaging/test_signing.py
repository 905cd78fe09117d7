from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, Conflict, InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.keys import KeyRole
from ovenbird.packaging.keys.gnupg import Gnupg
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.system.clock import await_true
from ovenbird.system.commands import run

FAST = "ed25519"  # an RSA key takes a second
SESAME = "open sesame"
LATER = 4_000_000_000  # seconds since 1970, after all keys were made


class Tomorrow:
    """A clock that is far ahead."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(LATER + 1, UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey(tmp_path / "keys", algorithm=FAST)


def verified(keyring: Path, signature: bytes, data: bytes, folder: Path) -> list[str]:
    """Return the primary keys whose signatures gpgv finds good."""
    (folder / "signature").write_bytes(signature)
    (folder / "data").write_bytes(data)
    head: list[str | Path] = ["gpgv", "--keyring", keyring, "--status-fd", "1"]
    lines = run(
        [*head, folder / "signature", folder / "data"], timeout_s=20, ok=frozenset({0, 1, 2})
    ).splitlines()
    return [line.split()[-1] for line in lines if line.startswith("[GNUPG:] VALIDSIG")]


def gpg(home: Path, *words: str | Path, passphrase: str = "") -> str:
    head: list[str | Path] = [
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--yes",
        "--pinentry-mode",
        "loopback",
    ]
    try:
        return run([*head, "--passphrase", passphrase, *words], timeout_s=20)
    finally:
        run(["gpgconf", "--homedir", home, "--kill", "all"], timeout_s=20)


def quick(home: Path) -> None:
    """Let pass phrases be stretched less than by default, which takes seconds."""
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "gpg-agent.conf").write_text("s2k-count 65536\n")


def foreign_key(
    home: Path, *, name: str = "Release Team", passphrase: str = "", expires: str = "0"
) -> str:
    """Make a key as somebody else would; return its fingerprint."""
    quick(home)
    gpg(home, "--quick-generate-key", name, FAST, "sign", expires, passphrase=passphrase)
    listing = gpg(home, "--list-keys", "--with-colons", name)
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))


def exported(home: Path, target: Path, *words: str, passphrase: str = "") -> Path:
    gpg(home, *words, "--output", target, "--export-secret-keys", passphrase=passphrase)
    return target


def test_a_key_is_made_once_and_kept_to_the_owner(key: SigningKey) -> None:
    first = key.ensure().read_bytes()
    second = SigningKey(key.home).ensure().read_bytes()

    assert first == second == key.export()
    assert key.home.stat().st_mode & 0o777 == 0o700
    secrets = list(key.home.glob("private-keys-v1.d/*"))
    assert secrets
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_modes_are_tightened(key: SigningKey) -> None:
    key.ensure()
    (secret,) = key.home.glob("private-keys-v1.d/*")
    key.home.chmod(0o755)
    secret.chmod(0o644)

    key.fingerprint()

    assert key.home.stat().st_mode & 0o777 == 0o700
    assert secret.stat().st_mode & 0o777 == 0o600


def test_new_keys_are_of_the_kind_that_old_rpms_know(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "keys")
    key.ensure()

    assert [one.algorithm for one in key.list_keys()] == ["rsa3072"]


def test_what_is_signed_can_be_checked_by_the_public_keys(key: SigningKey, tmp_path: Path) -> None:
    public, data = key.ensure(), b"\0\xffpackage\n"
    signature = key.detach_sign(data)
    inline = key.clear_sign(b"Origin: ovenbird\n")
    (tmp_path / "inline").write_bytes(inline)

    assert verified(public, signature, data, tmp_path) == [key.fingerprint()]
    assert verified(public, signature, data + b"x", tmp_path) == []
    assert run(
        ["gpgv", "--keyring", public, "--output", "-", tmp_path / "inline"], timeout_s=20
    ) == "Origin: ovenbird\n"  # fmt: skip


def test_the_same_time_gives_the_same_bytes(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "keys", algorithm=FAST, clock=Tomorrow())
    (tmp_path / "file").write_bytes(b"package")
    signed = [key.detach_sign(b"package", at_epoch_s=LATER) for _ in range(2)]

    assert signed[0] == signed[1] == key.detach_sign(tmp_path / "file", at_epoch_s=LATER)
    assert key.detach_sign(b"package", at_epoch_s=LATER - 1) != signed[0]


def test_no_signature_is_older_than_its_key_or_from_the_future(
    key: SigningKey, tmp_path: Path
) -> None:
    public = key.ensure()
    made = int(key.list_keys()[0].created_at.timestamp())
    early, late = key.detach_sign(b"1", at_epoch_s=1), key.detach_sign(b"1", at_epoch_s=LATER)

    assert key.signing_time(1) == made
    assert made <= key.signing_time(LATER) < LATER
    assert verified(public, early, b"1", tmp_path) == [key.fingerprint()]
    assert verified(public, late, b"1", tmp_path) == [key.fingerprint()]


def agents(home: Path) -> list[str]:
    """Return the processes that work for a home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"gpg-agent" and os.fsencode(home) in words:
            found.append(process.name)
    return found


def test_a_session_holds_one_agent_which_ends_with_it(key: SigningKey) -> None:
    with key.session():
        key.clear_sign(b"1")
        during = agents(key.home)
        key.detach_sign(b"1")

        assert agents(key.home) == during
        assert len(during) == 1
    await_true(lambda: not agents(key.home), within=timedelta(seconds=10))


def test_in_a_rotation_both_keys_sign_and_then_the_new_one(key: SigningKey, tmp_path: Path) -> None:
    before = tmp_path / "before.gpg"
    before.write_bytes(key.ensure().read_bytes())
    old = key.fingerprint()
    new = key.rotate()
    both, public = key.detach_sign(b"1"), key.ensure()
    roles = {one.fingerprint: one.role for one in key.list_keys()}

    assert key.fingerprints() == (old, new)
    assert key.fingerprint() == old
    assert sorted(verified(public, both, b"1", tmp_path)) == sorted([old, new])
    assert verified(before, both, b"1", tmp_path) == [old]
    assert roles == {old: KeyRole.SIGNS, new: KeyRole.SIGNS}
    with pytest.raises(Conflict, match="Two keys"):
        key.rotate()

    assert key.retire() == old
    alone = key.detach_sign(b"1")
    assert key.fingerprints() == (new,)
    assert verified(key.ensure(), alone, b"1", tmp_path) == [new]
    assert verified(before, alone, b"1", tmp_path) == []
    (tmp_path / "known.gpg").write_bytes(key.known())
    assert len(verified(tmp_path / "known.gpg", both, b"1", tmp_path)) == 2
    assert {one.fingerprint: one.role for one in key.list_keys()} == {
        old: KeyRole.RETIRED,
        new: KeyRole.SIGNS,
    }
    with pytest.raises(Conflict, match="no second key"):
        key.retire()


def apt_update(repository: Path, keyring: Path, home: Path) -> None:
    """Read a flat repository with real apt, which must find nothing to complain about."""
    (home / "lists/partial").mkdir(parents=True, exist_ok=True)
    source = home / "sources.list"
    source.write_text(f"deb [signed-by={keyring}] file:{repository} ./\n")
    options = {
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": "/dev/null",
        "Dir::State": home,
        "Dir::State::lists": home / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": home / "cache",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *words, "update"], timeout_s=60)


def test_apt_accepts_a_state_of_the_overlap_with_either_key_alone(
    key: SigningKey, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "Packages").write_bytes(b"")
    digest = hashlib.sha256(b"").hexdigest()
    release = f"Suite: ./\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {digest} 0 Packages\n"
    old = key.fingerprint()
    new = key.rotate()
    (repository / "InRelease").write_bytes(key.clear_sign(release.encode()))
    stranger = SigningKey(tmp_path / "stranger", algorithm=FAST).ensure()

    for one in (old, new):
        alone = tmp_path / f"{one}.gpg"
        alone.write_bytes(Gnupg(key.home).export([one]))
        apt_update(repository, alone, tmp_path / f"apt-{one}")
    with pytest.raises(CommandFailed) as caught:
        apt_update(repository, stranger, tmp_path / "apt-stranger")
    assert "NO_PUBKEY" in str(caught.value.facts["stderr"])


@pytest.mark.parametrize("words", [("--armor",), ()])
def test_a_key_from_a_file_signs(key: SigningKey, tmp_path: Path, words: tuple[str, ...]) -> None:
    theirs = foreign_key(tmp_path / "theirs")
    file = exported(tmp_path / "theirs", tmp_path / "secret", *words)

    assert key.import_file(file) == theirs
    assert key.import_file(file) == theirs
    assert key.fingerprints() == (theirs,)
    assert verified(key.ensure(), key.detach_sign(b"1"), b"1", tmp_path) == [theirs]


def test_a_key_with_a_pass_phrase_signs_when_its_file_is_named(
    key: SigningKey, tmp_path: Path
) -> None:
    theirs = foreign_key(tmp_path / "theirs", passphrase=SESAME)
    file = exported(tmp_path / "theirs", tmp_path / "secret", passphrase=SESAME)
    quick(key.home)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("open sesame\n")
    wrong.write_text("close sesame\n")

    for passphrase in (None, wrong):
        with pytest.raises(InvalidRequest, match="pass phrase"):
            key.import_file(file, passphrase_file=passphrase)
    assert key.list_keys() == ()
    assert key.import_file(file, passphrase_file=right) == theirs
    assert verified(key.ensure(), key.detach_sign(b"1"), b"1", tmp_path) == [theirs]
    assert (key.home / "passphrase").stat().st_mode & 0o777 == 0o600
    new = key.rotate()
    assert sorted(verified(key.ensure(), key.detach_sign(b"1"), b"1", tmp_path)) == sorted(
        [theirs, new]
    )
    (key.home / "passphrase").write_text("another")
    with pytest.raises(InvalidRequest, match="is not that of the signing key"):
        key.ensure()


def test_an_imported_key_signs_beside_the_one_that_did(key: SigningKey, tmp_path: Path) -> None:
    old = key.fingerprint()
    theirs = foreign_key(tmp_path / "theirs")
    protected = foreign_key(tmp_path / "protected", passphrase=SESAME)
    file = exported(tmp_path / "protected", tmp_path / "other", passphrase=SESAME)
    (tmp_path / "x").write_text(SESAME)

    with pytest.raises(InvalidRequest, match="share one pass phrase"):
        key.import_file(file, passphrase_file=tmp_path / "x")
    key.import_file(exported(tmp_path / "theirs", tmp_path / "secret"))
    assert key.fingerprints() == (old, theirs)
    assert protected not in {one.fingerprint for one in key.list_keys()}
    with pytest.raises(Conflict, match="Two keys"):
        key.import_file(
            exported(Gnupg(tmp_path / "third").home, tmp_path / "third.key")
            if foreign_key(tmp_path / "third")
            else file
        )


def public_only(folder: Path) -> Path:
    foreign_key(folder / "home")
    gpg(folder / "home", "--output", folder / "public", "--export")
    return folder / "public"


def two(folder: Path) -> Path:
    foreign_key(folder / "home")
    foreign_key(folder / "home", name="Another Team")
    return exported(folder / "home", folder / "two")


def rubbish(folder: Path) -> Path:
    (folder / "rubbish").write_bytes(b"no key")
    return folder / "rubbish"


@pytest.mark.parametrize(
    ("make", "words"),
    [(public_only, "0 secret keys"), (two, "2 secret keys"), (rubbish, "no OpenPGP key")],
)
def test_a_file_without_one_secret_key_is_refused(
    make: Callable[[Path], Path], words: str, key: SigningKey, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        key.import_file(make(tmp_path))
    with pytest.raises(NotFound, match="no file"):
        key.import_file(tmp_path / "missing")
    assert key.list_keys() == ()
    assert not (tmp_path / "keys").exists()


def test_a_home_that_was_there_is_used_as_it_is(tmp_path: Path) -> None:
    theirs = foreign_key(tmp_path / "theirs")
    key = SigningKey(tmp_path / "theirs")

    assert key.fingerprints() == (theirs,)
    foreign_key(tmp_path / "theirs", name="For mail")
    assert key.fingerprints() == (theirs,)


def test_of_several_keys_in_a_home_one_must_be_named(tmp_path: Path) -> None:
    foreign_key(tmp_path / "theirs")
    second = foreign_key(tmp_path / "theirs", name="For packages")
    key = SigningKey(tmp_path / "theirs")

    with pytest.raises(InvalidRequest, match="2 keys") as caught:
        key.ensure()
    assert "ovenbird-keys" in caught.value.hint
    (tmp_path / "theirs/ovenbird-keys").write_text(f"signs {second.lower()}\n")
    assert key.fingerprints() == (second,)
    (tmp_path / "theirs/ovenbird-keys").write_text("sings X\n")
    with pytest.raises(InvalidRequest, match="ovenbird-keys:1: `sings X`"):
        key.ensure()


def expired(home: Path, fingerprint: str) -> None:
    gpg(
        home, "--faked-system-time", "1500000000", "--quick-generate-key", "Old", FAST, "sign", "1d"
    )
    listing = gpg(home, "--list-keys", "--with-colons", "Old")
    old = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    (home / "ovenbird-keys").write_text(f"signs {old}\n")


def revoked(home: Path, fingerprint: str) -> None:
    certificate = home / "openpgp-revocs.d" / f"{fingerprint}.rev"
    armor = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    (home / "revocation").write_text(armor)
    gpg(home, "--import", home / "revocation")


def without_secret(home: Path, fingerprint: str) -> None:
    (secret,) = home.glob("private-keys-v1.d/*.key")
    secret.unlink()


def home_gone(home: Path, fingerprint: str) -> None:
    for path in sorted(home.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (expired, InvalidRequest, "it expired on 2017-07-15"),
        (revoked, InvalidRequest, "it was revoked"),
        (without_secret, NotFound, "secret half"),
    ],
)
def test_a_key_that_cannot_sign_is_said_before_anything_is_signed(
    spoil: Callable[[Path, str], None],
    kind: type[OvenbirdError],
    words: str,
    key: SigningKey,
) -> None:
    spoil(key.home, key.fingerprint())

    for act in (key.ensure, key.fingerprint, key.export, key.rotate, lambda: key.clear_sign(b"")):
        with pytest.raises(kind, match=words) as caught:
            act()
        assert "ovenbird key rotate --lost" in caught.value.hint
    problems = [one.problem for one in key.list_keys() if one.role is KeyRole.SIGNS]
    assert len(problems) == 1
    assert words in problems[0]
    (signing,) = [one.fingerprint for one in key.list_keys() if one.role is KeyRole.SIGNS]
    new = key.rotate(lost=[signing])
    assert key.fingerprints() == (new,)


def test_another_key_than_the_repositorys_is_refused_until_that_is_said_to_be_lost(
    key: SigningKey,
) -> None:
    old = key.fingerprint()
    key.check([old])
    key.check([])
    home_gone(key.home, old)

    with pytest.raises(NotFound, match=old) as caught:
        key.check([old])
    assert f"--lost {old}" in caught.value.hint
    assert key.list_keys() == ()  # a check makes none
    new = key.rotate(lost=[old])
    key.check([old])
    key.check([new])


def test_a_key_that_retired_here_is_none_of_another_place(key: SigningKey) -> None:
    old = key.fingerprint()
    key.rotate()
    key.retire()

    key.check([old])  # of a channel that nothing was published to since


def test_a_home_whose_path_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ("x" * 100)
    home.mkdir(mode=0o700)
    if Path(f"/run/user/{os.geteuid()}").exists():
        key = SigningKey(home, algorithm=FAST)
        assert key.fingerprint() == key.list_keys()[0].fingerprint  # GnuPG's sockets are elsewhere
        return
    with pytest.raises(InvalidRequest, match="too long"):
        SigningKey(home).ensure()


def test_an_agent_that_was_there_stays(key: SigningKey) -> None:
    key.ensure()
    run(["gpg-connect-agent", "--homedir", key.home, "/bye"], timeout_s=20)
    before = agents(key.home)
    try:
        key.clear_sign(b"1")

        assert agents(key.home) == before
        assert len(before) == 1
    finally:
        run(["gpgconf", "--homedir", key.home, "--kill", "all"], timeout_s=20)


def sign_and_stay(key: SigningKey) -> None:
    """Hold a session until somebody kills the process."""
    with key.session():
        key.clear_sign(b"1")
        (key.home / "signed").touch()
        threading.Event().wait()


def test_the_agent_of_a_killed_process_is_ended_by_the_next(key: SigningKey) -> None:
    key.ensure()
    signer = multiprocessing.get_context("fork").Process(target=sign_and_stay, args=(key,))
    signer.start()
    await_true((key.home / "signed").exists, within=timedelta(seconds=30))
    signer.kill()
    signer.join()
    left = agents(key.home)
    key.clear_sign(b"1")

    assert len(left) == 1
    await_true(lambda: not agents(key.home), within=timedelta(seconds=10))


def test_threads_share_a_session_and_one_first_key(key: SigningKey, tmp_path: Path) -> None:
    with key.session(), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: key.detach_sign(b"1"), range(8)))
        assert len(agents(key.home)) == 1

    public = key.ensure()
    assert len(key.list_keys()) == 1
    assert all(verified(public, one, b"1", tmp_path) == [key.fingerprint()] for one in found)


def test_many_sign_at_once(key: SigningKey, tmp_path: Path) -> None:
    several = [key, SigningKey(key.home, algorithm=FAST), SigningKey(key.home, algorithm=FAST)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: several[number % 3].detach_sign(b"1"), range(6)))

    public = key.ensure()
    assert len(key.list_keys()) == 1
    assert all(verified(public, one, b"1", tmp_path) == [key.fingerprint()] for one in found)
