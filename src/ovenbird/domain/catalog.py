"""The catalog: which packages exist, what each came from, and which repository state holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryState:
    """One numbered, immutable state of a repository's channel.

    In apt's words: ``deb [signed-by=KEY_PATH] URL SUITE COMPONENT``; in yum's:
    ``baseurl=URL/yum/SUITE/ARCHITECTURE``.

    Args:
        number: Counts up by one with each publish, from 1.
        url: Root of the repository: ``file:/srv/repository``, ``http://...`` or
            ``s3://BUCKET/PREFIX`` (which only we can read; see ``Repository.reachable``).
        suite: Names this very state for ever, as ``candidate-7``.
        key_path: Absolute path of the public keys (binary, for ``signed-by``).
    """

    repository: str
    channel: str
    number: int
    url: str
    suite: str
    component: str
    key_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """One path that a package installs.

    Args:
        path: Absolute.
        mode: Permission bits; with the file type's bits, as ``stat`` has them.
        target: Of a symbolic link; empty otherwise.
        digest_sha256: Of a regular file, lowercase hex; empty otherwise.
        interpreter: Of a script, what follows ``#!``, as ``/usr/bin/env python3``.
        machine: Of an ELF file, what it runs on: ``amd64``, ``arm64``, another Debian
            architecture, or the number of the ELF header where there is no name for it.
    """

    path: str
    mode: int
    owner: str = "root"
    group: str = "root"
    size_bytes: int = 0
    target: str = ""
    digest_sha256: str = ""
    interpreter: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check has to say of a package.

    Args:
        tool: ``ovenbird``, ``lintian`` or ``rpmlint``.
        code: The tool's name for it, as ``missing-command``.
        level: ``error`` or ``warning``.
        place: Path in the package, or place in the manifest; empty for the whole package.
    """

    tool: str
    code: str
    level: str
    text: str
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What is inside a package file, and what is said of it.

    Args:
        relations: Field of the format, as ``Depends`` → relations in its words.
        scripts: Name of a maintainer script → its text.
        configs: Paths that the package manager treats as configuration.
        findings: Of the checks; empty when none had anything to say.
        sbom: CycloneDX document in JSON; empty when none was made.
        log_path: The build's log on the building host.
        builder: Program and version, and the host's name.
        build_branch: The branch that was built, when it is known.
    """

    files: tuple[PackageFile, ...] = ()
    relations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    sbom: str = ""
    log_path: str = ""
    builder: str = ""
    build_branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PackageKey:
    """What tells one package file from all others."""

    name: str
    version: str
    architecture: str
    format: PackageFormat

    @classmethod
    def of(cls, package: Package) -> PackageKey:
        """Return the key of a package."""
        return cls(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            format=package.format,
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.architecture} {self.format.value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A package's stay in one channel of one repository.

    Args:
        state_number: The first state that has it.
        withdrawn_in: The first state that has it no more; 0 while the channel has it.
        withdrawn_because: The reason, in words.
    """

    key: PackageKey
    repository: str
    channel: str
    state_number: int
    published_at: datetime
    published_by: str
    withdrawn_in: int = 0
    withdrawn_at: datetime | None = None
    withdrawn_by: str = ""
    withdrawn_because: str = ""

    @property
    def current(self) -> bool:
        """Whether the newest state of the channel has it."""
        return self.withdrawn_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One package with its provenance; *channel* and *state_number* say where it came first.

    Args:
        facts: Empty in lists: they are long, and are read for one package at a time.
        withdrawn_at: When no channel had it any more; its file may be gone since then.
    """

    package: Package
    source: Source
    channel: str
    state_number: int
    published_at: datetime
    published_by: str
    facts: PackageFacts = field(default_factory=PackageFacts)
    withdrawn_at: datetime | None = None

    @property
    def key(self) -> PackageKey:
        """What tells its package from all others."""
        return PackageKey.of(self.package)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What leaves a repository's storage.

    Args:
        states: Channel → numbers of states, in order.
        names: Stored objects that no other state needs.
    """

    states: Mapping[str, tuple[int, ...]]
    names: tuple[str, ...]
