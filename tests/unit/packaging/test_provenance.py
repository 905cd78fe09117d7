from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovenbird.domain.catalog import CatalogEntry, Finding, PackageFacts, PackageFile
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.sources import Source
from ovenbird.packaging.repositories.provenance import Provenance
from ovenbird.system.directory_storage import DirectoryStorage

PACKAGE = Package(
    name="hello", version="1:1.0~rc1", architecture="all", format=PackageFormat.DEB,
    path="/outbox/hello_1.0~rc1_all.deb", digest_sha256="d" * 64, size_bytes=3, app="hello",
    commit="c" * 40,
)  # fmt: skip
ENTRY = CatalogEntry(
    package=PACKAGE,
    source=Source(url="/src", ref="v1", commit="c" * 40, committed_at_epoch_s=1, directory="x"),
    channel="candidate",
    state_number=3,
    published_at=datetime(2026, 1, 1, tzinfo=UTC),
    published_by="ci",
    facts=PackageFacts(
        files=(PackageFile(path="/opt/hello/x", mode=0o100644, size_bytes=3),),
        relations={"Depends": ("nginx",)},
        findings=(Finding(tool="lintian", code="x", level="warning", text="y"),),
        sbom="{}",
    ),
)


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "repository")


def test_what_was_published_elsewhere_is_found_here(storage: DirectoryStorage) -> None:
    Provenance(storage).put(ENTRY)

    (found,) = Provenance(storage).find("hello", "1:1.0~rc1")

    assert found == replace(ENTRY, package=replace(PACKAGE, path="hello_1.0~rc1_all.deb"))
    assert Provenance(storage).find("hello", "1.0") == ()
    assert Provenance(storage).every() == (found,)


def test_the_first_one_who_published_stays(storage: DirectoryStorage) -> None:
    Provenance(storage).put(ENTRY)
    Provenance(storage).put(replace(ENTRY, published_by="somebody else"))

    assert [entry.published_by for entry in Provenance(storage).every()] == ["ci"]


def test_a_damaged_record_is_named(storage: DirectoryStorage) -> None:
    Provenance(storage).put(ENTRY)
    (name,) = storage.names("catalog/")
    storage.write(name, storage.read(name)[:100])

    with pytest.raises(OvenbirdError, match="is damaged") as caught:
        Provenance(storage).every()

    assert name in str(caught.value)
