"""SysV init scripts made from a manifest's services, for machines from before systemd.

On Debian the daemon is started by `start-stop-daemon`, elsewhere by the shell alone, since
the functions that distributions of rpm bring differ. Nothing restarts a daemon that ends:
init scripts cannot. Hardening and limits of memory are systemd's alone.

Source: LSB 5.0, "Init Script Actions" (exit statuses) and "Comment Conventions"; Debian policy
9.3; chkconfig(8); start-stop-daemon(8).
"""

from __future__ import annotations

import shlex

from ovenbird.domain.packages import Init, PackageFormat, PackageSpec, Service
from ovenbird.packaging.writing import shell

_HEAD = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:    $local_fs $remote_fs $network
# Required-Stop:     $local_fs $remote_fs $network
# Should-Start:      $syslog $named cloud-init
# Should-Stop:       $syslog $named
# Default-Start:     {levels}
# Default-Stop:      0 1 6
# Short-Description: {description}
### END INIT INFO
#
# chkconfig: {chkconfig} 80 20
# description: {description}
"""
_DAEMON = """
alive() {
  [ -s "$PIDFILE" ] && kill -0 "$(cat "$PIDFILE")" 2>/dev/null
}

start() {
  alive && return 0
  prepare || return 1
  launch
}

status() {
  if alive; then echo "$NAME is running"; return 0; fi
  if [ -e "$PIDFILE" ]; then echo "$NAME is dead, its pid file is left"; return 1; fi
  echo "$NAME is not running"
  return 3
}
"""
_LAUNCH_DEBIAN = """
launch() {
  start-stop-daemon --start --quiet --oknodo --background --make-pidfile \\
    --pidfile "$PIDFILE" --chuid "$ACCOUNT${GROUP:+:$GROUP}" --chdir "$PWD" \\
    --startas /bin/sh -- -c "$RUN"
}

stop() {
  start-stop-daemon --stop --quiet --oknodo --retry TERM/30/KILL/5 \\
    --pidfile "$PIDFILE" --user "$ACCOUNT" || return 1
  rm -f "$PIDFILE"
}
"""
_LAUNCH_PLAIN = """
launch() {
  as_account "$LAUNCH" >"$PIDFILE"
}

stop() {
  if alive; then
    kill -TERM "$(cat "$PIDFILE")"
    tries=0
    while alive && [ "$tries" -lt 100 ]; do
      tries=$((tries + 1))
      sleep 0.3 2>/dev/null || sleep 1
    done
    alive && kill -KILL "$(cat "$PIDFILE")"
  fi
  rm -f "$PIDFILE"
}
"""
_JOB = """
DONE="/var/run/$NAME.done"

start() {
  prepare || return 1
  as_account "$RUN" && : >"$DONE"
}

stop() {
  rm -f "$DONE"
}

status() {
  if [ -e "$DONE" ]; then echo "$NAME has run"; return 0; fi
  echo "$NAME has not run"
  return 3
}
"""
_AS_ACCOUNT = """
as_account() {{
  if [ "$ACCOUNT" = root ]; then sh -c "$1"; else su -s /bin/sh{group} -c "$1" "$ACCOUNT"; fi
}}
"""
_CASES = """
case "$1" in
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  try-restart|condrestart) if status >/dev/null; then stop; start; fi ;;
  status) status ;;
  reload) RELOAD ;;
  force-reload) FORCE ;;
  *) echo "Usage: $0 {start|stop|restart|try-restart|reload|force-reload|status}" >&2; exit 2 ;;
esac
"""


def script(spec: PackageSpec, service: Service, *, name: str, format_: PackageFormat) -> str:
    """Return the text of the init script.

    Args:
        spec: The package.
        service: One of its services, without a schedule.
        name: What the script is called.
        format_: Decides whether `start-stop-daemon` is there.

    Raises:
        InvalidRequest: The command uses what only systemd has.
    """
    debian = format_ is PackageFormat.DEB
    parts = [
        _head(spec, service, name),
        _settings(service, name, debian=debian),
        f"{shell.is_there(spec, service)} || exit 0\n",
        _handed_over(spec, name),
        _prepare(spec, service),
    ]
    if service.oneshot or not debian:
        group = f" -g {shlex.quote(service.group)}" if service.group else ""
        parts.append(_AS_ACCOUNT.format(group=group))
    parts += [_JOB] if service.oneshot else [_DAEMON, _LAUNCH_DEBIAN if debian else _LAUNCH_PLAIN]
    return "".join([*parts, _cases(service)])


def _head(spec: PackageSpec, service: Service, name: str) -> str:
    description = f"{shell.first_line(spec.description or spec.name)} ({service.name})"
    text = _HEAD.format(
        name=name,
        levels="2 3 4 5" if service.enabled else "",
        chkconfig="2345" if service.enabled else "-",
        description=description,
    )
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _settings(service: Service, name: str, *, debian: bool) -> str:
    run = f"exec {shell.command(service)}"
    launch = f"setsid sh -c {shlex.quote(run)} </dev/null >/dev/null 2>&1 & echo $!"
    settings = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "NAME": name,
        "ACCOUNT": service.user,
        "GROUP": service.group,
        "PIDFILE": f"/var/run/{name}.pid",
        "RUN": run,
        **({} if debian else {"LAUNCH": launch}),
    }
    lines = [f"{key}={shlex.quote(value)}" for key, value in settings.items()]
    # Debian's hand the action over to systemctl where systemd runs.
    functions = "[ ! -r /lib/lsb/init-functions ] || . /lib/lsb/init-functions"
    return "\n".join(["", *lines, functions, ""])


def _handed_over(spec: PackageSpec, name: str) -> str:
    """Give the action to the init system that runs and has a job of its own for the service."""
    lines = []
    if Init.SYSTEMD in spec.init:
        lines += [f'[ ! -d /run/systemd/system ] || exec systemctl "$1" {name}.service']
    if Init.UPSTART in spec.init:
        lines += [
            "if initctl version 2>/dev/null | grep -q upstart; then",
            '  exec initctl "$1" "$NAME"',
            "fi",
        ]
    return "\n".join([*lines, ""]) if lines else ""


def _prepare(spec: PackageSpec, service: Service) -> str:
    files = shlex.quote(shell.open_files(service))
    paths = " ".join(map(shlex.quote, shell.directories(spec, service)))
    lines = [
        f"for directory in {paths}; do",
        '  mkdir -p "$directory" && chown "$ACCOUNT:$GROUP" "$directory" || return 1',
        "done",
        f"ulimit -n {files} 2>/dev/null || :",
        *shell.environment(service),
        f"cd {shlex.quote(service.working_directory or '/')}",
    ]
    return "\n".join(["", "prepare() {", *shell.indented(lines), "}", ""])


def _cases(service: Service) -> str:
    word = service.config_reload.removeprefix("SIG")
    if word and not service.oneshot:
        reload = f'alive && kill -{word} "$(cat "$PIDFILE")"'
        return _CASES.replace("RELOAD", reload).replace("FORCE", reload)
    refused = 'echo "$NAME cannot reload" >&2; exit 3'
    return _CASES.replace("RELOAD", refused).replace("FORCE", "stop; start")
