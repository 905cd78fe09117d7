"""The maintainer scripts of a package: ours and the app's own, for each moment of each format.

apk and archlinux run scripts of their own at upgrades; there what is said for installations
counts, as deb and rpm have it.

Source: Debian policy 6.5; rpm, "Scriptlets"; apk-package(5); PKGBUILD(5), "Install".
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from ovenbird.domain.packages import PackageFormat, PackageSpec, ScriptMoment
from ovenbird.packaging.writing import deb_scripts, own_scripts, rpm_scripts
from ovenbird.packaging.writing.contents import Entry
from ovenbird.packaging.writing.duties import Duties, duties

HEAD = "#!/bin/sh\nset -e\n"
PREUPGRADE, POSTUPGRADE = "preupgrade", "postupgrade"
_UPGRADES = {PREUPGRADE: ScriptMoment.PREINSTALL, POSTUPGRADE: ScriptMoment.POSTINSTALL}
_TELL_UPGRADES = frozenset({PackageFormat.APK, PackageFormat.ARCHLINUX})


def scripts(
    spec: PackageSpec, format_: PackageFormat, checkout: Path, entries: tuple[Entry, ...]
) -> dict[str, str]:
    """Return the texts of scripts by nfpm's names for their moments; those that do something.

    Args:
        spec: What the manifest says.
        format_: The format that they are for.
        checkout: The built tree that the app's own scripts are read from.
        entries: What the package installs.

    Raises:
        InvalidRequest: One of the app's scripts is not in the checkout, or is no text.
    """
    found = duties(spec, format_)
    ours = (
        _deb(found, entries) if format_ is PackageFormat.DEB else _others(found, format_, entries)
    )
    texts = {}
    for moment, lines in ours.items():
        path, place = _own(spec, format_, moment)
        own = own_scripts.read(checkout, path, place=place) if path else ""
        if text := joined(moment, lines, own):
            texts[moment] = text
    return texts


def joined(moment: str, ours: list[str], own: str) -> str:
    """Return one script: before files come ours is first, and so when the package goes.

    The app's own runs with accounts made, before services start, after they have stopped,
    and before anything is forgotten.
    """
    theirs = own_scripts.embedded(own)
    first_is_theirs = moment in {"postinstall", "postremove", POSTUPGRADE}
    parts = [theirs, ours] if first_is_theirs else [ours, theirs]
    lines = [line for part in parts for line in part]
    return "\n".join([HEAD.rstrip("\n"), *lines, ":", ""]) if lines else ""


def has_own(spec: PackageSpec, format_: PackageFormat, moment: str) -> bool:
    """Tell whether the script for a moment holds one of the app's own."""
    return bool(_own(spec, format_, moment)[0])


def _deb(found: Duties, entries: tuple[Entry, ...]) -> Mapping[str, list[str]]:
    top = f"{found.unit_directory}/"
    kept = {entry.path.removeprefix(top) for entry in entries if entry.path.startswith(top)}
    return {
        "preinstall": deb_scripts.preinst(found, kept),
        "postinstall": deb_scripts.postinst(found),
        "preremove": deb_scripts.prerm(found),
        "postremove": deb_scripts.postrm(found),
    }


def _others(
    found: Duties, format_: PackageFormat, entries: tuple[Entry, ...]
) -> Mapping[str, list[str]]:
    before = rpm_scripts.before_install(found, format_)
    after = [*_owners(entries, format_), *rpm_scripts.after_install(found, format_)]
    ours = {
        "preinstall": before,
        "postinstall": after,
        "preremove": rpm_scripts.before_removal(found, format_),
        "postremove": rpm_scripts.after_removal(found, format_),
    }
    if format_ in _TELL_UPGRADES:
        ours |= {PREUPGRADE: before, POSTUPGRADE: [*after, *rpm_scripts.restarts(found)]}
    return ours


def _owners(entries: tuple[Entry, ...], format_: PackageFormat) -> list[str]:
    """Return lines that give files their owners on archlinux.

    nfpm leaves owners of files out of that format, and has those of directories (measured on
    2026-11-25 with nfpm 2.48). A change of owner takes the set-user-id bit away.
    """
    if format_ is not PackageFormat.ARCHLINUX:
        return []
    lines = []
    for entry in entries:
        if (entry.owner, entry.group) != ("root", "root") and not entry.is_directory:
            path = shlex.quote(entry.path)
            lines.append(f"chown -h {entry.owner}:{entry.group} {path}")
            lines += [f"chmod {entry.mode:o} {path}"] if entry.mode & 0o7000 else []
    return lines


def _own(spec: PackageSpec, format_: PackageFormat, moment: str) -> tuple[str, str]:
    """Return the path of the app's own script and the manifest's key that says it."""
    if moment in _UPGRADES:
        special = spec.specifics.get(format_, {}).get("scripts", {}).get(moment, "")
        if special:
            return str(special), f"package.{format_.value}.scripts.{moment}"
    known = ScriptMoment(_UPGRADES.get(moment, moment))
    override = spec.overrides.get(format_)
    if override is not None and known in override.scripts:
        return override.scripts[known], f"package.overrides.{format_.value}.scripts.{known.value}"
    return spec.script_of(format_, known), f"package.scripts.{known.value}"
