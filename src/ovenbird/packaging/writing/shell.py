"""A service's command and environment as a shell says them, for init systems before systemd.

Source: systemd.service(5), "Command lines" (quoting, `$`, `%`); POSIX, "Shell Command Language".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageSpec, Service
from ovenbird.packaging.writing.systemd import ENVIRONMENT_FILE, directory

_PLACES = {
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "RuntimeDirectory": "/var/run",  # /run is younger than some machines
}

_VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
_DOLLARS = re.compile(
    r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})|\$\$?"
)  # a variable inside of a word, or none


def command(service: Service) -> str:
    """Return the command as one line for a shell.

    Raises:
        InvalidRequest: It uses what only systemd has, or cannot be split into words.
    """
    words = _words(service)
    if not words or not words[0].startswith("/"):
        raise InvalidRequest(
            f"services.{service.name}: `{service.command}` does not begin with an absolute path",
            hint="Prefixes as `-` and `+` are systemd's alone",
        )
    return " ".join(_word(word, service) for word in words)


def is_there(spec: PackageSpec, service: Service) -> str:
    """Return a test of whether the service's program is installed, or the script that it runs.

    Init scripts and cron's entries are configuration, which outlives the package until a purge.
    Source: Debian policy 9.3.2 and 9.5.
    """
    program, *rest = _words(service)
    places = [f"{content.destination.rstrip('/')}/" for content in spec.contents]
    own = [word for word in (program, *rest) if any(f"{word}/".startswith(p) for p in places)]
    path = own[0] if own and not {"$", "%"} & set(own[0]) else program
    return f"[ -e {shlex.quote(path)} ]"


def environment(service: Service) -> list[str]:
    """Return lines that set and export a service's variables, the machine's own first."""
    return [
        "set -a",
        f"[ ! -r {ENVIRONMENT_FILE} ] || . {ENVIRONMENT_FILE}",
        *(f"{name}={shlex.quote(value)}" for name, value in service.environment.items()),
        "set +a",
    ]


def directories(spec: PackageSpec, service: Service) -> tuple[str, ...]:
    """Return the directories that a service can write to, absolute."""
    return tuple(
        f"{place}/{name}"
        for directive, place in _PLACES.items()
        for name in directory(spec, service, directive)
    )


def kept_directories(spec: PackageSpec) -> tuple[str, ...]:
    """Return the directories of all services that outlive a boot, sorted; a purge removes them."""
    found: set[str] = set()
    for service in spec.services:
        found |= {path for path in directories(spec, service) if not path.startswith("/var/run/")}
    return tuple(sorted(found))


def open_files(service: Service) -> str:
    """Return how many files a service may have open: a number or ``unlimited``."""
    soft = service.limits.get("LimitNOFILE", "65536").partition(":")[0]
    return "unlimited" if soft == "infinity" else soft


def first_line(text: str) -> str:
    """Return what fits into a comment or a description of one line."""
    return text.strip().partition("\n")[0]


def indented(lines: Sequence[str]) -> list[str]:
    """Return lines two columns further in."""
    return [f"  {line}" for line in lines]


def _word(word: str, service: Service) -> str:
    plain = word.replace("%%", "")
    if "%" in plain:
        raise InvalidRequest(
            f"services.{service.name}: `{word}` has a specifier, which only systemd knows",
            hint="Write `%%` for a percent sign",
        )
    word = word.replace("%%", "%")
    if "$" not in word:
        return shlex.quote(word)
    if _VARIABLE.fullmatch(word):
        return word  # split into words, by systemd as by a shell
    if word[0] == "$" and word[1:2] not in {"$", "{"}:
        raise InvalidRequest(
            f"services.{service.name}: `{word}` is not a variable, and no shell reads the command",
            hint="Write `$NAME` or `${NAME}`, and `$$` for a dollar sign",
        )
    # A variable is replaced: inside of double quotes all else stays as it is.
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")
    return '"' + _DOLLARS.sub(lambda found: found[1] or "\\$", escaped) + '"'


def _words(service: Service) -> list[str]:
    try:
        return shlex.split(service.command)
    except ValueError as error:
        raise InvalidRequest(f"services.{service.name}: `command`: {error}") from error
