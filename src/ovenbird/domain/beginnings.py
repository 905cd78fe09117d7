"""What an app's directory shows of how it is built and started: the begin of a manifest."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovenbird.domain.packages import BuildSpec

_PORT = re.compile(r"\$PORT\b|\$\{PORT(?::-?\d+)?\}")
_SHELL = re.compile(r"[|&;<>`$(]")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_CAREFUL = re.compile(r"[^a-z0-9+.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One content of the package, in a manifest's words.

    Args:
        origin: Path in the built checkout; a tree's ends with ``/``.
        destination: Absolute path on the machine.
        kind: As ``config``; empty for files and trees.
    """

    origin: str
    destination: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """How a service is started.

    Args:
        command: Absolute program and its arguments.
        directory: Its working directory, absolute; empty for none.
    """

    command: str
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a manifest is written from.

    Args:
        name: The package's name; the app's is the same with ``_`` for ``-``.
        found: The file that told what it is, as ``pyproject.toml``.
        service: What runs; None where another package's service does, as nginx.
        depends: Relations, as ``nodejs (>= 18)``.
        recipe: Shell lines of the image's recipe.
        port: On which instances answer.
        health: Path that the load balancer asks for.
        notes: What a person should look at, one sentence each.
    """

    name: str
    found: str
    build: BuildSpec
    contents: tuple[Piece, ...]
    service: Started | None
    port: int
    description: str = ""
    homepage: str = ""
    license: str = ""
    maintainer: str = ""
    architecture: str = "all"
    depends: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    health: str = "/healthz"
    notes: tuple[str, ...] = ()

    @property
    def app(self) -> str:
        """The app's name, which has no hyphen."""
        return self.name.replace("-", "_").replace("+", "_")[:64]

    @property
    def user(self) -> str:
        """The account that the service runs as."""
        name = re.sub(r"[^a-z0-9_-]", "-", self.name)[:31]
        return name if name[0].isalpha() else f"_{name}"[:31]


def package_name(text: str) -> str:
    """Return a package's name made of any name; scopes of npm are left out.

    Source: Debian policy 5.6.7: at least two characters, ``a-z0-9+.-``.
    """
    plain = _CAREFUL.sub("-", text.rpartition("/")[2].lower().replace("_", "-"))
    return (plain.strip("-.+") or "app").ljust(2, "x")


def started(line: str, *, program: Callable[[str], str], port: int, directory: str = "") -> Started:
    """Turn a start line, as of a Procfile, into what a unit file takes.

    Args:
        line: As ``PYTHONPATH=src gunicorn --bind :$PORT app:app``.
        program: First word → absolute path of that program.
        port: Takes the place of ``$PORT``.
        directory: Where it is started.
    """
    filled = _PORT.sub(str(port), line.strip()).removeprefix("exec ")
    environment: dict[str, str] = {}
    try:
        words = shlex.split(filled)
    except ValueError:
        words = []
    if not words or _SHELL.search(filled):
        # systemd reads `$` and `%` itself, and twice they stand for one. What a shell looks for
        # is where other start lines find it.
        command = f"/bin/sh -c {shlex.quote(filled.replace('$', '$$').replace('%', '%%'))}"
        path = f"{program('sh').rpartition('/')[0]}:/usr/local/bin:/usr/bin:/bin"
        return Started(command=command, directory=directory, environment={"PATH": path})
    while len(words) > 1 and (found := _VARIABLE.fullmatch(words[0])):
        environment[found[1]] = found[2]
        words = words[1:]
    command = shlex.join([program(words[0]), *words[1:]]).replace("%", "%%")
    return Started(command=command, directory=directory, environment=environment)
