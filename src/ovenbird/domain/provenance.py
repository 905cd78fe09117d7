"""What is said of an image, and signed: where it comes from, and whether it boots.

    request, base, packages, commit ─┐
    blocks, list of files, SBOM ─────┴─▶ statement ─▶ its digest (a tag) ─▶ envelope, signed

A statement is the same bytes for the same inputs: neither time nor host nor release is in it,
so that a bake that was killed and goes on says the same, and its tags do not change.

The image's *subject* is its name and version with the digest of the blocks that differ from
the base's snapshot (``domain.blocks.disk_digest``): EC2 gives an image its id only later.

Source: in-toto attestation framework, Statement v1; SLSA, "Build: Provenance"
(``https://slsa.dev/provenance/v1``); in-toto, "Test Result" v0.1; DSSE, "protocol", PAE;
package-url, types ``deb`` and ``rpm``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self
from urllib.parse import quote

from ovenbird.domain.images import BakeRequest, Image, PackagePin

STATEMENT = "https://in-toto.io/Statement/v1"
SLSA = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD_TYPE = "https://ovenbird.example/bake/v1"  # docs/guides/images.md says what it means
BUILDER = "https://ovenbird.example/bake"
WHOLE = "all"  # what a subject's digest covers, when it is not the blocks that differ
FILES, SBOM = "files.jsonl.zst", "sbom.cdx.json"  # names of what is kept beside a statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a bake made of a request.

    Args:
        disk_sha256: Of the blocks that differ from the base's.
        engine: Number of the bake engine.
        builder_version: Of ovenbird.
        is_whole: That digest is of all blocks with data, since nobody but its owner may read
            the base's snapshot.
    """

    request: BakeRequest
    base: Image
    bake_key: str
    disk_sha256: str
    engine: int
    builder_version: str
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is kept of an image.

    Args:
        bake_key: Of the bake that made it.
        statement: Where it comes from, JSON.
        files: Every file, as ``system.image_contents.packed`` makes it.
        sbom: CycloneDX, JSON.
    """

    bake_key: str
    statement: bytes
    files: bytes
    sbom: bytes

    @property
    def digest_sha256(self) -> str:
        """The statement's digest, which names the evidence; the image's tag has it."""
        return sha256(self.statement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What was read of an envelope whose signature is good.

    Args:
        fingerprints: Of our keys that signed it.
    """

    statement: bytes
    fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a statement says of an image, as far as it is compared with other records.

    Args:
        packages: Name → (version, SHA-256) of what was installed from our repository.
        byproducts: Name of a kept file → its SHA-256.
        is_whole: As in :class:`Made`.
    """

    app: str
    version: str
    source_url: str
    commit: str
    bake_key: str
    disk_sha256: str
    base_image_id: str
    base_snapshot_id: str
    packages: Mapping[str, tuple[str, str]]
    byproducts: Mapping[str, str]
    is_whole: bool = False

    @classmethod
    def parse(cls, statement: bytes) -> Self:
        """Read a statement of ours.

        Raises:
            ValueError: It is no such statement.
        """
        try:
            return cls(**_origin(json.loads(statement)))
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            raise ValueError(f"no statement about an image: {error!r}") from error


def provenance(made: Made, byproducts: Mapping[str, bytes]) -> bytes:
    """Return the statement of where an image comes from.

    Args:
        made: The image.
        byproducts: Name → bytes of what is kept beside the statement.
    """
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": _asked(made.request),
            "internalParameters": {"bakeKey": made.bake_key, "engine": made.engine},
            "resolvedDependencies": list(_inputs(made)),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"ovenbird": made.builder_version}},
            "byproducts": [
                {"name": name, "digest": {"sha256": sha256(data)}}
                for name, data in sorted(byproducts.items())
            ],
        },
    }
    subject: dict[str, Any] = {
        "name": f"{made.request.app} {made.request.version}",
        "digest": {"sha256": made.disk_sha256},
    }
    if made.is_whole:
        subject["annotations"] = {"blocks": WHOLE}
    return _statement(subject, SLSA, predicate)


def boot_result(
    image: Image, *, provenance_sha256: str, disk_sha256: str, engine: str, reason: str
) -> bytes:
    """Return the statement of whether an image has booted.

    Args:
        image: As it was registered.
        provenance_sha256: Of the statement of where it comes from; empty for none.
        disk_sha256: Of its blocks; empty when it is not known.
        engine: How it was booted.
        reason: Why it is not fit; empty when it is.
    """
    name = "boot"
    predicate = {
        "result": "FAILED" if reason else "PASSED",
        "configuration": [
            {"name": image.image_id, "digest": {"sha256": provenance_sha256}},
            {"name": image.root_snapshot_id, "annotations": {"engine": engine}},
        ],
        "passedTests": [] if reason else [name],
        "failedTests": [name] if reason else [],
    }
    if reason:
        predicate["ovenbird_reason"] = reason
    digest = {"sha256": disk_sha256} if disk_sha256 else {"bakeKey": image.bake_key}
    return _statement({"name": image.name, "digest": digest}, TEST_RESULT, predicate)


def has_passed(statement: bytes, image: Image) -> bool:
    """Tell whether a statement says that this very image has booted."""
    found = json.loads(statement)
    predicate = found.get("predicate", {})
    named = {one.get("name") for one in predicate.get("configuration", [])}
    return (
        found.get("predicateType") == TEST_RESULT
        and predicate.get("result") == "PASSED"
        and {image.image_id, image.root_snapshot_id} <= named
    )


def signed_bytes(statement: bytes) -> bytes:
    """Return what a signature is of: a statement with its type. Source: DSSE, PAE."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD), PAYLOAD.encode(), len(statement), statement)


def package_url(
    manager: str, name: str, version: str, architecture: str, *, distribution: str = ""
) -> str:
    """Return a package's URL.

    Args:
        manager: ``deb`` or ``rpm``.
        name: As its manager names it.
        version: With the epoch where there is one.
        architecture: In its manager's words.
        distribution: As ``debian-12``; empty for a package of ours.
    """
    epoch, colon, rest = version.partition(":")
    told = {"arch": architecture}
    if distribution:
        told["distro"] = distribution
    if manager == "rpm" and colon:
        version, told["epoch"] = rest, epoch
    vendor = distribution.partition("-")[0]
    place = f"{manager}/{quote(vendor)}" if vendor else manager
    qualifiers = "&".join(f"{key}={quote(told[key], safe=':')}" for key in sorted(told))
    return f"pkg:{place}/{quote(name, safe='')}@{quote(version, safe=':')}?{qualifiers}"


def sha256(data: bytes) -> str:
    """Return the digest of bytes, lowercase hex."""
    return hashlib.sha256(data).hexdigest()


def _statement(subject: Mapping[str, Any], kind: str, predicate: Mapping[str, Any]) -> bytes:
    document = {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": kind,
        "predicate": predicate,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _asked(request: BakeRequest) -> dict[str, Any]:
    recipe = [{"kind": type(step.work).__name__, **asdict(step)} for step in request.recipe]
    return {
        "app": request.app,
        "version": request.version,
        "source": _source_uri(request),
        "recipe": recipe,
        "strategy": request.strategy.value,
    }


def _source_uri(request: BakeRequest) -> str:
    return f"git+{request.source_url}@{request.commit}"


def _inputs(made: Made) -> Iterator[dict[str, Any]]:
    request, base = made.request, made.base
    yield {
        "name": "source",
        "uri": _source_uri(request),
        "digest": {"gitCommit": request.commit},
    }
    yield {
        "name": "base",
        "uri": f"ec2:{base.root_snapshot_id}",
        "annotations": {"image": base.image_id, "name": base.name, "owner": base.owner_id},
    }
    for path, digest in sorted(request.files.items()):
        mode, _, hexadecimal = digest.rpartition(" ")
        told = {"annotations": {"mode": mode}} if mode else {}
        yield {"name": "recipe file", "uri": path, "digest": {"sha256": hexadecimal}, **told}
    yield from (_package(pin, request) for pin in request.packages)


def _package(pin: PackagePin, request: BakeRequest) -> dict[str, Any]:
    state = request.repository
    return {
        "name": f"package {pin.name}",
        "uri": package_url("deb", pin.name, pin.version, pin.architecture),
        "digest": {"sha256": pin.digest_sha256},
        "annotations": {"version": pin.version, "repository": f"{state.repository}/{state.suite}"},
    }


def _origin(document: Mapping[str, Any]) -> dict[str, Any]:
    (subject,) = document["subject"]
    if (document["_type"], document["predicateType"]) != (STATEMENT, SLSA):
        raise KeyError(document["predicateType"])
    built, ran = document["predicate"]["buildDefinition"], document["predicate"]["runDetails"]
    inputs: Sequence[Mapping[str, Any]] = built["resolvedDependencies"]
    source, base = (next(one for one in inputs if one["name"] == name) for name in _ROOTS)
    packages = {
        one["name"].removeprefix("package "): (
            one["annotations"]["version"],
            one["digest"]["sha256"],
        )
        for one in inputs
        if one["name"].startswith("package ")
    }
    return {
        "app": built["externalParameters"]["app"],
        "version": built["externalParameters"]["version"],
        "source_url": source["uri"].removeprefix("git+").rpartition("@")[0],
        "commit": source["digest"]["gitCommit"],
        "bake_key": built["internalParameters"]["bakeKey"],
        "disk_sha256": subject["digest"]["sha256"],
        "is_whole": subject.get("annotations", {}).get("blocks") == WHOLE,
        "base_image_id": base["annotations"]["image"],
        "base_snapshot_id": base["uri"].removeprefix("ec2:"),
        "packages": packages,
        "byproducts": {one["name"]: one["digest"]["sha256"] for one in ran["byproducts"]},
    }


_ROOTS = ("source", "base")
