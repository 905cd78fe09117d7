"""Upstart jobs made from a manifest's services, for machines from before systemd.

The job starts as root, makes the directories that the service writes to, and goes on as the
account: by `start-stop-daemon` where it is (Ubuntu), by `su` elsewhere (RHEL 6, whose upstart
has no `setuid`). Hardening and limits of memory are systemd's alone.

Source: init(5) of upstart 1.12 (Ubuntu 14.04) and 0.6.5 (RHEL 6); start-stop-daemon(8).
"""

from __future__ import annotations

import shlex

from ovenbird.domain.packages import PackageSpec, Service
from ovenbird.packaging.writing import shell

_NORMAL = {"on-failure", "on-abnormal", "on-abort", "on-watchdog"}  # 0 is a good end for them
_AS_ACCOUNT = """\
  if command -v start-stop-daemon >/dev/null; then
    exec start-stop-daemon --start --chuid {ids} --chdir "$PWD" --startas /bin/sh -- -c {command}
  fi
  exec su -s /bin/sh{group} -c {command} {user}"""


def job(spec: PackageSpec, service: Service) -> str:
    """Return the text of the job.

    Raises:
        InvalidRequest: The command uses what only systemd has.
    """
    lines = [
        f"# {shell.first_line(spec.description or spec.name)} ({service.name})",
        f'description "{spec.name} ({service.name})"',
        *(["start on runlevel [2345]"] if service.enabled else []),
        "stop on runlevel [!2345]",
        *_restart(service),
        "kill timeout 30",
        f"limit nofile {shell.open_files(service)} {shell.open_files(service)}",
        f"chdir {service.working_directory or '/'}",
        "pre-start script",
        f"  {shell.is_there(spec, service)} || {{ stop; exit 0; }}",
        *shell.indented(_directories(spec, service)),
        "end script",
        "script",
        *shell.indented(shell.environment(service)),
        _run(service),
        "end script",
    ]
    return "\n".join([*lines, ""])


def _restart(service: Service) -> list[str]:
    if service.oneshot:
        return ["task"]
    if service.restart == "no":
        return []
    normal = ["normal exit 0 TERM"] if service.restart in _NORMAL else []
    return ["respawn", "respawn limit 10 60", *normal]


def _directories(spec: PackageSpec, service: Service) -> list[str]:
    owner = shlex.quote(f"{service.user}:{service.group}")
    return [
        f"mkdir -p {shlex.quote(path)} && chown {owner} {shlex.quote(path)}"
        for path in shell.directories(spec, service)
    ]


def _run(service: Service) -> str:
    command = f"exec {shell.command(service)}"
    if service.user == "root":
        return f"  {command}"
    ids = f"{service.user}:{service.group}" if service.group else service.user
    return _AS_ACCOUNT.format(
        ids=shlex.quote(ids),
        command=shlex.quote(command),
        group=f" -g {shlex.quote(service.group)}" if service.group else "",
        user=shlex.quote(service.user),
    )
