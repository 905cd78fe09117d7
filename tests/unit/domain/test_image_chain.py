"""Each link of the chain from an image to its commit: what holds, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ovenbird.domain import image_chain as chain
from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.contents import ImageFile
from ovenbird.domain.image_chain import Standing
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.provenance import Origin, Signed, boot_result, provenance, sha256
from ovenbird.domain.sources import Source
from tests.unit.domain.test_provenance import BASE, MADE, PARTS

STATEMENT = provenance(MADE, PARTS)
ORIGIN = Origin.parse(STATEMENT)
TAGS = {
    "ovenbird:app": "hello", "ovenbird:version": "1:1.2.0", "ovenbird:commit": "c" * 40,
    "ovenbird:bake-key": "b" * 64, "ovenbird:disk-sha256": "a" * 64,
    "ovenbird:base-image": "ami-base", "ovenbird:provenance-sha256": sha256(STATEMENT),
    "ovenbird:boot-check": "passed",
}  # fmt: skip
IMAGE = replace(BASE, tags=TAGS)
SIGNED = Signed(statement=STATEMENT, fingerprints=("F",))
ENTRY = CatalogEntry(
    package=Package(
        app="hello", name="hello", version="1:1.2.0", architecture="all",
        format=PackageFormat.DEB, path="hello.deb", digest_sha256="d" * 64, size_bytes=1,
        commit="c" * 40,
    ),
    source=Source(url="u", ref="r", commit="c" * 40, committed_at_epoch_s=0),
    channel="candidate", state_number=1, published_at=datetime(2026, 1, 1, tzinfo=UTC),
    published_by="ann",
)  # fmt: skip


def test_a_whole_chain_holds() -> None:
    passed = boot_result(
        IMAGE, provenance_sha256="", disk_sha256="a", engine="container", reason=""
    )
    digest = ("1:1.2.0", "d" * 64)

    links = [
        chain.statement_link(IMAGE, SIGNED),
        chain.tags_link(IMAGE, ORIGIN),
        chain.parts_link(ORIGIN, PARTS),
        chain.boot_link(IMAGE, Signed(statement=passed, fingerprints=("F",))),
        chain.package_link("hello", *digest, origin=ORIGIN, records=[ENTRY]),
        chain.blocks_link(ORIGIN, "a" * 64, 16),
        chain.files_link([ImageFile("/a", 0)], [ImageFile("/a", 0)]),
        chain.other_side_link(IMAGE, IMAGE, "prod"),
    ]

    assert {link.standing for link in links} == {Standing.OK}
    assert not any(link.is_broken for link in links)


def test_a_statement_that_the_tag_does_not_name_is_another_one() -> None:
    link = chain.statement_link(IMAGE, replace(SIGNED, statement=b"{}"))

    assert (link.standing, link.is_broken) == (Standing.FAILED, True)


@pytest.mark.parametrize("tag", [one for one in TAGS if "-sha" not in one and "boot" not in one])
def test_a_tag_that_was_changed_is_named(tag: str) -> None:
    link = chain.tags_link(replace(IMAGE, tags={**TAGS, tag: "other"}), ORIGIN)

    assert link.standing is Standing.FAILED
    assert link.text.startswith(f"`{tag}` is `other`, by the statement `")


def test_parts_are_held_against_their_digests() -> None:
    (first, second) = PARTS

    assert chain.parts_link(ORIGIN, {first: PARTS[first]}).standing is Standing.MISSING
    assert chain.parts_link(ORIGIN, {**PARTS, second: b"x"}).text.startswith(f"`{second}` has")


@pytest.mark.parametrize(("reason", "tag"), [("it crashed", "passed"), ("", "failed"), ("", "")])
def test_a_boot_result_and_its_tag_must_both_be_good(reason: str, tag: str) -> None:
    said = boot_result(
        IMAGE, provenance_sha256="", disk_sha256="a", engine="container", reason=reason
    )
    image = replace(IMAGE, tags={**TAGS, "ovenbird:boot-check": tag})

    assert chain.boot_link(image, Signed(statement=said, fingerprints=())).is_broken


@pytest.mark.parametrize(
    ("record", "standing"),
    [
        (None, Standing.MISSING),
        (replace(ENTRY, package=replace(ENTRY.package, digest_sha256="e")), Standing.FAILED),
        (replace(ENTRY, source=replace(ENTRY.source, commit="e" * 40)), Standing.FAILED),
    ],
)
def test_a_package_must_be_the_one_of_the_record(
    record: CatalogEntry | None, standing: Standing
) -> None:
    records = [record] if record else []
    link = chain.package_link("hello", "1:1.2.0", "d" * 64, origin=ORIGIN, records=records)

    assert (link.standing, link.is_broken) == (standing, True)


def test_a_disk_that_was_changed_is_told_by_its_blocks_and_its_files() -> None:
    stated = [ImageFile(f"/{n}", 0) for n in range(5)]

    assert chain.blocks_link(ORIGIN, "0" * 64, 17).is_broken
    assert chain.files_link(stated, []).text == "other than listed: `/0`, `/1`, `/2` and 2 more"


def test_another_account_must_say_what_the_owner_says() -> None:
    other = replace(IMAGE, tags={**TAGS, "ovenbird:commit": "e"})

    assert chain.other_side_link(IMAGE, None, "prod").is_broken
    assert "`ovenbird:commit` is `e`" in chain.other_side_link(other, IMAGE, "prod").text


def test_an_image_that_was_not_booted_breaks_no_chain() -> None:
    assert not chain.missing("boot check", "not booted", required=False).is_broken
