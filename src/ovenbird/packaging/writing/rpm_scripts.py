"""Scriptlets of rpm, and of apk and archlinux, which lack what deb's helpers do.

What is new is marked before files are installed: a unit that was not there gets its preset
afterwards and is started, at a first installation as when an upgrade brings a further service.
A preset file of the package says what is enabled; an operator's own presets come before it.

Nothing here needs systemd to run: in an install root units are enabled, and nothing starts.

    rpm        $1 is how many of the package stay: %pre, %post 1 or 2; %preun, %postun 0 or 1
    apk        .pre-install, .post-install, .pre-upgrade, .post-upgrade, .pre-deinstall, ...
    archlinux  functions pre_install, post_install, pre_upgrade, post_upgrade, pre_remove, ...

Source: rpm, "Scriptlets"; Fedora packaging guidelines, "Scriptlets"; systemd.preset(5);
systemctl(1); PKGBUILD(5), "Install"; apk-package(5).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.writing.duties import Duties, account_lines

_RUNS = "[ -d /run/systemd/system ]"
_HAS_SYSTEMCTL = "command -v systemctl >/dev/null 2>&1"
_LAST = '[ "$1" -eq 0 ]'


def before_install(found: Duties, format_: PackageFormat) -> list[str]:
    """Return the lines before files are there: accounts, and marks of what is new."""
    marks = _marks(found, format_)
    paths = [(f"{found.unit_directory}/{unit}", unit) for unit in found.started]
    paths += [(path, f"older-{name}") for name, path in _older(found)]
    lines = account_lines(found, format_)
    if paths:
        lines += [f"rm -rf {marks}", f"mkdir -p {marks}"]
        lines += [f"[ -e {path} ] || : >{marks}/{mark}" for path, mark in paths]
    return lines


def after_install(found: Duties, format_: PackageFormat) -> list[str]:
    """Return the lines after files are there: what is new is enabled and started."""
    marks = _marks(found, format_)
    lines = []
    if found.started:
        lines += [
            f"if {_HAS_SYSTEMCTL}; then",
            f"  if {_RUNS}; then systemctl daemon-reload || :; fi",
            f"  for unit in {' '.join(found.started)}; do",
            f'    [ -e {marks}/"$unit" ] || continue',
            '    systemctl --no-reload preset "$unit" >/dev/null 2>&1 || :',
            f'    if {_RUNS} && systemctl --quiet is-enabled "$unit" 2>/dev/null; then',
            '      systemctl start "$unit" || :',
            "    fi",
            "  done",
            "fi",
        ]
    for name, _ in _older(found):
        new = [*_add(found, name), *_act(found, name, "start")]
        if new:
            lines += [f"if [ -e {marks}/older-{name} ]; then", *_in(new), "fi"]
    return [*_function_if_used(found), *lines, f"rm -rf {marks}"] if lines else []


def before_removal(found: Duties, format_: PackageFormat) -> list[str]:
    """Return the lines before the last of the package goes: services stop."""
    lines = []
    if found.units:
        units = " ".join(found.units)
        lines += [
            f"if {_HAS_SYSTEMCTL}; then",
            f"  systemctl --no-reload disable {' '.join(found.started)} >/dev/null 2>&1 || :",
            f"  if {_RUNS}; then systemctl stop {units} || :; fi",
            "fi",
        ]
    lines += _function_if_used(found)
    for name, _ in _older(found):
        lines += _act(found, name, "stop")
        if name in found.sysv:
            lines += [
                f"if command -v chkconfig >/dev/null 2>&1; then chkconfig --del {name} || :; fi"
            ]
    return _only(lines, _LAST, format_)


def after_removal(found: Duties, format_: PackageFormat) -> list[str]:
    """Return the lines after files are gone; for rpm also those after an upgrade."""
    lines = []
    if found.units:
        lines += [f"if {_RUNS}; then systemctl daemon-reload || :; fi"]
    lines += _only([f"rm -f {shlex.quote(path)}" for path in found.ghosts], _LAST, format_)
    if format_ is PackageFormat.RPM:
        lines += _only([*_dropped(found), *restarts(found)], '[ "$1" -ge 1 ]', format_)
    return lines


def _dropped(found: Duties) -> list[str]:
    """Return the lines that stop and disable what the newer package does not have any more."""
    if not found.started:
        return []
    return [
        f"for unit in {' '.join(found.started)}; do",
        f'  [ ! -e {found.unit_directory}/"$unit" ] && {_HAS_SYSTEMCTL} || continue',
        f'  if {_RUNS}; then systemctl stop "$unit" || :; fi',
        '  systemctl --no-reload disable "$unit" >/dev/null 2>&1 || :',
        "done",
    ]


def restarts(found: Duties) -> list[str]:
    """Return the lines that restart, after an upgrade, what runs."""
    lines = []
    if found.restarted:
        units = " ".join(found.restarted)
        lines += [f"if {_RUNS}; then systemctl try-restart {units} || :; fi"]
    lines += _function_if_used(found)
    for name, _ in _older(found):
        if name in found.sysv_restarted:
            lines += _act(found, name, "condrestart")
    return lines


def _marks(found: Duties, format_: PackageFormat) -> str:
    """Source: Fedora packaging guidelines, "Saving state between scriptlets"."""
    top = "/var/lib/rpm-state" if format_ is PackageFormat.RPM else "/var/lib/ovenbird/new"
    return shlex.quote(f"{top}/{found.package}")


def _older(found: Duties) -> list[tuple[str, str]]:
    named = {name: f"/etc/init/{name}.conf" for name in found.upstart}
    return list((named | {name: f"/etc/init.d/{name}" for name in found.sysv}).items())


def _add(found: Duties, name: str) -> list[str]:
    if name not in found.sysv:
        return []  # an upstart job is enabled by being there
    return [f"if command -v chkconfig >/dev/null 2>&1; then chkconfig --add {name} || :; fi"]


def _act(found: Duties, name: str, action: str) -> list[str]:
    if action == "start" and name in found.sysv_disabled:
        return []
    return [f"older {name} {action}"]


def _function_if_used(found: Duties) -> list[str]:
    """Return the shell function that acts on a service of an init system before systemd.

    Where systemd runs and the package has units, the service is systemd's. In an install root
    there is no run level, and nothing is started.
    """
    if not _older(found):
        return []
    unless = [f"  ! {_RUNS} || return 0"] if found.units else []
    return [
        "older() {",
        *unless,
        "  if initctl version 2>/dev/null | grep -q upstart; then",
        '    initctl "${2#cond}" "$1" >/dev/null 2>&1 || :',
        '  elif [ -x "/etc/init.d/$1" ] && command -v service >/dev/null 2>&1; then',
        '    case "$(runlevel 2>/dev/null)" in *[2345]) service "$1" "$2" || :;; esac',
        "  fi",
        "}",
    ]


def _only(lines: list[str], condition: str, format_: PackageFormat) -> list[str]:
    """Let lines run on a condition on rpm's count; the others have a script for each case."""
    if not lines or format_ is not PackageFormat.RPM:
        return lines
    return [f"if {condition}; then", *_in(lines), "fi"]


def _in(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
