"""The real apt and the real dnf read a repository, from a directory and over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.packaging.repositories import NOW, Apt, Dnf, built, served

Reach = Callable[[Path], AbstractContextManager[str]]


@contextmanager
def as_files(directory: Path) -> Iterator[str]:
    yield f"file://{directory}"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey(tmp_path_factory.mktemp("key") / "gpg", algorithm="ed25519")


@pytest.fixture
def root(tmp_path: Path, key: SigningKey) -> Path:
    """A repository: state 1 has one package in each format, state 2 has more."""
    repository = PackageRepository(DirectoryStorage(tmp_path / "r"), name="main", signer=key)
    work = tmp_path / "work"
    first = [built(work, "hello", kind=kind) for kind in ("deb", "rpm")]
    repository.publish(first, channel="candidate", at=NOW)
    more = [
        built(work, "one", "1:2.0~rc1-1", architecture="amd64"),
        built(work, "two", "3.0", architecture="arm64"),
        built(work, "one", "2.0", "rpm", architecture="amd64"),
        built(work, "two", "3.0", "rpm", architecture="arm64"),
    ]
    repository.publish(more, channel="candidate", at=NOW)
    return tmp_path / "r"


def apt_of(where: Path, url: str, key: SigningKey, suite: str) -> Apt:
    return Apt(where, url=url, suite=suite, key=str(key.ensure()), component="main")


@pytest.mark.parametrize("reach", [as_files, served])
def test_apt_reads_each_state_by_number_and_the_newest_by_the_channel(
    root: Path, tmp_path: Path, key: SigningKey, reach: Reach
) -> None:
    found = {}
    with reach(root) as url:
        for suite in ("candidate-1", "candidate-2", "candidate"):
            apt = apt_of(tmp_path / suite, url, key, suite)
            said = apt.update()
            found[suite] = apt.packages()
            assert (suite, "W:" in said) == (suite, False)
            assert apt.download("hello") == (root / "pool/h/hello/hello_1.0.0_all.deb").read_bytes()

    both = {"hello 1.0.0 all", "one 1:2.0~rc1-1 amd64"}
    assert found == {"candidate-1": {"hello 1.0.0 all"}, "candidate-2": both, "candidate": both}


@pytest.mark.parametrize("ending", ["gz", "xz", "zst"])
def test_apt_reads_every_compression_completely(
    root: Path, tmp_path: Path, key: SigningKey, ending: str
) -> None:
    for suite in ("candidate", "candidate-2"):
        apt = apt_of(tmp_path / suite, f"file:{root}", key, suite)
        apt.update(**{"Acquire::CompressionTypes::Order::": ending})

        assert apt.packages() == {"hello 1.0.0 all", "one 1:2.0~rc1-1 amd64"}


@pytest.mark.parametrize("reach", [as_files, served])
def test_dnf_reads_each_state_by_number_and_the_newest_by_the_mirrorlist(
    root: Path, tmp_path: Path, key: SigningKey, reach: Reach
) -> None:
    found = {}
    with reach(root) as url:
        storage = DirectoryStorage(root)
        for number in (1, 2):
            source = f"baseurl={url}/yum/candidate-{number}/x86_64/"
            dnf = Dnf(tmp_path / f"by-number-{number}", source=source, key=str(key.ensure()))
            found[number] = dnf.packages()
        repository = PackageRepository(storage, name="main", signer=key, base_url=url)
        more = built(tmp_path / "more", "three", kind="rpm")
        repository.publish([more], channel="candidate", at=NOW)
        pointer = f"mirrorlist={url}/yum/candidate/x86_64/mirrorlist"
        dnf = Dnf(tmp_path / "newest", source=pointer, key=str(key.ensure()))
        newest = dnf.packages()
        dnf.install("three")

    both = {"hello 1.0.0 noarch", "one 2.0 x86_64"}
    assert found == {1: {"hello 1.0.0 noarch"}, 2: both}
    assert newest == both | {"three 1.0.0 noarch"}
    assert (tmp_path / "newest/r/opt/three/file").read_text() == "hello\n"


def tampered(path: Path) -> None:
    """Change a file without changing those that share its bytes on the disk."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["InRelease", "main/binary-amd64/by-hash/SHA256/*"])
def test_apt_refuses_what_was_tampered_with(
    root: Path, tmp_path: Path, key: SigningKey, what: str
) -> None:
    for path in (root / "dists/candidate").glob(what):
        tampered(path)

    with pytest.raises(CommandFailed):
        apt_of(tmp_path / "apt", f"file:{root}", key, "candidate").update()


def test_apt_refuses_a_package_that_was_tampered_with(
    root: Path, tmp_path: Path, key: SigningKey
) -> None:
    with served(root) as url:
        apt = apt_of(tmp_path / "apt", url, key, "candidate")
        apt.update()
        tampered(root / "pool/h/hello/hello_1.0.0_all.deb")
        with pytest.raises(CommandFailed, match="exited with status 100"):
            apt.download("hello")


@pytest.mark.parametrize("what", ["repomd.xml", "repomd.xml.asc", "*-primary.xml.zst"])
def test_dnf_refuses_what_was_tampered_with(
    root: Path, tmp_path: Path, key: SigningKey, what: str
) -> None:
    for path in (root / "yum/candidate-2/x86_64/repodata").glob(what):
        tampered(path)
    source = f"baseurl=file://{root}/yum/candidate-2/x86_64/"

    with pytest.raises(CommandFailed):
        Dnf(tmp_path / "dnf", source=source, key=str(key.ensure())).packages()


def test_one_source_line_has_all_components(tmp_path: Path, key: SigningKey) -> None:
    repository = PackageRepository(DirectoryStorage(tmp_path / "r"), name="main", signer=key)
    work = tmp_path / "work"
    repository.publish([built(work, "hello")], channel="candidate", at=NOW)
    state: RepositoryState = repository.publish(
        [built(work, "extra")], channel="candidate", at=NOW, component="contrib"
    )
    apt = Apt(
        tmp_path / "apt",
        url=state.url,
        suite=state.suite,
        key=state.key_path,
        component=state.component,
    )
    apt.update()

    assert state.component == "contrib main"
    assert apt.packages() == {"hello 1.0.0 all", "extra 1.0.0 all"}


def test_while_two_keys_sign_a_reader_with_either_one_accepts(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "gpg", algorithm="ed25519")
    old = tmp_path / "old.gpg"
    old.write_bytes(key.export())
    repository = PackageRepository(DirectoryStorage(tmp_path / "r"), name="main", signer=key)
    key.rotate()
    packages = [built(tmp_path / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    repository.publish(packages, channel="candidate", at=NOW)
    new = tmp_path / "new.gpg"
    both = key.export()
    key.retire()
    new.write_bytes(key.export())

    assert both not in {old.read_bytes(), new.read_bytes()}
    for known in (old, new):
        apt = Apt(
            tmp_path / f"apt-{known.stem}",
            url=f"file:{tmp_path}/r",
            suite="candidate",
            key=str(known),
            component="main",
        )
        apt.update()
        source = f"mirrorlist=file://{tmp_path}/r/yum/candidate/x86_64/mirrorlist"
        dnf = Dnf(tmp_path / f"dnf-{known.stem}", source=source, key=str(known))
        assert (apt.packages(), dnf.packages()) == (
            {"hello 1.0.0 all"},
            {"hello 1.0.0 noarch"},
        )
