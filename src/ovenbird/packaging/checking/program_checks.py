"""Checks of what runs: are programs and interpreters there, for the right machine?"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase

from ovenbird.domain.catalog import Finding, PackageFile
from ovenbird.packaging.reading.examined import (
    PROGRAM_PLACES,
    TOOL,
    Examined,
    bringers_of,
    is_base_program,
    is_below,
    merged,
    own_directories,
)

EXECUTABLE = 0o111
# Directories of what others wrote, where not every script is meant to run.
VENDORED = ("site-packages", "dist-packages", "node_modules", "vendor", "gems", "prebuilds")
# ELF machines that run anywhere: none, and the kernel's own BPF. Source: System V ABI, e_machine.
ANY_MACHINE = {"", "0", "247"}


class Supply(StrEnum):
    """Whether a program will be there."""

    SURE = "sure"
    LIKELY = "likely"
    MISSING = "missing"


def supply_of(path: str, package: Examined) -> Supply:
    """Tell whether a program will be on the machine that the package is installed on.

    Args:
        path: Absolute.
        package: The package that needs it.
    """
    place = package.resolved(path)
    if place in package.files or is_base_program(place, package.format):
        return Supply.SURE
    if place in package.depended_paths or _is_named(place, package):
        return Supply.SURE
    if is_below(place, own_directories(package.name)) or not package.dependencies:
        return Supply.MISSING
    if known := bringers_of(place):
        found = any(fnmatchcase(one, who) for one in package.dependencies for who in known)
        return Supply.SURE if found else Supply.MISSING
    return Supply.LIKELY


def _is_named(place: str, package: Examined) -> bool:
    """Tell whether a dependency has the program's name, or the directory that it is in."""
    if place.rpartition("/")[2] in package.dependencies and not bringers_of(place):
        return True
    return any(is_below(place, own_directories(name)) for name in package.dependencies)


def commands(package: Examined) -> Iterator[Finding]:
    """Find services whose command will not be there, or cannot be run."""
    for service in package.spec.services if package.spec else ():
        words = shlex.split(service.command)
        words[0] = words[0].lstrip("-@:+!|")  # Source: systemd.service(5), command lines
        for program in _run_by(words, package):
            if found := _command(program, package):
                level, code, text = found
                yield Finding(
                    tool=TOOL,
                    code=code,
                    level=level,
                    text=f"service `{service.name}` runs `{program}`, {text}",
                    place=f"services.{service.name}.command",
                )


def _run_by(words: list[str], package: Examined) -> Iterator[str]:
    """Yield what a command line runs: its program, and the script that it interprets."""
    program = words[0]
    yield program
    rest = words[1:]
    if merged(program) == "/usr/bin/env":
        rest = [word for word in rest if "=" not in word and not word.startswith("-")]
        yield from (in_path(word, package) for word in rest[:1])
        rest = rest[1:]
    elif not bringers_of(merged(program)):
        return
    script = next((word for word in rest if not word.startswith("-")), "")
    if is_below(script, own_directories(package.name)) and not package.has(script):
        yield script


def _command(program: str, package: Examined) -> tuple[str, str, str] | None:
    """Return level, code and words for a program that will not run."""
    match supply_of(program, package):
        case Supply.MISSING:
            return "error", "missing-command", f"which {_nobody_brings(program, package)}"
        case Supply.LIKELY:
            return "warning", "missing-command", "which a dependency brings, or nothing does"
        case Supply.SURE:
            file = package.files.get(package.resolved(program))
            if file and stat.S_ISREG(file.mode) and not file.mode & EXECUTABLE:
                return "error", "not-executable", "which is not executable"
    return None


def _nobody_brings(program: str, package: Examined) -> str:
    known = bringers_of(package.resolved(program))
    if known:
        return f"needs a dependency like `{known[0]}`"
    return "is not in the package, nor in anything that it depends on"


def in_path(word: str, package: Examined) -> str:
    """Return where `env` would find a program: in the package, or in the first place."""
    if "/" in word:
        return word
    places = [f"{place}/{word}" for place in PROGRAM_PLACES]
    return next((place for place in places if place in package.files), places[0])


def interpreters(package: Examined) -> Iterator[Finding]:
    """Find scripts whose interpreter will not be there."""
    for file in package.facts.files:
        if file.interpreter and file.mode & EXECUTABLE and not _is_example(file.path):
            yield from _interpreter(file.interpreter, file.path, package)
    for name, text in package.facts.scripts.items():
        if text.startswith("#!"):
            yield from _interpreter(text[2:].partition("\n")[0].strip(), name, package)


def _is_example(path: str) -> bool:
    return path.startswith("/usr/share/doc/") or "/examples/" in path


def _interpreter(line: str, place: str, package: Examined) -> Iterator[Finding]:
    words = line.split()
    if not words:
        return
    program = words[0]
    if merged(program) == "/usr/bin/env":
        called = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        program = in_path(called[0], package) if called else program
    supply = supply_of(program, package)
    if supply is Supply.SURE:
        return
    serious = supply is Supply.MISSING and not _is_vendored(place)
    text = f"a script begins with `#!{line}`, and `{program}`"
    if supply is Supply.MISSING:
        text += f" {_nobody_brings(program, package)}"
    else:
        text += " is brought by a dependency, or by nothing"
    yield Finding(
        tool=TOOL,
        code="missing-interpreter",
        level="error" if serious else "warning",
        text=text,
        place=place,
    )


def _is_vendored(path: str) -> bool:
    return any(f"/{name}/" in path for name in VENDORED)


def machines(package: Examined) -> Iterator[Finding]:
    """Find programs for another machine than the package's."""
    for file in package.facts.files:
        if file.machine in ANY_MACHINE or file.machine == package.architecture:
            continue
        yield Finding(
            tool=TOOL,
            code="wrong-architecture",
            level="error" if _is_wrong(file, package) else "warning",
            text=f"a program for `{file.machine}` in a package for `{package.architecture}`",
            place=file.path,
        )


def _is_wrong(file: PackageFile, package: Examined) -> bool:
    """Tell whether a program for another machine is a mistake; modules bring several at times."""
    return package.architecture == "all" or not _is_vendored(file.path)
