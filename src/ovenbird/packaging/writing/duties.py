"""What maintainer scripts have to do for a package, whatever the format.

Source: Debian policy 6 and 10.9 (accounts); useradd(8), groupadd(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import ContentKind, Init, PackageFormat, PackageSpec, Service
from ovenbird.packaging.writing import services, shell

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?")
_NUMBER = re.compile(r"[0-9]+")  # an id is never made


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """The facts that scripts are made from.

    Args:
        users: Accounts that are made unless they exist, sorted; each with its own group.
        groups: Further groups, sorted.
        units: All unit files; first those that are started.
        started: Those that are enabled and started: timers for jobs that have a schedule.
        restarted: Those of them that an upgrade restarts.
        disabled: Those of them that are not enabled, and so not started.
        sysv: Names of init scripts; *upstart*: of jobs.
        sysv_restarted: Names of either that an upgrade restarts; *sysv_disabled*: that do not
            start at boot.
        purged: Directories that a purge removes, absolute.
        ghosts: Paths that others made and that leave with the package.
    """

    package: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    unit_directory: str = ""
    units: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    sysv: tuple[str, ...] = ()
    upstart: tuple[str, ...] = ()
    sysv_restarted: tuple[str, ...] = ()
    sysv_disabled: tuple[str, ...] = ()
    purged: tuple[str, ...] = ()
    ghosts: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Return the started units that an upgrade leaves running as they are."""
        return tuple(unit for unit in self.started if unit not in self.restarted)


def duties(spec: PackageSpec, format_: PackageFormat) -> Duties:
    """Return what has to be done for one format.

    Raises:
        InvalidRequest: An account has a name that no system takes.
    """
    users, groups = accounts(spec, format_)
    started = _started(spec)
    daemons = [(name, service) for name, service in services.named(spec) if not service.schedule]
    names = tuple(name for name, _ in daemons)
    ghosts = [c.destination for c in spec.contents_of(format_) if c.kind is ContentKind.GHOST]
    return Duties(
        package=spec.name,
        users=users,
        groups=groups,
        unit_directory=services.unit_directory(format_),
        units=(*started, *(f"{one.removesuffix('.timer')}.service" for one in _timers(started))),
        started=tuple(started),
        restarted=tuple(unit for unit, service in started.items() if service.restarted),
        disabled=tuple(unit for unit, service in started.items() if not service.enabled),
        sysv=names if Init.SYSV in spec.init else (),
        upstart=names if Init.UPSTART in spec.init else (),
        sysv_restarted=tuple(name for name, service in daemons if service.restarted),
        sysv_disabled=tuple(name for name, service in daemons if not service.enabled),
        purged=shell.kept_directories(spec),
        ghosts=tuple(sorted(ghosts)),
    )


def _started(spec: PackageSpec) -> dict[str, Service]:
    """Return the units that are started, and what for."""
    if Init.SYSTEMD not in spec.init:
        return {}
    return {
        f"{name}.{'timer' if service.schedule else 'service'}": service
        for name, service in services.named(spec)
    }


def _timers(units: Iterable[str]) -> list[str]:
    return [unit for unit in units if unit.endswith(".timer")]


def accounts(spec: PackageSpec, format_: PackageFormat) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return users and further groups that a package needs: for services and for contents.

    Raises:
        InvalidRequest: One has a name that no system takes.
    """
    contents = spec.contents_of(format_)
    users = {service.user for service in spec.services} | {content.owner for content in contents}
    groups = {service.group for service in spec.services} | {content.group for content in contents}
    for name in sorted(users | groups - {""}):
        if not _ACCOUNT.fullmatch(name) and not _NUMBER.fullmatch(name):
            raise InvalidRequest(
                f"`{name}` is not a name for an account",
                hint="Use lower-case letters, digits, `_` and `-`",
            )
    made = sorted(name for name in users - {"root"} if not _NUMBER.fullmatch(name))
    own = {"", "root", *made}
    more = sorted(name for name in groups - own if not _NUMBER.fullmatch(name))
    return tuple(made), tuple(more)


def account_lines(found: Duties, format_: PackageFormat) -> list[str]:
    """Return shell lines that make groups and users unless they exist.

    They belong to the system, have no home and no shell, and stay when the package goes: files
    may belong to them.
    """
    maker = _busybox if format_ is PackageFormat.APK else _shadow
    shells = {
        PackageFormat.DEB: "/usr/sbin/nologin",
        PackageFormat.ARCHLINUX: "/usr/bin/nologin",
    }
    add_group, add_user = maker(shells.get(format_, "/sbin/nologin"))
    groups = (*found.groups, *found.users)
    return [
        *(f"getent group {name} >/dev/null || {add_group} {name}" for name in groups),
        *(
            f"getent passwd {name} >/dev/null || {add_user.format(user=name)}"
            for name in found.users
        ),
    ]


def _shadow(shell_: str) -> tuple[str, str]:
    options = f"--system --gid {{user}} --no-create-home --home-dir /nonexistent --shell {shell_}"
    return "groupadd --system", f"useradd {options} {{user}}"


def _busybox(shell_: str) -> tuple[str, str]:
    return "addgroup -S", f"adduser -S -D -H -h /nonexistent -s {shell_} -G {{user}} {{user}}"
