"""Statements about images: what they say, and that they always say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.images import BakeRequest, Image, ImageId, PackagePin, SnapshotId
from ovenbird.domain.provenance import (
    Made,
    Origin,
    boot_result,
    has_passed,
    package_url,
    provenance,
    sha256,
    signed_bytes,
)
from ovenbird.domain.recipes import BroughtFile, RecipeStep

BASE = Image(
    image_id=ImageId("ami-base"), name="debian-12", owner_id="111111111111",
    root_snapshot_id=SnapshotId("snap-base"), root_device_name="/dev/xvda",
    architecture="x86_64", boot_mode="uefi", ena=True, imds_v2=True, size_gib=4,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), state="available",
)  # fmt: skip
PIN = PackagePin(name="hello", version="1:1.2.0", architecture="all", digest_sha256="d" * 64)
REQUEST = BakeRequest(
    app="hello", version="1:1.2.0", commit="c" * 40, release_id="hello-ccccccc-1",
    base_image_id=BASE.image_id, packages=(PIN,), source_url="https://git.example/hello.git",
    recipe=(RecipeStep(work=BroughtFile(source="motd", target="/etc/motd")),),
    files={"motd": f"- {'f' * 64}"},
    repository=RepositoryState(
        repository="main", channel="candidate", number=7, url="http://127.0.0.1:4711",
        suite="candidate-7", component="main", key_path="/k",
    ),
)  # fmt: skip
MADE = Made(
    request=REQUEST, base=BASE, bake_key="b" * 64, disk_sha256="a" * 64, engine=3,
    builder_version="0.1.0",
)  # fmt: skip
PARTS = {"sbom.cdx.json": b"{}", "files.jsonl.zst": b"files"}


def test_a_statement_names_all_that_an_image_was_made_from() -> None:
    found = json.loads(provenance(MADE, PARTS))

    built, ran = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [{"name": "hello 1:1.2.0", "digest": {"sha256": "a" * 64}}]
    assert [one["uri"] for one in built["resolvedDependencies"]] == [
        f"git+https://git.example/hello.git@{'c' * 40}", "ec2:snap-base", "motd",
        "pkg:deb/hello@1:1.2.0?arch=all",
    ]  # fmt: skip
    assert built["resolvedDependencies"][2]["digest"] == {"sha256": "f" * 64}
    assert built["externalParameters"]["recipe"][0]["kind"] == "BroughtFile"
    assert ran["byproducts"] == [
        {"name": "files.jsonl.zst", "digest": {"sha256": sha256(b"files")}},
        {"name": "sbom.cdx.json", "digest": {"sha256": sha256(b"{}")}},
    ]


def test_the_same_image_gives_the_same_statement_from_another_release_and_address() -> None:
    state = replace(REQUEST.repository, url="http://127.0.0.1:4712", key_path="/other")
    again = replace(REQUEST, release_id="hello-ccccccc-2", repository=state, directory="/elsewhere")

    assert provenance(replace(MADE, request=again), PARTS) == provenance(MADE, PARTS)


def test_an_origin_is_read_back_from_a_statement() -> None:
    assert Origin.parse(provenance(MADE, PARTS)) == Origin(
        app="hello", version="1:1.2.0", source_url="https://git.example/hello.git",
        commit="c" * 40, bake_key="b" * 64, disk_sha256="a" * 64, base_image_id="ami-base",
        base_snapshot_id="snap-base", packages={"hello": ("1:1.2.0", "d" * 64)},
        byproducts={"files.jsonl.zst": sha256(b"files"), "sbom.cdx.json": sha256(b"{}")},
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"subject": []}', provenance(MADE, PARTS).replace(b"slsa.dev", b"x.dev")],
)
def test_what_is_no_statement_about_an_image_is_said_so(text: bytes) -> None:
    with pytest.raises(ValueError, match="no statement about an image"):
        Origin.parse(text)


def test_a_boot_result_counts_for_its_image_alone() -> None:
    def result(reason: str) -> bytes:
        return boot_result(
            BASE, provenance_sha256="e" * 64, disk_sha256="a" * 64, engine="qemu", reason=reason
        )

    other = replace(BASE, image_id=ImageId("ami-other"))
    assert has_passed(result(""), BASE)
    assert not has_passed(result("`web.service` failed"), BASE)
    assert not has_passed(result(""), other)
    assert not has_passed(provenance(MADE, PARTS), BASE)


def test_a_signature_is_of_the_statement_with_its_type() -> None:
    assert signed_bytes(b"{}") == b"DSSEv1 28 application/vnd.in-toto+json 2 {}"


@pytest.mark.parametrize(
    ("words", "distribution", "expected"),
    [
        (("deb", "libstdc++6", "12.2.0-14", "amd64"), "debian-12",
         "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12"),
        (("deb", "zlib1g", "1:1.2~rc+1", "amd64"), "debian-12",
         "pkg:deb/debian/zlib1g@1:1.2~rc%2B1?arch=amd64&distro=debian-12"),
        (("rpm", "curl", "2:7.50.3-1.fc25", "i386"), "fedora-25",
         "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25&epoch=2"),
        (("deb", "hello", "1.0", "all"), "", "pkg:deb/hello@1.0?arch=all"),
    ],
)  # fmt: skip
def test_packages_have_urls(words: tuple[str, ...], distribution: str, expected: str) -> None:
    assert package_url(*words, distribution=distribution) == expected
