"""Jobs with a schedule, for machines whose init system has no timers.

Source: crontab(5); cron(8), "Debian specific": names in /etc/cron.d are of letters, digits,
underscores and hyphens. A percent sign ends the command unless it is escaped.
"""

from __future__ import annotations

import re
import shlex

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Init, PackageSpec, Service
from ovenbird.packaging.writing import schedules, shell

LONGEST = 998  # characters of a command; Source: Vixie cron's cron.h, MAX_COMMAND


def entry_name(name: str) -> str:
    """Return the name of a file that cron reads."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def entry(spec: PackageSpec, service: Service) -> str:
    """Return the text of a job's file in /etc/cron.d.

    Raises:
        InvalidRequest: Cron has no word for the schedule, or the command is too long for it.
    """
    word = schedules.cron_word(service)
    where = shlex.quote(service.working_directory or "/")
    body = "; ".join(shell.environment(service))
    line = (
        f"{shell.is_there(spec, service)} && {{ {body}; cd {where} && {shell.command(service)}; }}"
    )
    if Init.SYSTEMD in spec.init:  # where it runs, its timer does the job
        line = f"[ ! -d /run/systemd/system ] && {line}"
    line = line.replace("%", "\\%")
    if len(line) > LONGEST or "\n" in line:
        raise InvalidRequest(
            f"services.{service.name}: cron takes one line of at most {LONGEST} characters",
            hint="Put its command and environment into a program of the package",
        )
    off = "" if service.enabled else "#"
    return (
        f"# {shell.first_line(spec.description or spec.name)} ({service.name})\n"
        "SHELL=/bin/sh\n"
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        f"{off}{word} {service.user} {line}\n"
    )
