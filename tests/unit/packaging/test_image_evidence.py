"""Evidence of images: what is in it, how it is kept, and whose signatures count."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from ovenbird.domain.contents import ImageContents, InstalledPackage
from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.provenance import FILES, SBOM, Evidence
from ovenbird.packaging.keys import envelopes
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.reading.image_sbom import image_sbom
from ovenbird.packaging.repositories.image_evidence import ImageEvidence
from ovenbird.system.commands import run
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.domain.test_provenance import BASE, MADE

CONTENTS = ImageContents(
    distribution="debian-12",
    packages=(
        InstalledPackage(name="hello", version="1:1.2.0", architecture="all"),
        InstalledPackage(
            name="zlib1g", version="1:1.2.13", architecture="amd64", source="zlib",
            maintainer="Mark <mark@example.com>",
        ),
    ),
)  # fmt: skip
EVIDENCE = Evidence(bake_key="b" * 64, statement=b'{"a":1}', files=b"files", sbom=b"sbom")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    found = SigningKey(tmp_path_factory.mktemp("keys") / "home", algorithm="ed25519")
    found.ensure()
    return found


@pytest.fixture
def shelf(tmp_path: Path, key: SigningKey) -> ImageEvidence:
    return ImageEvidence(DirectoryStorage(tmp_path / "repository"), key)


def test_a_bill_of_materials_is_valid_and_names_every_package() -> None:
    text = image_sbom(MADE, CONTENTS)
    found = json.loads(text)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
    system, hello, zlib = found["components"]
    assert (system["type"], system["name"], system["version"]) == (
        "operating-system", "debian", "12",
    )  # fmt: skip
    assert hello["hashes"] == [{"alg": "SHA-256", "content": "d" * 64}]
    assert PackageURL.from_string(zlib["purl"]).to_dict() == {
        "type": "deb", "namespace": "debian", "name": "zlib1g", "version": "1:1.2.13",
        "qualifiers": {"arch": "amd64", "distro": "debian-12"}, "subpath": None,
    }  # fmt: skip
    assert image_sbom(MADE, CONTENTS) == text


def test_an_image_without_packages_has_a_valid_bill_of_materials() -> None:
    text = image_sbom(MADE, ImageContents()).decode()

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_evidence_is_kept_once_and_found_by_its_digest(
    shelf: ImageEvidence, key: SigningKey
) -> None:
    shelf.keep(EVIDENCE)
    shelf.keep(EVIDENCE)
    place = EVIDENCE.bake_key, EVIDENCE.digest_sha256

    assert shelf.statement(*place).statement == EVIDENCE.statement
    assert shelf.statement(*place).fingerprints == key.fingerprints()
    assert (shelf.part(*place, FILES), shelf.part(*place, SBOM)) == (b"files", b"sbom")
    assert shelf.digests(EVIDENCE.bake_key) == (EVIDENCE.digest_sha256,)


def test_what_is_not_kept_is_not_found(shelf: ImageEvidence) -> None:
    with pytest.raises(NotFound):
        shelf.statement("b" * 64, "0" * 64)
    with pytest.raises(NotFound):
        shelf.boot_result(BASE)


def test_the_last_boot_result_counts(shelf: ImageEvidence) -> None:
    shelf.keep_boot_result(BASE, b'{"is":"first"}')
    shelf.keep_boot_result(BASE, b'{"is":"last"}')

    assert shelf.boot_result(BASE).statement == b'{"is":"last"}'


def test_signatures_of_retired_keys_count(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "home", algorithm="ed25519")
    old = envelopes.sealed(b"old", key)
    key.rotate()
    both = envelopes.sealed(b"both", key)
    first, second = key.fingerprints()
    key.retire()

    assert envelopes.opened(old, public_keys=key.known()).fingerprints == (first,)
    assert set(envelopes.opened(both, public_keys=key.known()).fingerprints) == {first, second}
    assert set(envelopes.opened(both, public_keys=key.export()).fingerprints) == {second}


def test_a_signature_of_a_revoked_key_does_not_count(tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "home", algorithm="ed25519")
    key.ensure()
    envelope = envelopes.sealed(b"{}", key)
    (prepared,) = (key.home / "openpgp-revocs.d").glob("*.rev")
    prepared.write_text(prepared.read_text().replace(":-----BEGIN", "-----BEGIN"))
    gpg = ["gpg", "--homedir", str(key.home), "--batch", "--quiet"]
    run([*gpg, "--import", prepared], timeout_s=60)
    run([*gpg, "--output", tmp_path / "keys", "--export"], timeout_s=60)

    with pytest.raises(InvalidRequest, match="by no key that is known here"):
        envelopes.opened(envelope, public_keys=(tmp_path / "keys").read_bytes())


def changed(envelope: bytes, **parts: object) -> bytes:
    return json.dumps({**json.loads(envelope), **parts}).encode()


def test_a_changed_statement_is_refused(key: SigningKey) -> None:
    envelope = envelopes.sealed(b'{"a":1}', key)
    other = changed(envelope, payload=base64.b64encode(b'{"a":2}').decode())

    with pytest.raises(InvalidRequest, match="changed after it was signed"):
        envelopes.opened(other, public_keys=key.known())


def test_a_statement_of_a_stranger_is_refused(key: SigningKey, tmp_path: Path) -> None:
    stranger = SigningKey(tmp_path / "stranger", algorithm="ed25519")
    envelope = envelopes.sealed(b"{}", stranger)

    with pytest.raises(InvalidRequest, match="by no key that is known here"):
        envelopes.opened(envelope, public_keys=key.known())


@pytest.mark.parametrize(
    "wrong",
    [{"payload": "*"}, {"payload": None}, {"payloadType": "text/plain"}, {"signatures": []},
     {"signatures": [{"sig": ""}]}, {"signatures": 1}],
)  # fmt: skip
def test_damaged_envelopes_are_refused(key: SigningKey, wrong: dict[str, object]) -> None:
    envelope = envelopes.sealed(b"{}", key)

    with pytest.raises(OvenbirdError, match=r"damaged|holds|no key"):
        envelopes.opened(changed(envelope, **wrong), public_keys=key.known())


def test_two_images_with_other_packages_have_other_bills(key: SigningKey) -> None:
    (hello, _) = CONTENTS.packages
    other = replace(CONTENTS, packages=(hello,))

    assert image_sbom(MADE, other) != image_sbom(MADE, CONTENTS)
