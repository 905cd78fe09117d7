"""A package under examination: its files by path, and what it can count on being there.

Paths are compared as on a machine with merged `/usr`: `/bin/sh` is `/usr/bin/sh`. Debian,
Fedora and Arch Linux have it so; on Alpine it does no harm.

Source: Debian policy 10.1; file-hierarchy(7); Debian, Essential packages.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from types import MappingProxyType

from ovenbird.domain.catalog import PackageFacts, PackageFile
from ovenbird.domain.packages import PackageFormat, PackageSpec

TOOL = "ovenbird"  # in findings: our own checks
LINKS_MAX = 40  # Source: path_resolution(7): more is a loop
DEPENDING = frozenset({"Depends", "Pre-Depends", "Requires", "depend"})
PROGRAM_PLACES = ("/usr/bin", "/usr/sbin")  # what an `#!/usr/bin/env` looks through
_MERGED = re.compile(r"/(bin|sbin|lib|lib64)(?=/|$)")
_WORD = re.compile(r"(?:cmd:)?/?[A-Za-z0-9][A-Za-z0-9+._/-]*")
_RICH = {"and", "or", "if", "else", "with", "without", "unless"}  # Source: rpm, boolean deps
_VERSION = re.compile(r"\(\s*[<>=][^()|]*\)|[<>=~]+\s*[^\s()|]+|\(\w+-\w+\)|:any\b")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Programs that are there on every machine, by Debian's Essential packages, and by what is in
# every rpm and Arch Linux base; with systemd, which starts the services.
BASE_PROGRAMS = _set(
    "sh env [ basename cat chgrp chmod chown chroot cp cut date dd df dirname du echo expr false "
    "find grep egrep gzip gunzip head hostname id install kill ln login ls mkdir mkfifo mknod "
    "mktemp mount mv nice nohup od printenv printf pwd readlink realpath rm rmdir sed seq "
    "sha256sum sleep sort stat stty su sync tail tar tee test timeout touch tr true tty umount "
    "uname uniq wc which whoami xargs yes zcat"
)
GLIBC_PROGRAMS = _set(
    "bash flock getent ldconfig logger nologin prlimit runuser setpriv setsid systemctl "
    "systemd-cat systemd-notify systemd-run systemd-tmpfiles unshare nsenter stdbuf taskset ionice"
)
DEBIAN_PROGRAMS = _set("dash perl dpkg start-stop-daemon run-parts tempfile")
# Program → patterns of packages that bring it, in the words of any distribution.
BRINGERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "python3*": ("python3*", "python"),
        "python": ("python-is-python3", "python", "python2*", "python-unversioned-command"),
        "python2*": ("python2*",),
        "pypy*": ("pypy*",),
        "node": ("nodejs*", "node", "node-*"),
        "nodejs": ("nodejs*", "node", "node-*"),
        "npm": ("npm", "nodejs*"),
        "npx": ("npm", "nodejs*"),
        "java": ("*jre*", "*jdk*", "java*"),
        "ruby*": ("ruby*",),
        "perl": ("perl*",),
        "php*": ("php*",),
        "lua*": ("lua*",),
        "tclsh*": ("tcl*",),
        "Rscript": ("r-base*", "R", "R-*", "r"),
        "dotnet": ("dotnet*", "aspnetcore*"),
        "mono": ("mono*",),
        "escript": ("erlang*",),
        "bash": ("bash",),
        "zsh": ("zsh",),
        "fish": ("fish",),
        "ksh*": ("ksh*", "mksh"),
        "tcsh": ("tcsh",),
        "csh": ("csh", "tcsh"),
        "nginx": ("nginx*", "libnginx*"),
        "apache2": ("apache2*",),
        "httpd": ("httpd*",),
        "haproxy": ("haproxy*",),
        "redis-server": ("redis*",),
        "memcached": ("memcached*",),
        "gunicorn*": ("*gunicorn*",),
        "uvicorn": ("*uvicorn*",),
        "uwsgi*": ("uwsgi*",),
        "celery": ("*celery*",),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A package under examination.

    Args:
        architecture: As Debian calls it.
        files: Path, as on a merged `/usr` → what is there.
        parents: Directories that something else is in; not all of them are in *files*.
        dependencies: Names of packages that it depends on, alternatives too.
        depended_paths: Paths that it depends on by themselves, as rpm allows.
        spec: What the manifest says; None when it is not known.
    """

    name: str
    architecture: str
    format: PackageFormat
    facts: PackageFacts
    files: Mapping[str, PackageFile]
    parents: frozenset[str]
    dependencies: frozenset[str]
    depended_paths: frozenset[str]
    spec: PackageSpec | None = None

    def resolved(self, path: str) -> str:
        """Follow the package's own links, and return where a path leads."""
        for _ in range(LINKS_MAX):
            step = self._followed(path)
            if step is None:
                return merged(path)
            path = step
        return path

    def has(self, path: str) -> bool:
        """Tell whether the package has a path, or something below it."""
        return path in self.files or path in self.parents

    def _followed(self, path: str) -> str | None:
        """Return the path with its first link replaced; None without a link."""
        at = ""
        parts = PurePosixPath(merged(path)).parts[1:]
        for index, part in enumerate(parts):
            at += f"/{part}"
            file = self.files.get(at)
            if file is not None and stat.S_ISLNK(file.mode):
                return normal("/".join([target_of(file), *parts[index + 1 :]]))
        return None


def examined(
    name: str,
    architecture: str,
    format_: PackageFormat,
    facts: PackageFacts,
    spec: PackageSpec | None = None,
) -> Examined:
    """Put together what the checks ask for."""
    words = {word for relation in _needed(facts) for word in words_of(relation)}
    commands = {f"/usr/bin/{word.removeprefix('cmd:')}" for word in words if "cmd:" in word}
    files = {merged(file.path): file for file in facts.files}
    return Examined(
        name=name,
        architecture=architecture,
        format=format_,
        facts=facts,
        files=files,
        parents=frozenset(_parents(files)),
        dependencies=frozenset(word for word in words if not word.startswith(("/", "cmd:"))),
        depended_paths=frozenset(
            {merged(word) for word in words if word.startswith("/")} | commands
        ),
        spec=spec,
    )


def _parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _needed(facts: PackageFacts) -> Iterator[str]:
    for field, relations in facts.relations.items():
        if field in DEPENDING:
            yield from (one for one in relations if not one.startswith("!"))  # apk: a conflict


def words_of(relation: str) -> Iterator[str]:
    """Yield the names in a relation, whatever its format: ``a (>= 1) | b``, ``(a or b)``."""
    for word in _WORD.findall(_VERSION.sub(" ", relation)):
        if word not in _RICH:
            yield word


def merged(path: str) -> str:
    """Return a path as a machine with merged `/usr` has it."""
    return _MERGED.sub(r"/usr/\1", path, count=1) if _MERGED.match(path) else path


def normal(path: str) -> str:
    """Return an absolute path without ``.``, ``..`` and double slashes."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def target_of(link: PackageFile) -> str:
    """Return the absolute path that a link names."""
    if link.target.startswith("/"):
        return normal(link.target)
    return normal(f"{PurePosixPath(link.path).parent}/{link.target}")


def own_directories(name: str) -> tuple[str, ...]:
    """Return the directories that belong to a package of this name alone."""
    shared = (
        "/opt", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/share/doc",
        "/usr/share/licenses", "/usr/share/lintian/overrides", "/etc", "/etc/default",
        "/etc/sysconfig", "/etc/conf.d", "/var/lib", "/var/log", "/var/cache", "/var/spool",
    )  # fmt: skip
    return tuple(f"{place}/{name}" for place in shared)


def is_below(path: str, directories: tuple[str, ...]) -> bool:
    """Tell whether a path is one of some directories, or in one."""
    return any(path == one or path.startswith(f"{one}/") for one in directories)


def is_base_program(path: str, format_: PackageFormat) -> bool:
    """Tell whether every machine of this kind has a program."""
    place, _, name = path.rpartition("/")
    if place not in PROGRAM_PLACES:
        return path.startswith("/usr/lib/systemd/") and format_ is not PackageFormat.APK
    if name in BASE_PROGRAMS:
        return True
    if format_ is PackageFormat.DEB and name in DEBIAN_PROGRAMS:
        return True
    return format_ is not PackageFormat.APK and name in GLIBC_PROGRAMS


def bringers_of(path: str) -> tuple[str, ...]:
    """Return the patterns of packages that are known to bring a program, or none."""
    place, _, name = path.rpartition("/")
    if place not in PROGRAM_PLACES:
        return ()
    return next((who for pattern, who in BRINGERS.items() if fnmatchcase(name, pattern)), ())
