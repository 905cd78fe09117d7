"""An image's bill of materials, in CycloneDX's JSON: every package that is installed.

Written by hand, other than a package's (decision 0014): the document is flat, and the bake
waits for it; the library takes 80 ms for 200 packages and 40 ms to be loaded, this 3 ms
(measured on 2026-11-28). A test holds it against CycloneDX's schema, by the library.

The same image gives the same text: the serial number comes from the digest of its disk, and
no time is said.

Source: CycloneDX 1.6, JSON reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ovenbird.domain.contents import ImageContents, InstalledPackage
from ovenbird.domain.images import PackagePin
from ovenbird.domain.provenance import Made, package_url
from ovenbird.packaging.reading.serials import serial


def image_sbom(made: Made, contents: ImageContents) -> bytes:
    """Return an image's bill of materials.

    Args:
        made: The image.
        contents: What is in it.
    """
    request = made.request
    own = {(pin.name, pin.version): pin for pin in request.packages}
    parts = {}
    for package in contents.packages:
        part = _component(package, contents.distribution, own)
        parts[part["bom-ref"]] = part
    root = f"image:{made.bake_key}"
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial(made.disk_sha256)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "platform",
                "bom-ref": root,
                "name": request.app,
                "version": request.version,
            }
        },
        "components": [*_distribution(contents.distribution), *parts.values()],
        "dependencies": [{"ref": root, "dependsOn": sorted(parts)}],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _distribution(name: str) -> list[dict[str, Any]]:
    if not name:
        return []
    word, _, version = name.partition("-")
    told = {"version": version} if version else {}
    return [{"type": "operating-system", "bom-ref": f"os:{name}", "name": word, **told}]


def _component(
    package: InstalledPackage, distribution: str, own: Mapping[tuple[str, str], PackagePin]
) -> dict[str, Any]:
    pin = own.get((package.name, package.version))
    url = package_url(
        package.manager,
        package.name,
        package.version,
        package.architecture,
        distribution="" if pin else distribution,
    )
    part: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
    }
    if package.maintainer:
        part["publisher"] = package.maintainer
    if package.source:
        part["properties"] = [{"name": "ovenbird:source-package", "value": package.source}]
    if pin:
        part["hashes"] = [{"alg": "SHA-256", "content": pin.digest_sha256}]
    return part
