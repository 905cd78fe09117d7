from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ovenbird.domain.catalog import PackageFacts
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.packaging.reading.bundled import bundled, is_wanted
from ovenbird.packaging.reading.facts import facts_of
from ovenbird.packaging.reading.sbom import sbom
from tests.unit.packaging.samples import EPOCH_S, configuration, tree, written

METADATA = "Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6.3\nLicense: MIT\n\nAbout it.\n"
OLD = "Name: old\nVersion: 1\nLicense-Expression: MIT OR BSD-3-Clause\n"
NODE = {"name": "@scope/left-pad", "version": "1.3.0", "license": {"type": "WTFPL"}}


def jar(files: dict[str, str | bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return data.getvalue()


POM = "#made by Maven\ngroupId=org.example\nartifactId=core\nversion=2.14.1\n"
INNER = jar({"META-INF/maven/org.example/core/pom.properties": POM})
MANIFEST = "Implementation-Title: shop\r\nImplementation-Version: 1.\r\n 2\r\n"
BOOT = jar(
    {
        "META-INF/MANIFEST.MF": MANIFEST,
        "BOOT-INF/lib/core-2.14.1.jar": INNER,
    }
)


def app(top: Path) -> Path:
    """Write a tree in which something of every kind is bundled."""
    tree(top)
    python = top / "venv/lib/python3.11/site-packages"
    files: dict[Path, str | bytes] = {
        python / "Flask_Login-0.6.3.dist-info/METADATA": METADATA,
        python / "old.egg-info/PKG-INFO": OLD,
        top / "web/node_modules/@scope/left-pad/package.json": json.dumps(NODE),
        top / "web/node_modules/@scope/left-pad/test/package.json": json.dumps({"name": "inside"}),
        top / "web/node_modules/broken/package.json": "{",
        top / "web/node_modules/left/package.json": json.dumps({"name": "left"}),
        top / "worker/node_modules/left/package.json": json.dumps({"name": "left"}),
        top / "lib/shop.jar": BOOT,
        top / "lib/plain-1.0.jar": jar({"x": "y"}),
        top / "lib/broken.jar": b"PK",
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return top


def package(format_: PackageFormat = PackageFormat.DEB, path: str = "", **more: Any) -> Package:
    said = {"version": "1:1.2.0~rc1-2", "architecture": "amd64", "digest_sha256": "ab" * 32, **more}
    return Package(
        name="hello", format=format_, path=path, size_bytes=1, app="hello", commit="c" * 40, **said
    )


def document(text: str) -> dict[str, Any]:
    """Return a document that CycloneDX's own schema accepts."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def test_what_is_bundled_is_found_with_its_versions(tmp_path: Path) -> None:
    found = [
        (one.kind, one.namespace, one.name, one.version, one.license)
        for one in bundled(app(tmp_path / "app"))
    ]

    assert found == [
        ("generic", "", "broken", "", ""),
        ("generic", "", "plain", "1.0", ""),
        ("generic", "", "shop", "1.2", ""),
        ("maven", "org.example", "core", "2.14.1", ""),
        ("pypi", "", "flask-login", "0.6.3", "MIT"),
        ("pypi", "", "old", "1", "MIT OR BSD-3-Clause"),
        ("npm", "@scope", "left-pad", "1.3.0", "WTFPL"),
        ("npm", "", "left", "", ""),
        ("npm", "", "left", "", ""),
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/opt/a/site-packages/x-1.dist-info/METADATA", True),
        ("/opt/a/site-packages/x-1.dist-info/RECORD", False),
        ("/opt/a/package.json", False),
        ("/opt/a/node_modules/x/package.json", True),
        ("/opt/a/node_modules/x/lib/package.json", False),
        ("/opt/a/x.war", True),
    ],
)
def test_few_files_tell_what_is_bundled(path: str, expected: bool) -> None:  # noqa: FBT001
    assert is_wanted(path) is expected


@pytest.mark.parametrize("format_", PackageFormat)
def test_facts_have_a_valid_bill_of_materials(tmp_path: Path, format_: PackageFormat) -> None:
    path = written(configuration(app(tmp_path / "app")), format_, tmp_path / "package")

    facts = facts_of(
        package(format_, str(path)), log_path="/log", builder="ovenbird on a host", epoch_s=EPOCH_S
    )

    found = document(facts.sbom)
    purls = {one["purl"]: one for one in found["components"]}
    left = purls["pkg:npm/left"]
    core = purls["pkg:maven/org.example/core@2.14.1"]
    assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert {"pkg:pypi/flask-login@0.6.3", "pkg:npm/%40scope/left-pad@1.3.0"} <= set(purls)
    assert [one["value"] for one in left["properties"]] == [
        "/opt/hello/web/node_modules/left/package.json",
        "/opt/hello/worker/node_modules/left/package.json",
    ]
    assert core["properties"][0]["value"] == "/opt/hello/lib/shop.jar!/BOOT-INF/lib/core-2.14.1.jar"
    assert sum("python3" in purl for purl in purls) == 1
    assert (facts.log_path, facts.builder) == ("/log", "ovenbird on a host")
    assert [file.path for file in facts.files if file.path.endswith("hello/bin/hello")]


def test_the_same_package_gives_the_same_text(tmp_path: Path) -> None:
    first, second = (app(tmp_path / name) for name in ("a", "b"))
    facts = PackageFacts(relations={"Depends": ("b", "a")})

    texts = {sbom(package(), facts, top, at_epoch_s=EPOCH_S) for top in (first, second)}
    other = sbom(package(digest_sha256="cd" * 32), facts, first, at_epoch_s=EPOCH_S)

    (text,) = texts
    number = document(text)["serialNumber"]
    assert number == "urn:uuid:abababab-abab-8bab-abab-abababababab"
    assert document(other)["serialNumber"] != number


@pytest.mark.parametrize(
    ("format_", "version", "architecture", "purl"),
    [
        (PackageFormat.DEB, "1:1.0~rc1-2", "all", "pkg:deb/hello@1:1.0~rc1-2?arch=all"),
        (PackageFormat.RPM, "1:1.0-2", "all", "pkg:rpm/hello@1.0-2?arch=noarch&epoch=1"),
        (PackageFormat.RPM, "1.0", "arm64", "pkg:rpm/hello@1.0?arch=aarch64"),
        (PackageFormat.ARCHLINUX, "1.0", "all", "pkg:alpm/hello@1.0?arch=any"),
        (PackageFormat.APK, "1.0", "amd64", "pkg:apk/hello@1.0?arch=x86_64"),
    ],
)
def test_a_package_has_a_url_in_the_words_of_its_format(
    format_: PackageFormat, version: str, architecture: str, purl: str
) -> None:
    asked = package(format_, version=version, architecture=architecture)

    found = document(sbom(asked, PackageFacts(), None, at_epoch_s=0))

    assert found["metadata"]["component"]["purl"] == purl
    assert "components" not in found


def test_alternatives_and_wishes_are_optional_and_conflicts_are_no_part() -> None:
    facts = PackageFacts(
        relations={
            "Depends": ("python3 (>= 3.11)", "nginx | apache2 (>= 2)"),
            "Recommends": ("curl",),
            "Conflicts": ("goodbye",),
            "depend": ("!enemy", "cmd:sh"),
            "optdepend": ("redis: to keep sessions",),
        }
    )

    found = document(sbom(package(), facts, None, at_epoch_s=0))

    assert {one["name"]: one["scope"] for one in found["components"]} == {
        "apache2": "optional",
        "curl": "optional",
        "nginx": "optional",
        "python3": "required",
        "redis": "optional",
    }
    (root,) = [one for one in found["dependencies"] if "@" in one["ref"]]
    assert len(root["dependsOn"]) == 5
