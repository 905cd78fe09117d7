"""Maintainer scripts: make accounts, enable and start services, and undo it.

They go through `deb-systemd-helper` and `deb-systemd-invoke`, as debhelper's do, so that
the machine's policy (`policy-rc.d`) is obeyed: in a bake units are enabled, and nothing starts.

Source: Debian policy 6.5 (order and arguments), deb-systemd-helper(1p), deb-systemd-invoke(1p).
"""

from __future__ import annotations

from collections.abc import Sequence

from ovenbird.domain.packages import PackageSpec

_HEAD = "#!/bin/sh\nset -e\n"
_USERADD = "useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin"


def users(spec: PackageSpec) -> tuple[str, ...]:
    """Return the accounts that the package makes, sorted."""
    return tuple(sorted({service.user for service in spec.services} - {"root"}))


def postinst(spec: PackageSpec, units: Sequence[str]) -> str:
    """Return the script that runs after unpacking: accounts first, then services."""
    if not units:  # and so no accounts; a shell takes no empty branch
        return _HEAD
    lines = [_HEAD, 'if [ "$1" = configure ]; then']
    for user in users(spec):
        lines += [
            f"  if ! getent passwd {user} >/dev/null; then",
            f"    {_USERADD} {user}",
            "  fi",
        ]
    for name in units:
        lines += [
            f"  deb-systemd-helper unmask {name} >/dev/null || true",
            f"  if deb-systemd-helper --quiet was-enabled {name}; then",
            f"    deb-systemd-helper enable {name} >/dev/null || true",
            "  else",
            f"    deb-systemd-helper update-state {name} >/dev/null || true",
            "  fi",
        ]
    lines += [
        "  if [ -d /run/systemd/system ]; then",
        "    systemctl --system daemon-reload >/dev/null || true",
        '    if [ -n "$2" ]; then action=restart; else action=start; fi',
        f'    deb-systemd-invoke "$action" {" ".join(units)} >/dev/null || true',
        "  fi",
    ]
    return "\n".join([*lines, "fi", ""])


def prerm(units: Sequence[str]) -> str:
    """Return the script that runs before removal: services stop."""
    lines = [_HEAD]
    if units:
        lines += [
            'if [ "$1" = remove ] && [ -d /run/systemd/system ]; then',
            f"  deb-systemd-invoke stop {' '.join(units)} >/dev/null || true",
            "fi",
        ]
    return "\n".join([*lines, ""])


def postrm(units: Sequence[str]) -> str:
    """Return the script that runs after removal: units masked, on purge forgotten."""
    lines = [_HEAD]
    for name in units:
        lines += [
            "if [ -x /usr/bin/deb-systemd-helper ]; then",
            f'  [ "$1" != remove ] || deb-systemd-helper mask {name} >/dev/null || true',
            '  if [ "$1" = purge ]; then',
            f"    deb-systemd-helper purge {name} >/dev/null || true",
            f"    deb-systemd-helper unmask {name} >/dev/null || true",
            "  fi",
            "fi",
        ]
    if units:
        lines += ["[ ! -d /run/systemd/system ] || systemctl --system daemon-reload || true"]
    return "\n".join([*lines, ""])
