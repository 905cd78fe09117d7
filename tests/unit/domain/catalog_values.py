"""Packages for tests of the catalog."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ovenbird.domain.catalog import (
    CatalogEntry,
    Finding,
    PackageFacts,
    PackageFile,
    Publication,
    RepositoryState,
)
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.sources import Source

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SBOM = """{"bomFormat": "CycloneDX", "components": [
  {"name": "Flask", "version": "3.0.0", "components": [{"name": "click", "version": "8.1.7"}]},
  {"group": "org.slf4j", "name": "slf4j-api", "version": "2.0.1"}
]}"""
FACTS = PackageFacts(
    files=(
        PackageFile(path="/opt/hello/bin/hello", mode=0o100755, size_bytes=3, digest_sha256="aa"),
        PackageFile(path="/etc/hello/hello.toml", mode=0o100644),
        PackageFile(path="/opt/hello/now", mode=0o120777, target="bin"),
    ),
    relations={
        "Depends": ("nginx (>= 1.20)", "python3 | python3-minimal"),
        "Recommends": ("nginx",),
    },
    scripts={"postinst": "#!/bin/sh\nexit 0\n"},
    configs=("/etc/hello/hello.toml",),
    findings=(
        Finding(
            tool="ovenbird", code="missing-command", level="error", text="no `x`", place="/opt"
        ),
    ),
    sbom=SBOM,
    log_path="/outbox/build.log",
    builder="ovenbird 1 on box",
    build_branch="main",
)


def entry(  # noqa: PLR0913 - all by name
    version: str = "1.0.0",
    *,
    name: str = "hello",
    app: str = "hello",
    days: float = 0,
    format_: PackageFormat = PackageFormat.DEB,
    facts: PackageFacts | None = None,
    digest: str = "",
) -> CatalogEntry:
    """Return a package that was published *days* after ``AT``."""
    commit = hashlib.sha1(f"{app} {version}".encode(), usedforsecurity=False).hexdigest()
    package = Package(
        name=name, version=version, architecture="all", format=format_,
        path=f"/outbox/{name}_{version}.{format_.value}",
        digest_sha256=digest or f"{name}-{version}-{format_.value}".encode().hex(),
        size_bytes=7, app=app, commit=commit, signed_by="ABCD",
    )  # fmt: skip
    source = Source(url="/apps/hello", ref=f"v{version}", commit=commit, committed_at_epoch_s=1)
    return CatalogEntry(
        package=package, source=source, channel="candidate", state_number=1,
        published_at=AT + timedelta(days=days), published_by="ann",
        facts=facts or PackageFacts(),
    )  # fmt: skip


def publication(of: CatalogEntry, *, channel: str = "candidate", number: int = 1) -> Publication:
    """Return the entry's stay in a channel."""
    return Publication(
        key=of.key, repository="main", channel=channel, state_number=number,
        published_at=of.published_at, published_by="ann",
    )  # fmt: skip


def state(number: int, channel: str = "candidate") -> RepositoryState:
    """Return a state of the repository."""
    return RepositoryState(
        repository="main", channel=channel, number=number, url="file:/r",
        suite=f"{channel}-{number}", component="main", key_path="/k",
    )  # fmt: skip


def bare(full: CatalogEntry) -> CatalogEntry:
    """Return the entry as lists give it."""
    return replace(full, facts=PackageFacts())
