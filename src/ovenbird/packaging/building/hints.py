"""What files of a repository say beside the language: Procfile, Dockerfile, a Makefile's targets.

Source: Heroku's "The Procfile"; Docker's reference, EXPOSE and CMD; GNU make's manual, "Rules".
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

_MAX_BYTES = 1 << 20  # larger files say nothing that a manifest needs
_EXPOSED = re.compile(r"^\s*EXPOSE\s+(\d+)", re.IGNORECASE | re.MULTILINE)
_COMMAND = re.compile(r"^\s*CMD\s+(.+)$", re.IGNORECASE | re.MULTILINE)
_ENTRYPOINT = re.compile(r"^\s*ENTRYPOINT\s+(.+)$", re.IGNORECASE | re.MULTILINE)
_GIVEN = re.compile(r"(?:--port[= ]|-p[= ]?|(?:--bind|-b)[= ]?\S*:|0\.0\.0\.0:)(\d{2,5})\b")
_TARGET = re.compile(r"^([A-Za-z0-9][\w.-]*)\s*:(?!=)", re.MULTILINE)


def text(path: Path) -> str:
    """Return a small file's text, or nothing."""
    try:
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        pass
    return ""


def json_of(path: Path) -> dict[str, Any]:
    """Return a JSON file's mapping, or an empty one."""
    try:
        found = json.loads(text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def toml_of(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables, or none."""
    try:
        return tomllib.loads(text(path))
    except tomllib.TOMLDecodeError:
        return {}


def table(raw: Any, *keys: str) -> dict[str, Any]:
    """Return the mapping under some keys, or an empty one, whatever stands there."""
    for key in keys:
        raw = raw.get(key, {}) if isinstance(raw, dict) else {}
    return raw if isinstance(raw, dict) else {}


def word(raw: Any) -> str:
    """Return a value that should be one line of text, or nothing."""
    return " ".join(raw.split()) if isinstance(raw, str) else ""


def start_line(top: Path) -> str:
    """Return the line that starts the app: a Procfile's ``web``, or a Dockerfile's command."""
    for line in text(top / "Procfile").splitlines():
        kind, _, command = line.partition(":")
        if kind.strip() == "web" and command.strip():
            return command.strip()
    docker = text(top / "Dockerfile")
    words = [_words(found) for found in (_last(_ENTRYPOINT, docker), _last(_COMMAND, docker))]
    line = " ".join(line for line in words if line)
    return "" if line.startswith(("/", "./")) else line  # a file of the container's own


def exposed_port(top: Path) -> int | None:
    """Return the port that a Dockerfile exposes."""
    found = _EXPOSED.search(text(top / "Dockerfile"))
    return int(found[1]) if found and 0 < int(found[1]) < 65536 else None


def said_port(top: Path) -> int | None:
    """Return the port that the repository names: a Dockerfile exposes it, or the app gets it."""
    if (exposed := exposed_port(top)) is not None:
        return exposed
    found = _GIVEN.search(start_line(top))
    return int(found[1]) if found and 0 < int(found[1]) < 65536 else None


def make_targets(top: Path) -> tuple[str, ...]:
    """Return the targets of a Makefile that a person would name, in its order."""
    found = _TARGET.findall(makefile(top))
    return tuple(dict.fromkeys(name for name in found if "." not in name))


def makefile(top: Path) -> str:
    """Return the Makefile's text, or nothing."""
    return next((t for n in ("GNUmakefile", "makefile", "Makefile") if (t := text(top / n))), "")


def _last(pattern: re.Pattern[str], docker: str) -> str:
    """Return what the last one says: a Dockerfile's later lines win."""
    found: list[str] = pattern.findall(docker.replace("\\\n", " "))
    return found[-1].strip() if found else ""


def _words(said: str) -> str:
    if not said.startswith("["):
        return said
    try:
        listed = json.loads(said)
    except ValueError:
        return ""
    return shlex.join(str(part) for part in listed) if isinstance(listed, list) else ""
