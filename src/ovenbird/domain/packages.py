"""Packages: what a manifest asks for, and what was built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PackageFormat(StrEnum):
    """A package manager's file format."""

    DEB = "deb"
    RPM = "rpm"


class ContentKind(StrEnum):
    """How a piece of content is installed. Source: nfpm's configuration reference, ``contents``."""

    FILE = "file"
    TREE = "tree"
    CONFIG = "config"  # kept when an operator has changed it (deb: conffile)
    DIR = "dir"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One thing that the package installs.

    Args:
        origin: Path in the built checkout, relative; a symlink's target; empty for ``dir``.
        destination: Absolute path on the machine.
        mode: Permission bits, or None to keep the file's own.
    """

    origin: str
    destination: str
    kind: ContentKind = ContentKind.FILE
    mode: int | None = None
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process that the init system keeps running.

    Args:
        command: Absolute program and its arguments, as in a unit file's ``ExecStart``.
        user: The account it runs as; made by the package when it is not ``root``.
        config_reload: Signal that makes it read its configuration again, as ``SIGHUP``.
    """

    name: str
    command: str
    user: str = "root"
    restart: str = "always"
    config_reload: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSpec:
    """What the manifest says about the app's package.

    Args:
        build: Shell line that runs in a clean checkout; empty when nothing is to be built.
        depends: Format → relations, as ``nginx (>= 1.20)``.
        tag_prefix: What version tags begin with, as ``v``.
        timeout_s: Seconds after which the build is stopped.
    """

    name: str
    maintainer: str
    description: str = ""
    homepage: str = ""
    license: str = ""
    formats: tuple[PackageFormat, ...] = (PackageFormat.DEB,)
    architecture: str = "all"
    build: str = ""
    contents: tuple[Content, ...] = ()
    depends: Mapping[PackageFormat, tuple[str, ...]] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    tag_prefix: str = "v"
    timeout_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One built package file.

    Args:
        path: Absolute path of the file on this host, in the outbox or in a repository.
        digest_sha256: Lowercase hex of the file's bytes.
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
