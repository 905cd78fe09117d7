"""A package's bill of materials, in CycloneDX's JSON: itself, what it needs, what it brings.

The same package gives the same text: the serial number comes from the package's digest and
the time from the commit.

Source: CycloneDX 1.6; package-url, PURL-SPECIFICATION and PURL-TYPES.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from ovenbird.domain.catalog import PackageFacts
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.packaging.reading.bundled import Bundled, bundled
from ovenbird.packaging.reading.examined import DEPENDING, words_of
from ovenbird.packaging.reading.serials import serial

# Fields of relations to what is brought onto the machine, beside what it depends on.
WISHED = frozenset({"Recommends", "Suggests", "optdepend"})
LICENSE_CHARACTERS = 100  # longer is the text of one, not its name
_TYPES = {
    PackageFormat.DEB: "deb",
    PackageFormat.RPM: "rpm",
    PackageFormat.APK: "apk",
    PackageFormat.ARCHLINUX: "alpm",
}
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "all": "noarch"}


def sbom(package: Package, facts: PackageFacts, unpacked: Path | None, *, at_epoch_s: int) -> str:
    """Return a package's bill of materials, as one line of JSON.

    Args:
        package: The package.
        facts: What was found in it.
        unpacked: A tree of its files; those that :func:`.bundled.is_wanted` names are enough.
            None when nothing is bundled.
        at_epoch_s: When it was made, in seconds since 1970: the commit's time.
    """
    root = _root(package)
    found = bundled(unpacked) if unpacked else ()
    parts = [*_needed(package, facts), *_brought(found, facts)]
    document = Bom(
        serial_number=serial(package.digest_sha256),
        metadata=BomMetaData(component=root, timestamp=datetime.fromtimestamp(at_epoch_s, UTC)),
        components=parts,
    )
    document.register_dependency(root, parts)
    text: str = JsonV1Dot6(document).output_as_string()
    return text


def _root(package: Package) -> Component:
    epoch, colon, rest = package.version.partition(":")
    is_rpm = package.format is PackageFormat.RPM and bool(colon)
    qualifiers = {"arch": _architecture(package)} | ({"epoch": epoch} if is_rpm else {})
    version = rest if is_rpm else package.version
    purl = PackageURL(_TYPES[package.format], None, package.name, version, qualifiers)
    return Component(
        type=ComponentType.APPLICATION,
        name=package.name,
        version=package.version,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.digest_sha256)],
        properties=[
            Property(name="ovenbird:app", value=package.app),
            Property(name="ovenbird:commit", value=package.commit),
        ],
    )


def _architecture(package: Package) -> str:
    """Return the architecture in the words of the format, as a package URL has it."""
    if package.format is PackageFormat.DEB:
        return package.architecture
    if package.format is PackageFormat.ARCHLINUX and package.architecture == "all":
        return "any"
    return _ARCHITECTURES.get(package.architecture, package.architecture)


def _needed(package: Package, facts: PackageFacts) -> Iterator[Component]:
    """Yield the packages of relations: those without an alternative are required."""
    required: dict[str, bool] = {}
    said: dict[str, list[str]] = {}
    for field, relations in facts.relations.items():
        if field not in DEPENDING | WISHED:
            continue
        for relation in relations:
            # Arch Linux says after a colon what an optional package is for; `!` is a conflict.
            plain = relation.partition(": ")[0] if field == "optdepend" else relation
            names = [] if plain.startswith("!") else list(words_of(plain))
            for name in (one for one in names if not one.startswith(("/", "cmd:"))):
                sole = field in DEPENDING and len(names) == 1
                required[name] = required.get(name, False) or sole
                said.setdefault(name, []).append(f"{field}: {relation}")
    for name, is_required in sorted(required.items()):
        purl = PackageURL(_TYPES[package.format], None, name)
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            bom_ref=purl.to_string(),
            purl=purl,
            scope=ComponentScope.REQUIRED if is_required else ComponentScope.OPTIONAL,
            properties=[Property(name="ovenbird:relation", value=one) for one in said[name]],
        )


def _brought(found: Iterable[Bundled], facts: PackageFacts) -> Iterator[Component]:
    """Yield what is bundled; the same thing at several places once, with all of them."""
    alike: dict[PackageURL, list[Bundled]] = {}
    for one in found:
        purl = PackageURL(one.kind, one.namespace or None, one.name, one.version or None)
        alike.setdefault(purl, []).append(one)
    digests = {file.path: file.digest_sha256 for file in facts.files}
    for purl, places in alike.items():
        yield _component(purl, places, digests)


def _component(purl: PackageURL, places: list[Bundled], digests: Mapping[str, str]) -> Component:
    first = places[0]
    # Only a jar is the thing itself; the others are told by a small file of theirs.
    is_file = first.kind in {"maven", "generic"} and len(places) == 1
    digest = digests.get(first.path, "") if is_file else ""
    return Component(
        type=ComponentType.LIBRARY,
        name=first.name,
        group=first.namespace or None,
        version=first.version or None,
        bom_ref=purl.to_string(),
        purl=purl,
        scope=ComponentScope.REQUIRED,
        licenses=_licenses(first.license),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else [],
        properties=[Property(name="ovenbird:path", value=one.path) for one in places],
    )


def _licenses(text: str) -> list[License]:
    text = text.strip()
    if not text or "\n" in text or len(text) > LICENSE_CHARACTERS:
        return []
    return [LicenseFactory().make_from_string(text)]
