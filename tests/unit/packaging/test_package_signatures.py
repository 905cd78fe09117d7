from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging import ar_files
from ovenbird.packaging.keys.package_signatures import sign_package, signature_of, signatures
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.reading.inspection import inspect
from ovenbird.system.commands import run
from tests.unit.packaging.samples import samples

EPOCH_S = 1_700_000_000
SIGNED = (PackageFormat.DEB, PackageFormat.RPM)
Packages = dict[PackageFormat, Path]


@pytest.fixture(scope="session")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return samples(tmp_path_factory.mktemp("unsigned"))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    found = SigningKey(tmp_path_factory.mktemp("key") / "it's 100%", algorithm="ed25519")
    found.ensure()
    return found


@pytest.fixture
def packages(unsigned: Packages, tmp_path: Path) -> Packages:
    """Copies that a test may change."""
    return {
        format_: Path(shutil.copy(path, tmp_path / path.name)) for format_, path in unsigned.items()
    }


@pytest.mark.parametrize("format_", SIGNED)
def test_a_signed_package_says_whose_it_is(
    format_: PackageFormat, packages: Packages, unsigned: Packages, key: SigningKey
) -> None:
    path = packages[format_]
    path.chmod(0o640)
    before = inspect(path)
    signed_by = sign_package(path, format_, key, epoch_s=EPOCH_S)
    after = inspect(path)

    assert signed_by == key.fingerprint()
    assert signature_of(path, format_, public_keys=key.known()) == signed_by
    assert signature_of(unsigned[format_], format_, public_keys=key.known()) == ""
    assert (before[0].is_signed, after[0].is_signed) == (False, True)
    assert after[1] == before[1]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".sign")] == []


@pytest.mark.parametrize("format_", SIGNED)
def test_signing_twice_gives_the_same_bytes(
    format_: PackageFormat, packages: Packages, unsigned: Packages, key: SigningKey, tmp_path: Path
) -> None:
    path = packages[format_]
    sign_package(path, format_, SigningKey(tmp_path / "other", algorithm="ed25519"), epoch_s=1)
    sign_package(path, format_, key, epoch_s=EPOCH_S)
    first = path.read_bytes()
    sign_package(path, format_, key, epoch_s=EPOCH_S)
    shutil.copy(unsigned[format_], tmp_path / "again")
    sign_package(tmp_path / "again", format_, key, epoch_s=EPOCH_S)

    assert path.read_bytes() == first == (tmp_path / "again").read_bytes()


def test_other_formats_stay_as_they_are(packages: Packages, key: SigningKey) -> None:
    for format_ in (PackageFormat.APK, PackageFormat.ARCHLINUX):
        before = packages[format_].read_bytes()

        assert sign_package(packages[format_], format_, key, epoch_s=EPOCH_S) == ""
        assert packages[format_].read_bytes() == before
        assert signature_of(packages[format_], format_, public_keys=key.known()) == ""


def test_dpkg_reads_a_signed_deb(packages: Packages, unsigned: Packages, key: SigningKey) -> None:
    path = packages[PackageFormat.DEB]
    sign_package(path, PackageFormat.DEB, key, epoch_s=EPOCH_S)

    for question in ("--contents", "--field"):
        assert run(["dpkg-deb", question, path], timeout_s=20) == run(
            ["dpkg-deb", question, unsigned[PackageFormat.DEB]], timeout_s=20
        )
    assert [member.name for member in ar_files.members(path)][-1] == "_gpgorigin"
    assert run(["ar", "t", path], timeout_s=20).split()[-1] == "_gpgorigin"


def test_apt_installs_a_signed_deb(key: SigningKey, tmp_path: Path) -> None:
    path, tree = tmp_path / "plain.deb", tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt/plain").write_text("plain\n")
    control = "Package: plain\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.com>\n"
    (tree / "DEBIAN/control").write_text(f"{control}Description: plain\n")
    run(["dpkg-deb", "--root-owner-group", "--build", tree, path], timeout_s=20)
    sign_package(path, PackageFormat.DEB, key, epoch_s=EPOCH_S)
    options = apt_of_its_own(tmp_path / "apt")

    said = run(["apt-get", *options, "--simulate", "install", path], timeout_s=60)
    run(["dpkg-deb", "--extract", path, tmp_path / "root"], timeout_s=20)
    assert "Inst plain (1 local-deb [all])" in said
    assert (tmp_path / "root/opt/plain").read_text() == "plain\n"


def apt_of_its_own(home: Path) -> list[str]:
    """Return the options with which apt knows no packages and no sources."""
    for folder in ("lists/partial", "cache/archives/partial", "dpkg"):
        (home / folder).mkdir(parents=True)
    (home / "dpkg/status").touch()
    options = {
        "Dir::State": home,
        "Dir::State::status": home / "dpkg/status",
        "Dir::Cache": home / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": "/dev/null",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def test_rpm_itself_finds_the_signature_right(
    packages: Packages, key: SigningKey, tmp_path: Path
) -> None:
    path, public = packages[PackageFormat.RPM], tmp_path / "key.asc"
    sign_package(path, PackageFormat.RPM, key, epoch_s=EPOCH_S)
    public.write_bytes(key.export(armor=True))
    head = ["rpmkeys", "--dbpath", str(tmp_path / "rpm")]
    run([*head, "--import", public], timeout_s=20)
    said = run([*head, "--checksig", "--verbose", path], timeout_s=20)

    assert f"Signature, key ID {key.fingerprint()[-8:].lower()}: OK" in said


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def in_the_payload(path: Path, format_: PackageFormat) -> None:
    """Change a byte of what is installed."""
    if format_ is PackageFormat.RPM:
        flip(path, path.stat().st_size - 10)
    else:
        flip(path, ar_files.members(path)[2].begins_at + 30)


def in_the_head(path: Path, format_: PackageFormat) -> None:
    """Change a byte of what is said about the package."""
    if format_ is PackageFormat.RPM:
        flip(path, path.read_bytes().index(b"Says hello"))
    else:
        flip(path, ar_files.members(path)[1].begins_at + 30)


def cut(path: Path, format_: PackageFormat) -> None:
    """Let the package break off."""
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("format_", SIGNED)
@pytest.mark.parametrize("tamper", [in_the_payload, in_the_head, cut])
def test_a_package_that_was_changed_is_found(
    tamper: Callable[[Path, PackageFormat], None],
    format_: PackageFormat,
    packages: Packages,
    key: SigningKey,
) -> None:
    sign_package(packages[format_], format_, key, epoch_s=EPOCH_S)
    tamper(packages[format_], format_)

    with pytest.raises(InvalidRequest):
        signature_of(packages[format_], format_, public_keys=key.known())


@pytest.mark.parametrize("format_", SIGNED)
def test_only_the_given_keys_count(
    format_: PackageFormat, packages: Packages, key: SigningKey, tmp_path: Path
) -> None:
    stranger = SigningKey(tmp_path / "stranger", algorithm="ed25519")
    sign_package(packages[format_], format_, stranger, epoch_s=EPOCH_S)

    with pytest.raises(InvalidRequest, match="not right"):
        signature_of(packages[format_], format_, public_keys=key.known())


def test_a_rotation_changes_who_signs_when_the_old_key_retires(
    packages: Packages, tmp_path: Path
) -> None:
    key = SigningKey(tmp_path / "keys", algorithm="ed25519")
    old, new = key.fingerprint(), key.rotate()
    found = []
    for _ in range(2):
        for format_ in SIGNED:
            sign_package(packages[format_], format_, key, epoch_s=EPOCH_S)
        with signatures(key.known()) as look:
            found += [look(packages[format_], format_) for format_ in SIGNED]
        if key.fingerprint() == old:
            key.retire()

    assert found == [old, old, new, new]


def test_what_is_no_package_is_refused(key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    with pytest.raises(NotFound, match="is gone"):
        sign_package(path, PackageFormat.DEB, key, epoch_s=EPOCH_S)
    for data, words in (
        (b"rubbish", "no ar archive"),
        (b"!<arch>\n" + b"x" * 60, "no member begins at byte 8"),
        (b"!<arch>\n" + ar_files.member_bytes("debian-binary", b"2.0\n", epoch_s=1), "its members"),
        (b"!<arch>\n" + ar_files.member_bytes("a", b"2.0\n", epoch_s=1)[:-1], "breaks off"),
    ):
        path.write_bytes(data)
        with pytest.raises(InvalidRequest, match=words):
            sign_package(path, PackageFormat.DEB, key, epoch_s=EPOCH_S)
        assert path.read_bytes() == data
