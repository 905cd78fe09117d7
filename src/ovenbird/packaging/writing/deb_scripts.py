"""Maintainer scripts of deb: make accounts, enable and start services, and undo it.

They go through `deb-systemd-helper`, `deb-systemd-invoke` and `invoke-rc.d`, as debhelper's do,
so that the machine's policy (`policy-rc.d`) is obeyed: in a bake units are enabled, and nothing
starts.

Source: Debian policy 6.5 (order and arguments), 9.3; deb-systemd-helper(1p),
deb-systemd-invoke(1p), invoke-rc.d(8), update-rc.d(8).
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.writing.duties import Duties, account_lines

_CONFIGURES = 'case "$1" in configure|abort-upgrade|abort-deconfigure|abort-remove)'
_RUNS = "[ -d /run/systemd/system ]"


def preinst(found: Duties, kept: Collection[str]) -> list[str]:
    """Return the lines before unpacking: accounts, so that contents can belong to them.

    Args:
        found: What the package needs.
        kept: Names of units that are files of the new package.
    """
    lines = account_lines(found, PackageFormat.DEB)
    made = ['case "$1" in install|upgrade)', *_in(lines), ";; esac"] if lines else []
    return [*made, *_dropped(found, {*found.units, *kept})]


def _dropped(found: Duties, kept: Collection[str]) -> list[str]:
    """Return the lines that let go of the installed package's units that the new one has not.

    Before unpacking: their files are needed to stop them, and the older package's own scripts do
    not know the newer one. When the upgrade is broken off, its postinst enables them again.
    """
    if not found.units:
        return []
    listed = f"dpkg-query --listfiles {found.package} 2>/dev/null"
    patterns = "|".join(map(shlex.quote, sorted(kept)))
    forget = _helper('purge "$unit"')
    return [
        'if [ "$1" = upgrade ]; then',
        f"  for unit in $({listed} | sed -n 's,^{found.unit_directory}/,,p'); do",
        f'    case "$unit" in {patterns}) continue;; esac',
        '    deb-systemd-helper debian-installed "$unit" || continue',
        f'    if {_RUNS}; then deb-systemd-invoke stop "$unit" >/dev/null || true; fi',
        f"    {forget}",
        "  done",
        "fi",
    ]


def postinst(found: Duties) -> list[str]:
    """Return the lines after unpacking: services are enabled and started."""
    lines = [*_enable(found), *_start(found), *_older(found)]
    return [_CONFIGURES, *_in(lines), ";; esac"] if lines else []


def prerm(found: Duties) -> list[str]:
    """Return the lines before removal: services stop."""
    lines = []
    if found.units:
        units = " ".join(found.units)
        lines += [
            f"if {_RUNS}; then",
            f"  deb-systemd-invoke stop {units} >/dev/null || true",
            "fi",
        ]
    lines += [f"{_guard(found)}invoke-rc.d {name} stop || true" for name in _names(found)]
    return ['if [ "$1" = remove ]; then', *_in(lines), "fi"] if lines else []


def postrm(found: Duties) -> list[str]:
    """Return the lines after removal: units are masked; a purge forgets, data too."""
    masked = [_helper(f"mask {unit}") for unit in found.units]
    forgotten = [
        *(_helper(f"{verb} {unit}") for unit in found.units for verb in ("purge", "unmask")),
        *(f"update-rc.d {name} remove >/dev/null || true" for name in found.sysv),
        *(f"rm -rf {shlex.quote(path)}" for path in found.purged),
        *(f"rm -f {shlex.quote(path)}" for path in found.ghosts),
    ]
    lines = []
    if masked:
        lines += ['if [ "$1" = remove ]; then', *_in(masked), "fi"]
    if forgotten:
        lines += ['if [ "$1" = purge ]; then', *_in(forgotten), "fi"]
    if found.units:
        lines += [f"if {_RUNS}; then systemctl --system daemon-reload >/dev/null || true; fi"]
    return lines


def _enable(found: Duties) -> list[str]:
    """Enable what the preset of a first installation, or the operator since then, wants so."""
    lines: list[str] = []
    for unit in found.units:
        lines += [_helper(f"unmask {unit}")]
        if unit not in found.started:
            continue
        known = f"deb-systemd-helper --quiet was-enabled {unit}"
        if unit in found.disabled:  # only an operator has enabled it; was-enabled is true at first
            known = f"deb-systemd-helper debian-installed {unit} && {known}"
        lines += [
            f"if {known}; then",
            f"  {_helper(f'enable {unit}')}",
            "else",
            f"  {_helper(f'update-state {unit}')}",
            "fi",
        ]
    return lines


def _start(found: Duties) -> list[str]:
    """Start at first and restart at upgrades; what is disabled is left alone by the helper."""
    if not found.units:
        return []
    lines = [f"if {_RUNS}; then", "  systemctl --system daemon-reload >/dev/null || true"]
    if found.restarted:
        units = " ".join(found.restarted)
        lines += [
            '  if [ -n "${2:-}" ]; then action=restart; else action=start; fi',
            f'  deb-systemd-invoke "$action" {units} >/dev/null || true',
        ]
    if found.kept:
        lines += [f"  deb-systemd-invoke start {' '.join(found.kept)} >/dev/null || true"]
    return [*lines, "fi"]


def _older(found: Duties) -> list[str]:
    lines = []
    for name in _names(found):
        if name in found.sysv:
            kind = "defaults-disabled" if name in found.sysv_disabled else "defaults"
            lines.append(f"update-rc.d {name} {kind} >/dev/null || true")
        if name in found.sysv_disabled:
            continue
        again = "restart" if name in found.sysv_restarted else "start"
        lines += [
            f'if [ -n "${{2:-}}" ]; then action={again}; else action=start; fi',
            f'{_guard(found)}invoke-rc.d {name} "$action" || true',
        ]
    return lines


def _names(found: Duties) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*found.sysv, *found.upstart)))


def _guard(found: Duties) -> str:
    """With units of its own the service is systemd's where that runs."""
    return f"{_RUNS} || " if found.units else ""


def _helper(words: str) -> str:
    return f"deb-systemd-helper {words} >/dev/null || true"


def _in(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
