"""An app to package, and packages of it written by our own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovenbird.domain.packages import (
    Content,
    ContentKind,
    PackageFormat,
    PackageSpec,
    Service,
)
from ovenbird.packaging.writing import nfpm
from ovenbird.system.commands import run

EPOCH_S = 1_767_323_045
MAINTAINER = "Hello Team <hello@example.com>"


def spec(**more: Any) -> PackageSpec:
    """Return a package `hello` with what a test cares for."""
    return PackageSpec(**{"name": "hello", "maintainer": MAINTAINER, **more})


def service(**more: Any) -> Service:
    return Service(**{"name": "web", "command": "/opt/hello/bin/hello", "user": "hello", **more})


def content(origin: str, destination: str, kind: str = "file", **more: Any) -> Content:
    words = {"place": "package.contents[0]", **more}
    return Content(origin=origin, destination=destination, kind=ContentKind(kind), **words)


def checkout(top: Path) -> Path:
    """Write a built tree: programs, a link, configuration, words."""
    (top / "dist/bin").mkdir(parents=True)
    (top / "dist/share/empty").mkdir(parents=True)
    (top / "dist/bin/hello").write_text("#!/bin/sh\nexec sleep 1000\n")
    (top / "dist/bin/hello").chmod(0o755)
    (top / "dist/bin/again").symlink_to("hello")
    (top / "dist/share/$HOME é.txt").write_text("words\n")
    (top / "hello.toml").write_text("a = 1\n")
    (top / "README.md").write_text("Hello\n")
    (top / "changelog.yaml").write_text(
        "- semver: 1.2.0\n"
        "  date: 2026-01-02T03:04:05Z\n"
        f"  packager: {MAINTAINER}\n"
        "  changes: [{note: Says hello}]\n"
    )
    return top


def queried(package: Path, *words: str) -> str:
    """Ask rpm about a package file.

    Debian's rpm would make a database in the caller's home, so it gets one beside the file.
    """
    line: list[str | Path] = [
        "rpm",
        "--dbpath",
        package.parent / "rpmdb",
        "--query",
        *words,
        "--package",
        package,
    ]
    return run(line, timeout_s=30)


def written(
    asked: PackageSpec, format_: PackageFormat, top: Path, work: Path, version: str = "1.2.0"
) -> Path:
    """Write a package of what is at *top*; return its file."""
    staging = work / f"{format_.value}.staging"
    staging.mkdir(parents=True)
    target = work / nfpm.file_name(asked, version, format_)
    nfpm.package(
        asked,
        version=version,
        checkout=top,
        staging=staging,
        epoch_s=EPOCH_S,
        target=target,
    )
    return target
