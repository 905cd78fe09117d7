"""Publishing: what a state has, that publishers lose nothing, and what a killed one leaves."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import multiprocessing
import re
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ovenbird.domain.errors import Conflict, InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Storage
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories import apt_index
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.commands import run
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.packaging.repositories import (
    NOW,
    Apt,
    Killed,
    MemoryStorage,
    PlainSigner,
    built,
)


@pytest.fixture(scope="session")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outbox")


@pytest.fixture(scope="session")
def hello(outbox: Path) -> Package:
    return built(outbox / "hello", "hello")


@pytest.fixture(scope="session")
def every_format(outbox: Path) -> list[Package]:
    kinds = ("deb", "rpm", "apk", "pkg.tar.zst")
    return [built(outbox / "every", "every", kind=kind) for kind in kinds]


@pytest.fixture(scope="session")
def deb_and_rpm(every_format: list[Package]) -> list[Package]:
    return every_format[:2]


def opened(where: Path | Storage) -> PackageRepository:
    storage = DirectoryStorage(where) if isinstance(where, Path) else where
    return PackageRepository(storage, name="main", signer=PlainSigner(Path("/key")), parallel=2)


def stanzas(where: Path | Storage, suite: str) -> set[str]:
    """Read what apt would: the signed release, then the indexes that it names, by digest."""
    storage = DirectoryStorage(where) if isinstance(where, Path) else where
    found = set()
    signed = storage.read(f"dists/{suite}/InRelease").decode()
    listed = re.findall(r"^ ([0-9a-f]{64}) +(\d+) (\S+)/Packages.gz$", signed, re.MULTILINE)
    assert listed
    for digest, size, place in listed:
        by_digest = f"dists/{suite}/{place}/by-hash/SHA256/{digest}"
        plain = f"dists/{suite}/{place}/Packages.gz"
        data = storage.read(by_digest if "Acquire-By-Hash: yes" in signed else plain)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (digest, int(size))
        text = gzip.decompress(data).decode()
        found |= set(re.findall(r"^Package: (\S+)$", text, re.MULTILINE))
    return found


def names(repository: PackageRepository, number: int | None = None) -> list[str]:
    return [package.name for package in repository.list_packages("candidate", number)]


def test_a_publish_is_a_new_numbered_state_and_older_ones_stay(
    tmp_path: Path, hello: Package, outbox: Path
) -> None:
    repository = opened(tmp_path)
    first = repository.publish([hello], channel="candidate", at=NOW)
    second = repository.publish([built(outbox, "world")], channel="candidate", at=NOW)

    assert (first.number, first.suite, second.suite) == (1, "candidate-1", "candidate-2")
    assert (names(repository, 1), names(repository)) == (["hello"], ["hello", "world"])
    assert stanzas(tmp_path, "candidate-1") == {"hello"}
    assert stanzas(tmp_path, "candidate-2") == {"hello", "world"} == stanzas(tmp_path, "candidate")
    assert repository.states("candidate") == (first, second)
    assert repository.state("candidate") == second
    assert repository.state("candidate", 1) == first


def test_publishing_twice_is_publishing_once_and_other_bytes_are_a_conflict(
    tmp_path: Path, hello: Package
) -> None:
    repository = opened(tmp_path)
    first = repository.publish([hello], channel="candidate", at=NOW)
    gone = dataclasses.replace(hello, path="/nowhere/hello.deb")
    other = dataclasses.replace(hello, digest_sha256="0" * 64)

    assert repository.publish([hello, gone], channel="candidate", at=NOW) == first
    with pytest.raises(Conflict, match=r"`hello_1.0.0_all.deb` is published already, with other"):
        repository.publish([other], channel="candidate", at=NOW)
    assert repository.states("candidate") == (first,)


def test_another_channel_with_other_bytes_of_a_published_name_is_a_conflict(
    tmp_path: Path, hello: Package, outbox: Path
) -> None:
    repository = opened(tmp_path)
    repository.publish([hello], channel="candidate", at=NOW)
    state = repository.publish([hello], channel="release", at=NOW)
    other = built(outbox / "other", "hello", content="other\n")

    assert (state.suite, repository.state("candidate").number) == ("release-1", 1)
    with pytest.raises(Conflict, match="with other bytes"):
        repository.publish([other], channel="beta", at=NOW)


def test_what_no_package_manager_here_reads_is_kept_in_the_pool(
    tmp_path: Path, every_format: list[Package]
) -> None:
    state = opened(tmp_path).publish(every_format, channel="candidate", at=NOW)

    pool = sorted(path.name for path in (tmp_path / "pool/e/every").iterdir())
    assert len(opened(tmp_path).list_packages("candidate", state.number)) == 4
    assert pool == [
        "every-1.0.0-1.noarch.rpm",
        "every_1.0.0_all.apk",
        "every_1.0.0_all.deb",
        "every_1.0.0_all.pkg.tar.zst",
    ]


def test_only_what_changed_is_written(
    tmp_path: Path, every_format: list[Package], outbox: Path
) -> None:
    repository = opened(tmp_path)
    repository.publish(every_format, channel="candidate", at=NOW)
    before = record(tmp_path, 1)
    more = built(outbox, "only", architecture="amd64")
    repository.publish([more], channel="candidate", at=NOW)
    after = record(tmp_path, 2)

    changed = {key for key, index in after["indexes"].items() if index != before["indexes"][key]}
    assert changed == {"apt/main/amd64"}
    assert len(set(after["shards"].items()) - set(before["shards"].items())) == 1


def record(root: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record_path(root, number).read_bytes())
    return found


def record_path(root: Path, number: int) -> Path:
    return root / f"states/candidate/{number:07d}.json"


def test_withdrawing_makes_a_state_without_and_loses_nothing(
    tmp_path: Path, hello: Package, outbox: Path
) -> None:
    repository = opened(tmp_path)
    repository.publish([hello, built(outbox, "world")], channel="candidate", at=NOW)
    second = repository.withdraw([hello], channel="candidate", at=NOW)

    assert repository.withdraw([hello], channel="candidate", at=NOW) == second
    assert (names(repository, 1), names(repository, 2)) == (["hello", "world"], ["world"])
    assert stanzas(tmp_path, "candidate") == {"world"}
    assert (tmp_path / "pool/h/hello/hello_1.0.0_all.deb").exists()
    last = repository.withdraw(repository.list_packages("candidate"), channel="candidate", at=NOW)
    assert (last.number, names(repository)) == (3, [])
    assert stanzas(tmp_path, "candidate") == set()


@pytest.mark.parametrize("channel", ["candidate-7", "", "..", "a/b", "Upper", "a b"])
def test_a_channel_cannot_be_called_what_a_state_is_or_no_name_at_all(
    tmp_path: Path, hello: Package, channel: str
) -> None:
    with pytest.raises(InvalidRequest, match="is no name for a channel"):
        opened(tmp_path).publish([hello], channel=channel, at=NOW)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path, hello: Package) -> None:
    repository = opened(tmp_path)

    with pytest.raises(NotFound, match="Channel `candidate` has no state"):
        repository.state("candidate")
    repository.publish([hello], channel="candidate", at=NOW)
    with pytest.raises(NotFound, match="Channel `candidate` has no state 9"):
        repository.state("candidate", 9)
    gone = dataclasses.replace(hello, name="other", path="/nowhere/other.deb")
    with pytest.raises(NotFound, match=r"The package `/nowhere/other.deb` is gone"):
        repository.publish([gone], channel="candidate", at=NOW)


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_a_file_that_is_not_the_package_is_refused(tmp_path: Path, outbox: Path, kind: str) -> None:
    package = built(tmp_path / "w", "torn", kind=kind)
    data = Path(package.path).read_bytes()
    Path(package.path).write_bytes(data[: len(data) // 2])
    torn = dataclasses.replace(
        package, digest_sha256=hashlib.sha256(data[: len(data) // 2]).hexdigest()
    )

    with pytest.raises(OvenbirdError):
        opened(tmp_path / "r").publish([torn], channel="candidate", at=NOW)
    with pytest.raises(OvenbirdError):
        opened(tmp_path / "r").publish([package], channel="candidate", at=NOW)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_control_fields_are_those_that_dpkg_reads(tmp_path: Path, compression: str) -> None:
    (tmp_path / "tree/DEBIAN").mkdir(parents=True)
    fields = "Package: hello\nVersion: 1.0\nArchitecture: all\nMaintainer: Hello <h@example.com>\n"
    (tmp_path / "tree/DEBIAN/control").write_text(
        f"{fields}Description: one\n two\n .\n three \u00fc\n"
    )
    deb = tmp_path / "hello.deb"
    words = ["--root-owner-group", "--uniform-compression", f"-Z{compression}", "--build"]
    run(["dpkg-deb", *words, tmp_path / "tree", deb], timeout_s=60)

    assert apt_index.control(deb) == run(["dpkg-deb", "--field", deb], timeout_s=60).strip("\n")


def test_a_deb_of_another_name_or_version_is_refused(tmp_path: Path, hello: Package) -> None:
    wrong = dataclasses.replace(hello, version="2.0")

    with pytest.raises(Conflict, match=r"its `Version` is `1.0.0`, not `2.0`"):
        opened(tmp_path).publish([wrong], channel="candidate", at=NOW)


def died(storage: MemoryStorage, packages: list[Package]) -> bool:
    """Publish, one thing after the other; tell whether the publisher was killed."""
    signer = PlainSigner(Path("/key"))
    repository = PackageRepository(storage, name="main", signer=signer, parallel=1)
    try:
        repository.publish(packages, channel="candidate", at=NOW)
    except Killed:
        return True
    return False


def test_who_reads_makes_no_key_in_the_place_of_the_one_that_signed(
    tmp_path: Path, hello: Package
) -> None:
    storage = DirectoryStorage(tmp_path / "r")
    ours, theirs = (SigningKey(tmp_path / name, algorithm="ed25519") for name in ("key", "other"))
    PackageRepository(storage, name="main", signer=ours).publish(
        [hello], channel="candidate", at=NOW
    )
    reader = PackageRepository(storage, name="main", signer=theirs)
    state = reader.state("candidate")

    assert reader.states("candidate") == (state,)
    with pytest.raises(NotFound, match=ours.fingerprint()), reader.reachable(state):
        pass
    assert theirs.list_keys() == ()


def test_a_publisher_killed_anywhere_leaves_a_whole_state_and_the_next_one_completes(
    hello: Package, deb_and_rpm: list[Package], outbox: Path
) -> None:
    start, third = MemoryStorage(), built(outbox, "third")
    opened(start).publish([hello], channel="candidate", at=NOW)
    seen = []
    for at in range(1, 200):
        storage = MemoryStorage(start.found, dies_at=at)
        if not died(storage, deb_and_rpm):
            break
        seen.append(stanzas(storage, "candidate"))
        last = opened(storage).publish([third], channel="candidate", at=NOW)

        assert stanzas(storage, "candidate") >= seen[-1] | {"third"}
        for number in range(1, last.number + 1):
            assert opened(storage).verify_files("candidate", number) == ()
        opened(storage).publish(deb_and_rpm, channel="candidate", at=NOW)
        assert names(opened(storage)) == ["every", "every", "hello", "third"]

    assert (seen[0], seen[-1]) == ({"hello"}, {"hello", "every"})
    assert all(found in (seen[0], seen[-1]) for found in seen)
    assert len(seen) > 35


def test_a_state_that_was_claimed_and_not_served_is_served_by_repair(
    hello: Package, deb_and_rpm: list[Package]
) -> None:
    start = MemoryStorage()
    opened(start).publish([hello], channel="candidate", at=NOW)
    repaired = []
    for at in range(1, 200):
        storage = MemoryStorage(start.found, dies_at=at)
        if not died(storage, deb_and_rpm):
            break
        if storage.exists("states/candidate/0000002.json"):
            repaired.append(opened(storage).state("candidate").number)
            assert opened(storage).repair("candidate").number == 2
            assert stanzas(storage, "candidate-2") == {"hello", "every"}
            assert stanzas(storage, "candidate") == {"hello", "every"}

    assert (repaired[0], len(repaired) > 20) == (1, True)


def publish_one_after_another(root: str, packages: list[Package]) -> None:
    repository = opened(Path(root))
    for package in packages:
        repository.publish([package], channel="candidate", at=NOW)


def test_publishers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    each = [[built(tmp_path / "w", f"p{n}-{i}") for i in range(8)] for n in range(4)]
    root = tmp_path / "r"
    context = multiprocessing.get_context("forkserver")
    publishers = [
        context.Process(target=publish_one_after_another, args=(str(root), packages))
        for packages in each
    ]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join(120)

    wanted = {package.name for packages in each for package in packages}
    assert [publisher.exitcode for publisher in publishers] == [0, 0, 0, 0]
    assert set(names(opened(root))) == wanted == stanzas(root, "candidate")
    assert len(opened(root).states("candidate")) == 32
    assert opened(root).verify_files() == ()


def damaged_objects(root: Path) -> Mapping[str, Path]:
    (shard,) = (root / "shards").rglob("*?" * 32)
    (zst,) = {
        path
        for path in (root / "dists/candidate/main/binary-amd64").rglob("by-hash/SHA256/*")
        if path.read_bytes().startswith(b"\x28\xb5\x2f\xfd")
    }
    return {
        "record": record_path(root, 1),
        "pointer": root / "channels/candidate.json",
        "shard": shard,
        "index": zst,
    }


DAMAGES = [
    (what, how) for what in ("record", "shard", "index") for how in ("torn", "gone", "other")
]


@pytest.mark.parametrize(("what", "how"), [*DAMAGES, ("pointer", "torn"), ("pointer", "other")])
def test_a_damaged_store_is_named_and_the_last_good_state_stays_served(
    tmp_path: Path, hello: Package, what: str, how: str
) -> None:
    opened(tmp_path).publish([hello], channel="candidate", at=NOW)
    path = damaged_objects(tmp_path)[what]
    data = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes(data[:-9] if how == "torn" else b"x" + data[1:])
    signed = (tmp_path / "dists/candidate/InRelease").read_bytes()

    with pytest.raises(OvenbirdError, match=f"^`{path.relative_to(tmp_path)}` in the repository"):
        opened(tmp_path).withdraw([hello], channel="candidate", at=NOW)
    assert (tmp_path / "dists/candidate/InRelease").read_bytes() == signed


def test_a_lost_pointer_is_found_again_from_the_records(
    tmp_path: Path, hello: Package, outbox: Path
) -> None:
    opened(tmp_path).publish([hello], channel="candidate", at=NOW)
    opened(tmp_path).publish([built(outbox, "world")], channel="candidate", at=NOW)
    record_path(tmp_path, 1).unlink()
    (tmp_path / "channels/candidate.json").unlink()

    assert opened(tmp_path).repair("candidate").number == 2
    assert opened(tmp_path).publish([hello], channel="candidate", at=NOW).number == 2


class Dying:
    """A directory whose publisher is killed before its n-th change."""

    def __init__(self, storage: DirectoryStorage, *, at: int) -> None:
        self._storage, self._left = storage, at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        if name not in {"write", "create", "swap", "copy", "remove"}:
            return method

        def changing(*words: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise Killed
            return method(*words, **named)

        return changing


def test_the_real_apt_reads_what_a_killed_publisher_left(
    tmp_path: Path, hello: Package, deb_and_rpm: list[Package]
) -> None:
    signer = SigningKey(tmp_path / "gpg", algorithm="ed25519")
    start = tmp_path / "start"
    PackageRepository(DirectoryStorage(start), name="main", signer=signer).publish(
        [hello], channel="candidate", at=NOW
    )
    seen = []
    for at in range(8, 200, 8):
        root = tmp_path / f"r{at}"
        shutil.copytree(start, root)
        storage: Any = Dying(DirectoryStorage(root), at=at)
        dying = PackageRepository(storage, name="main", signer=signer, parallel=1)
        try:
            dying.publish(deb_and_rpm, channel="candidate", at=NOW)
        except Killed:
            done = False
        else:
            done = True
        apt = Apt(
            tmp_path / f"apt{at}",
            url=f"file:{root}",
            suite="candidate",
            key=str(signer.ensure()),
            component="main",
        )
        apt.update()
        seen.append(len(apt.packages()))
        if done:
            break

    assert (seen[0], seen[-1], set(seen)) == (1, 2, {1, 2})


def test_the_real_apt_follows_a_publisher_whose_time_is_earlier(
    tmp_path: Path, hello: Package, outbox: Path
) -> None:
    repository = PackageRepository(
        DirectoryStorage(tmp_path / "r"),
        name="main",
        signer=SigningKey(tmp_path / "key", algorithm="ed25519"),
    )
    state = repository.publish([hello], channel="candidate", at=NOW + timedelta(hours=1))
    key = tmp_path / "key/public.gpg"
    apt = Apt(
        tmp_path / "apt",
        url=state.url,
        suite="candidate",
        key=str(key),
        component=state.component,
    )
    apt.update()
    repository.publish([built(outbox, "slow")], channel="candidate", at=NOW)
    apt.update()

    assert apt.packages() == {"hello 1.0.0 all", "slow 1.0.0 all"}


def test_a_time_that_is_far_ahead_is_not_followed(
    tmp_path: Path, hello: Package, outbox: Path
) -> None:
    repository = opened(tmp_path)
    repository.publish([hello], channel="candidate", at=NOW + timedelta(days=400))
    repository.publish([built(outbox, "slow")], channel="candidate", at=NOW)

    assert record(tmp_path, 2)["at"] == NOW.isoformat()
