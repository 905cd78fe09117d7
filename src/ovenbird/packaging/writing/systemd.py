"""Systemd units made from a manifest's services, hardened by default.

    NAME.service            a process that is kept running, or a job that runs at boot
    NAME.service + .timer   a job with a schedule: the timer is what is enabled and started

Every default can be changed or left out: `Service.overrides` is section → directive → value.
A service that binds a port below 1024 says `AmbientCapabilities: CAP_NET_BIND_SERVICE`; the
bounding set follows it.

Source: systemd.service(5), systemd.exec(5), systemd.timer(5); cloud-init, "Boot stages":
`write_files` runs in the network stage, which not every distribution orders before
sysinit.target.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageSpec, Service
from ovenbird.packaging.writing import schedules

ENVIRONMENT_FILE = "/etc/ovenbird/environment"  # written by user data before the service starts

Section = dict[str, list[str]]  # directive → its values, one line for each
_OF_TIMERS = frozenset({"Timer", "Install"})

_HARDENING = {
    "NoNewPrivileges": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "RestrictSUIDSGID": "yes",
    "RestrictRealtime": "yes",
    "RestrictNamespaces": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
}
# What root can do but an account cannot is the reason for running as root.
_HARDENING_OF_ACCOUNTS = {
    "CapabilityBoundingSet": "",
    "SystemCallFilter": "@system-service",
    "SystemCallErrorNumber": "EPERM",
}


def is_job(service: Service) -> bool:
    """Tell whether it runs to its end."""
    return service.oneshot or bool(service.schedule)


def unit(spec: PackageSpec, service: Service) -> str:
    """Return the text of a service's unit file.

    Raises:
        InvalidRequest: An override is for a section that the unit does not have.
    """
    sections: dict[str, Section] = {
        "Unit": {
            "Description": [_description(spec, service)],
            # cloud-init's stage that writes the environment file, by its names of old and new
            # (24.3); where it is not installed, the line says nothing.
            "After": ["network.target cloud-init.service cloud-init-network.service"],
        },
        "Service": _service(spec, service),
    }
    if not service.schedule:
        sections["Install"] = {"WantedBy": ["multi-user.target"]}
    others = _OF_TIMERS if service.schedule else frozenset()
    return _text(sections, service, left_out=others)


def timer(spec: PackageSpec, service: Service) -> str:
    """Return the text of the timer that starts a job.

    Raises:
        InvalidRequest: The schedule is not a calendar event.
    """
    schedules.check(service)
    sections: dict[str, Section] = {
        "Unit": {"Description": [f"{_description(spec, service)}, {_percent(service.schedule)}"]},
        # A machine that was off makes up for what it missed.
        "Timer": {"OnCalendar": [service.schedule], "Persistent": ["yes"]},
        "Install": {"WantedBy": ["timers.target"]},
    }
    return _text(sections, service, left_out=frozenset({"Unit", "Service"}))


def directory(spec: PackageSpec, service: Service, directive: str) -> tuple[str, ...]:
    """Return the names that a directive as `StateDirectory` has for a service, relative.

    What leaves the directive's own place is none of them.
    """
    said = service.overrides.get("Service", {}).get(directive, _own_directory(spec, service))
    names = [name.partition(":")[0].strip("/") for name in said.split()]
    return tuple(name for name in names if name and not {".", ".."} & set(name.split("/")))


def _service(spec: PackageSpec, service: Service) -> Section:
    job = {"Type": ["oneshot"]} if service.schedule else _RUNS_ONCE
    reload = service.config_reload.removeprefix("SIG")
    found: Section = {
        **(job if is_job(service) else {"Type": ["exec"]}),
        "User": [service.user],
        # Without a group: in the account's first one; not every account has one of its name.
        **({"Group": [service.group]} if service.group else {}),
        **({"WorkingDirectory": [service.working_directory]} if service.working_directory else {}),
        "ExecStart": [service.command],
        **({"ExecReload": [f"/bin/kill -{reload} $MAINPID"]} if reload else {}),
        "EnvironmentFile": [f"-{ENVIRONMENT_FILE}"],
        "Environment": [_quoted(f"{k}={v}") for k, v in service.environment.items()],
        **({} if is_job(service) else {"Restart": [service.restart], "RestartSec": ["1"]}),
        **_directories(spec, service),
        "LimitNOFILE": ["65536"],
        **_lines(_HARDENING),
        **({} if service.user == "root" else _lines(_HARDENING_OF_ACCOUNTS)),
        **_lines(service.limits),
    }
    own = service.overrides.get("Service", {})
    if ambient := own.get("AmbientCapabilities"):
        found["CapabilityBoundingSet"] = [" ".join(ambient.split())]
    return found


def _directories(spec: PackageSpec, service: Service) -> Section:
    name = _own_directory(spec, service)
    found: Section = {f"{kind}Directory": [name] for kind in ("State", "Cache", "Logs", "Runtime")}
    if sum(_own_directory(spec, other) == name for other in spec.services) > 1:
        # Otherwise the end of one takes /run/NAME away from the others.
        found["RuntimeDirectoryPreserve"] = ["yes"]
    return found


def _own_directory(spec: PackageSpec, service: Service) -> str:
    """Return the package's name for its first account; the others have directories apart.

    Systemd gives a directory with all that is in it to the account that starts last.
    """
    first = spec.services[0].user if spec.services else service.user
    return spec.name if service.user == first else f"{spec.name}-{service.name}"


_RUNS_ONCE: Section = {"Type": ["oneshot"], "RemainAfterExit": ["yes"]}


def _lines(directives: Mapping[str, str]) -> Section:
    return {directive: [value] for directive, value in directives.items()}


def _text(sections: dict[str, Section], service: Service, *, left_out: frozenset[str]) -> str:
    for name, directives in service.overrides.items():
        if name in left_out:
            continue
        if name not in sections:
            known = ", ".join(f"`{each}`" for each in sections)
            raise InvalidRequest(
                f"services.{service.name}: its unit has no section `{name}`",
                hint=f"It has {known}",
            )
        for directive, value in directives.items():
            # An empty value leaves the default out.
            sections[name][directive] = value.split("\n") if value else []
    blocks = []
    for name, section in sections.items():
        lines = [
            f"{key}={_line(value, service)}" for key, values in section.items() for value in values
        ]
        blocks.append("\n".join([f"[{name}]", *lines, ""]))
    return "\n".join(blocks)


def _line(value: str, service: Service) -> str:
    goes_on = (len(value) - len(value.rstrip("\\"))) % 2
    if "\n" in value or goes_on:
        raise InvalidRequest(f"services.{service.name}: `{value!r}` is more than one line")
    return value


def _description(spec: PackageSpec, service: Service) -> str:
    first = (spec.description or spec.name).strip().partition("\n")[0]
    return f"{_percent(first)} ({service.name})"


def _percent(text: str) -> str:
    return text.replace("%", "%%").rstrip("\\")


def _quoted(text: str) -> str:
    """Quote as systemd.syntax(7) says; a percent sign would begin a specifier."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("\n", "\\n") + '"'
