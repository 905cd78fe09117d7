"""Verifying, rebuilding, and reading records and shards that anything may have happened to."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories import repository_states, shards
from ovenbird.packaging.repositories.cataloged import CatalogedRepository
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.packaging.repositories.shards import Row
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.packaging.repositories import NOW, PlainSigner, built

ROW = Row(
    name="hello",
    version="1.0.0",
    architecture="all",
    format="deb",
    component="main",
    file="pool/h/hello/hello_1.0.0_all.deb",
    size=1,
    sha256="0" * 64,
    app="hello",
    commit="c" * 40,
    signed_by="",
    entries=("Package: hello\n\n",),
)
FUZZ = settings(deadline=None, max_examples=300)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    packages = [built(root / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    opened(root / "r").publish(packages, channel="candidate", at=NOW)
    return root / "r"


@pytest.fixture(scope="session")
def record(whole: Path) -> bytes:
    return (whole / "states/candidate/0000001.json").read_bytes()


def opened(root: Path) -> PackageRepository:
    return PackageRepository(DirectoryStorage(root), name="main", signer=PlainSigner(root))


def read_record(data: bytes) -> None:
    """Read a record: it is understood, or said to be damaged, and nothing else happens."""
    said, found = "", None
    try:
        found = repository_states.parse(data, channel="candidate", number=1)
    except OvenbirdError as error:
        said = str(error)
    if found is None:
        assert "`states/candidate/0000001.json` in the repository's storage" in said
    else:
        again = repository_states.render(found)
        assert repository_states.parse(again, channel="candidate", number=1) == found


def read_shard(data: bytes) -> None:
    said, found = "", None
    try:
        found = shards.parse(data, place="shards/00/0")
    except OvenbirdError as error:
        said = str(error)
    if found is None:
        assert "`shards/00/0` in the repository's storage is damaged" in said
    else:
        assert shards.parse(shards.render(found.values()), place="again") == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@FUZZ
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_clear_error(data: bytes) -> None:
    read_record(data)
    read_shard(data)
    read_shard(zstandard.ZstdCompressor().compress(data))


@FUZZ
@given(at=st.integers(0, 10_000), byte=st.none() | st.integers(0, 255))
def test_a_record_with_a_changed_byte_or_torn_is_a_record_or_a_clear_error(
    record: bytes, at: int, byte: int | None
) -> None:
    at %= len(record)
    read_record(record[:at] if byte is None else record[:at] + bytes([byte]) + record[at + 1 :])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return all containers and keys in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(value, key) for key, _ in items]
    for container, key in list(found):
        if isinstance(container[key], dict | list):
            found += places(container[key])
    return found


@FUZZ
@given(data=st.data(), other=JSON)
def test_a_record_with_another_value_anywhere_is_a_record_or_a_clear_error(
    record: bytes, data: st.DataObject, other: Any
) -> None:
    value = json.loads(record)
    found = places(value)
    container, key = found[data.draw(st.integers(0, len(found) - 1))]
    container[key] = other
    read_record(json.dumps(value).encode())


@FUZZ
@given(data=st.data(), other=JSON)
def test_a_shard_with_another_value_anywhere_is_a_shard_or_a_clear_error(
    data: st.DataObject, other: Any
) -> None:
    value = json.loads(zstandard.ZstdDecompressor().decompress(shards.render([ROW])))
    found = places(value)
    container, key = found[data.draw(st.integers(0, len(found) - 1))]
    container[key] = other
    read_shard(zstandard.ZstdCompressor().compress(json.dumps(value).encode()))


@FUZZ
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=5, unique=True))
def test_writing_and_reading_a_shard_are_inverses(texts: list[str]) -> None:
    rows = [dataclasses.replace(ROW, name=text, entries=(text,)) for text in texts]
    data = shards.render(rows)

    assert list(shards.parse(data, place="x").values()) == sorted(rows, key=lambda row: row.key)
    assert data == shards.render(reversed(rows))


def test_rows_spread_over_all_shards_whether_names_or_versions_are_many() -> None:
    names = {shards.shard_of((f"p{n}", "1", "all", "deb")) for n in range(5000)}
    versions = {shards.shard_of(("p", f"1.{n}", "all", "deb")) for n in range(5000)}

    assert names == versions == set(range(shards.SHARDS))


def codes(root: Path) -> set[tuple[str, str]]:
    return {(found.code, found.place) for found in opened(root).verify_files()}


def changed(root: Path, pattern: str) -> set[str]:
    found = set()
    for path in root.glob(pattern):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data + b"\n")
        found.add(str(path.relative_to(root)))
    return found


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("pool/h/hello/*.deb", "changed-file"),
        ("pool/h/hello/*.rpm", "changed-file"),
        ("dists/candidate/main/binary-amd64/by-hash/SHA256/*", "changed-index"),
        ("dists/candidate-1/main/binary-arm64/Packages.xz", "changed-index"),
        ("yum/candidate-1/aarch64/repodata/*-primary.xml.zst", "changed-index"),
    ],
)
def test_verifying_finds_what_was_changed(tmp_path: Path, pattern: str, code: str) -> None:
    packages = [built(tmp_path / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    root = tmp_path / "r"
    opened(root).publish(packages, channel="candidate", at=NOW)
    names = changed(root, pattern)

    assert names
    assert codes(root) == {(code, name) for name in names}


def test_verifying_finds_what_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "r"
    opened(root).publish([built(tmp_path / "work", "hello")], channel="candidate", at=NOW)
    (root / "pool/h/hello/hello_1.0.0_all.deb").unlink()

    assert codes(root) == {("missing-file", "pool/h/hello/hello_1.0.0_all.deb")}
    for path in (root / "shards").rglob("*/*"):
        path.unlink()
    assert codes(root) == {("damaged-shard", "candidate-1")}


def test_verifying_signatures_finds_what_another_key_signed(tmp_path: Path) -> None:
    root = tmp_path / "r"
    packages = [built(tmp_path / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    ours, another = (
        SigningKey(tmp_path / "ours", algorithm="ed25519"),
        SigningKey(tmp_path / "another", algorithm="ed25519"),
    )
    storage = DirectoryStorage(root)
    repository = PackageRepository(storage, name="main", signer=ours)
    repository.publish(packages, channel="candidate", at=NOW)
    stranger = PackageRepository(storage, name="main", signer=another)

    assert repository.verify_signatures() == ()
    assert [found.code for found in stranger.verify_signatures()] == ["no-key"]
    assert another.list_keys() == ()  # who reads makes none
    another.ensure()
    assert {(f.code, f.place) for f in stranger.verify_signatures()} == {
        ("bad-signature", "dists/candidate-1/InRelease"),
        ("bad-signature", "dists/candidate-1/Release.gpg"),
        ("bad-signature", "dists/candidate/InRelease"),
        ("bad-signature", "yum/candidate-1/aarch64/repodata/repomd.xml.asc"),
        ("bad-signature", "yum/candidate-1/x86_64/repodata/repomd.xml.asc"),
    }


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_rebuilding_makes_a_whole_state_of_one_whose_index_files_are_lost_or_damaged(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    root = tmp_path / "r"
    packages = [built(tmp_path / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    opened(root).publish(packages, channel="candidate", at=NOW)
    for path in [*root.glob("dists/**/SHA256/*"), *root.glob("yum/**/*.zst")]:
        spoil(path)
    state = opened(root).rebuild("candidate", at=NOW)

    assert state.number == 2
    assert opened(root).verify_files() == ()
    assert len(opened(root).list_packages("candidate")) == 2


def test_rebuilding_signs_the_same_packages_by_the_keys_that_sign_now(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "gpg", algorithm="ed25519")
    repository = PackageRepository(DirectoryStorage(tmp_path / "r"), name="main", signer=key)
    packages = [built(tmp_path / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    repository.publish(packages, channel="candidate", at=NOW)
    key.rotate()
    state = repository.rebuild("candidate", at=NOW)
    key.retire()

    assert (state.number, repository.verify()) == (2, ())
    before, after = repository.list_packages("candidate", 1), repository.list_packages("candidate")
    assert (len(after), before) == (2, after)


def test_another_key_than_that_of_what_is_served_publishes_nothing(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path / "r")
    ours = SigningKey(tmp_path / "ours", algorithm="ed25519")
    PackageRepository(storage, name="main", signer=ours).publish(
        [built(tmp_path / "work", "hello")], channel="candidate", at=NOW
    )
    lost = SigningKey(tmp_path / "new", algorithm="ed25519")
    repository = PackageRepository(storage, name="main", signer=lost)

    with pytest.raises(NotFound, match="which does not sign here"):
        repository.publish([built(tmp_path / "work", "more")], channel="candidate", at=NOW)
    assert not (tmp_path / "new").exists()
    assert not storage.exists("states/candidate/0000002.json")


def test_a_listed_package_can_be_fetched_and_its_signer_told(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "gpg", algorithm="ed25519")
    repository = CatalogedRepository(DirectoryStorage(tmp_path / "r"), name="main", key=key)
    package = built(tmp_path / "work", "hello")
    repository.publish([package], channel="candidate", at=NOW)
    (listed,) = repository.list_packages("candidate")

    with repository.fetched(listed) as path:
        assert path.read_bytes() == Path(package.path).read_bytes()
        with repository.signers() as signer_of:
            assert signer_of(path, listed) == ""
    assert not path.exists()


def test_an_index_that_is_lost_is_named_by_who_needs_it(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "r")
    for path in (tmp_path / "r/dists/candidate/main").rglob("by-hash/SHA256/*"):
        path.unlink()

    with pytest.raises(OvenbirdError, match=r"by-hash/SHA256/.* is damaged: it is gone"):
        opened(tmp_path / "r").publish(
            [built(tmp_path / "work", "more")], channel="candidate", at=NOW
        )
