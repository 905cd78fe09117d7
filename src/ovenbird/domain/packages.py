"""Packages: what a manifest asks for, and what was built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ovenbird.domain.relations import Relation


class PackageFormat(StrEnum):
    """A package manager's file format."""

    DEB = "deb"
    RPM = "rpm"
    APK = "apk"
    ARCHLINUX = "archlinux"


class ContentKind(StrEnum):
    """How a piece of content is installed. Source: nfpm's configuration reference, ``contents``."""

    FILE = "file"
    TREE = "tree"
    CONFIG = "config"  # kept when an operator has changed it (deb: conffile, rpm: noreplace)
    CONFIG_REPLACED = "config_replaced"  # rpm: the new one wins, the operator's is kept aside
    CONFIG_MISSING_OK = "config_missing_ok"
    GHOST = "ghost"  # rpm: owned by the package, made by something else
    DIR = "dir"
    SYMLINK = "symlink"
    DOC = "doc"
    LICENSE = "license"
    README = "readme"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One thing that the package installs.

    Args:
        origin: Path in the built checkout, relative; a symlink's target; empty for ``dir``
            and ``ghost``.
        destination: Absolute path on the machine.
        mode: Permission bits, or None to keep the file's own.
        formats: The formats that have it; empty for all.
        place: Where the manifest says it, as ``package.contents[2]``, for errors.
    """

    origin: str
    destination: str
    kind: ContentKind = ContentKind.FILE
    mode: int | None = None
    owner: str = "root"
    group: str = "root"
    formats: tuple[PackageFormat, ...] = ()
    place: str = ""


class Init(StrEnum):
    """What starts services on the machine."""

    SYSTEMD = "systemd"
    UPSTART = "upstart"
    SYSV = "sysv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process that the init system keeps running, or a job that it runs.

    Args:
        command: Absolute program and its arguments, as in a unit file's ``ExecStart``.
        user: The account it runs as; made by the package when it is not ``root``.
        group: Its group; empty for the account's own.
        oneshot: It runs to its end and is done; nothing restarts it.
        schedule: When a one-shot job runs, as systemd.time(7) says calendar events
            (``daily``, ``*-*-* 03:00:00``); empty for a service that starts at boot.
        config_reload: Signal that makes it read its configuration again, as ``SIGHUP``.
        working_directory: Absolute, or empty.
        limits: Directive of systemd.exec(5) or systemd.resource-control(5) → value, as
            ``LimitNOFILE`` → ``65536`` or ``MemoryMax`` → ``512M``.
        overrides: Section of the unit → directive → value; an empty value leaves a default
            directive out; several values are given by newlines.
        enabled: Whether it starts at boot.
        restarted: Whether an upgrade restarts it.
    """

    name: str
    command: str
    user: str = "root"
    group: str = ""
    oneshot: bool = False
    schedule: str = ""
    restart: str = "always"
    config_reload: str = ""
    working_directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    enabled: bool = True
    restarted: bool = True


class BuildKind(StrEnum):
    """What brings an app's dependencies into its package."""

    COMMAND = "command"
    MAKE = "make"
    PYTHON = "python"
    NODE = "node"
    BINARY = "binary"


class Isolation(StrEnum):
    """Where a build runs."""

    HOST = "host"
    CHROOT = "chroot"  # in the base image's root file system


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """How contents come to be, in a clean checkout.

    Args:
        kind: The helper.
        command: Shell line; for helpers what runs before them, as ``npm run build``. Empty for
            nothing.
        target: make: its target. binary: the program that the command makes, a path in the
            checkout.
        into: python and node: the absolute directory at which the app stands on the machine;
            the built tree is ``dist/`` + *into* in the checkout, binary: the program's place.
        requirements: python: the pinned requirements file; empty for the project's own metadata.
        interpreter: python: absolute path on the machine, as ``/usr/bin/python3``.
        depends: Debian packages that the build needs, for ``chroot``.
        timeout_s: Seconds after which the build is stopped.
    """

    kind: BuildKind = BuildKind.COMMAND
    command: str = ""
    target: str = ""
    into: str = ""
    requirements: str = ""
    interpreter: str = "/usr/bin/python3"
    environment: Mapping[str, str] = field(default_factory=dict)
    isolation: Isolation = Isolation.HOST
    depends: tuple[str, ...] = ()
    timeout_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSite:
    """What a build has of this host.

    Args:
        tree: Absolute directory of the checkout's root, with its ``.git``.
        directory: The app's directory in it, relative; empty for the root.
        home: Absolute directory for what the build keeps beside the checkout; removed after it.
        seen: Directories that must be seen at the same place inside, as pip's ``find-links``.
    """

    tree: str
    directory: str
    home: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpec:
    """How an app's version is made.

    Args:
        tag_prefix: What version tags begin with, as ``v`` or ``hello/v``.
        explicit: The version itself, whatever the tags say; empty to go by the tags.
        epoch: Sorts before everything; 0 for none.
        revision: Of the packaging; empty for none (rpm: 1).
    """

    tag_prefix: str = "v"
    explicit: str = ""
    epoch: int = 0
    revision: str = ""


class RelationKind(StrEnum):
    """What one package is to another. Source: Debian policy 7; nfpm's configuration reference."""

    DEPENDS = "depends"
    RECOMMENDS = "recommends"
    SUGGESTS = "suggests"
    CONFLICTS = "conflicts"
    REPLACES = "replaces"
    PROVIDES = "provides"


class ScriptMoment(StrEnum):
    """When a maintainer script of the app's own runs; ours run around it."""

    PREINSTALL = "preinstall"
    POSTINSTALL = "postinstall"
    PREREMOVE = "preremove"
    POSTREMOVE = "postremove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What one format has differently; what is not said stays.

    Args:
        relations: Kind → relations that take the place of the general ones.
        contents: Further contents, for this format alone.
        scripts: Moment → path in the checkout, in the place of the general one.
    """

    relations: Mapping[RelationKind, tuple[Relation, ...]] = field(default_factory=dict)
    contents: tuple[Content, ...] = ()
    scripts: Mapping[ScriptMoment, str] = field(default_factory=dict)
    umask: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSpec:
    """What the manifest says about one package.

    Args:
        architecture: ``all``, ``amd64`` or ``arm64``.
        init: The init systems that service files are made for.
        relations: Kind → relations, for all formats.
        scripts: Moment → path in the checkout.
        umask: Cleared from the modes of contents that say no mode.
        changelog: Path in the checkout of a changelog in chglog's YAML; empty for none.
        specifics: Format → nfpm's own section for it (``deb``, ``rpm``, …), passed on.
        overrides: Format → what it has differently.
        allowed: Findings of the check that are accepted, by their codes.
    """

    name: str
    maintainer: str
    description: str = ""
    homepage: str = ""
    license: str = ""
    vendor: str = ""
    section: str = "misc"
    priority: str = "optional"
    formats: tuple[PackageFormat, ...] = (PackageFormat.DEB,)
    architecture: str = "all"
    contents: tuple[Content, ...] = ()
    services: tuple[Service, ...] = ()
    init: tuple[Init, ...] = (Init.SYSTEMD,)
    relations: Mapping[RelationKind, tuple[Relation, ...]] = field(default_factory=dict)
    scripts: Mapping[ScriptMoment, str] = field(default_factory=dict)
    umask: int = 0o022
    changelog: str = ""
    specifics: Mapping[PackageFormat, Mapping[str, Any]] = field(default_factory=dict)
    overrides: Mapping[PackageFormat, Override] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()

    def relations_of(self, format_: PackageFormat, kind: RelationKind) -> tuple[Relation, ...]:
        """Return the relations that a format has."""
        override = self.overrides.get(format_, Override())
        return override.relations.get(kind, self.relations.get(kind, ()))

    def contents_of(self, format_: PackageFormat) -> tuple[Content, ...]:
        """Return the contents that a format has."""
        general = [c for c in self.contents if not c.formats or format_ in c.formats]
        return (*general, *self.overrides.get(format_, Override()).contents)

    def script_of(self, format_: PackageFormat, moment: ScriptMoment) -> str:
        """Return the path of the app's own script for a moment, or nothing."""
        override = self.overrides.get(format_, Override())
        return override.scripts.get(moment, self.scripts.get(moment, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One built package file.

    Args:
        version: As dpkg takes it, the same for every format: ``1.2.0~rc1``, ``1:1.0-2``.
        architecture: ``all``, ``amd64`` or ``arm64``, whatever the format calls it.
        path: Absolute path of the file on this host, in the outbox or in a repository.
        digest_sha256: Lowercase hex of the file's bytes.
        signed_by: Fingerprint of the key that signed it; empty when it is not signed.
    """

    name: str
    version: str
    architecture: str
    format: PackageFormat
    path: str
    digest_sha256: str
    size_bytes: int
    app: str
    commit: str
    signed_by: str = ""
