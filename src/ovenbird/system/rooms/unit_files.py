"""systemd's unit files in an image that does not run.

Source: systemd.syntax(7); systemd.unit(5), "Unit File Load Path", drop-ins, masking;
systemd.service(5), "Command lines" (prefixes of programs).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.rooms.image_paths import resolved, within

# The first wins; `lib` is a link to `usr/lib` today.
UNIT_DIRECTORIES = (
    "etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
    "lib/systemd/system",
)  # fmt: skip
NULL = "/dev/null"
_PREFIXES = "@-:+!|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit with its drop-ins.

    Args:
        settings: (Section, key) → values, in order; an empty one has removed those before it.
    """

    name: str
    settings: Mapping[tuple[str, str], tuple[str, ...]]
    is_masked: bool = False

    @property
    def can_be_enabled(self) -> bool:
        """Whether an `[Install]` section says where it belongs."""
        keys = (key for section, key in self.settings if section == "Install")
        return any(key in {"WantedBy", "RequiredBy", "UpheldBy"} for key in keys)

    def values(self, section: str, key: str) -> tuple[str, ...]:
        """Return all values of a setting."""
        return self.settings.get((section, key), ())

    def value(self, section: str, key: str) -> str:
        """Return the last value of a setting; empty when there is none."""
        return self.values(section, key)[-1] if self.values(section, key) else ""

    def words(self, section: str, key: str) -> list[str]:
        """Return the words of a setting that is a list."""
        return [word for value in self.values(section, key) for word in value.split()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The program of a command line; when it is optional, nobody minds that it fails."""

    path: str
    is_optional: bool


def program(command: str) -> Program:
    """Return what a command line runs."""
    text = command.lstrip(_PREFIXES)
    prefixes = command[: len(command) - len(text)]
    quote = text[:1] if text[:1] in {'"', "'"} else ""
    path = text[1:].partition(quote)[0] if quote else (text.split() or [""])[0]
    return Program(path=path, is_optional="-" in prefixes)


def exists(root: Path, name: str) -> bool:
    """Tell whether a unit has a file."""
    return _file(root, name) is not None


def read(root: Path, name: str) -> Unit | None:
    """Read a unit with its drop-ins; None when there is no such file.

    Raises:
        InvalidRequest: A line is neither a section nor a setting.
    """
    file = _file(root, name)
    if file is None:
        return None
    if _is_masked(file):
        return Unit(name=name, settings={}, is_masked=True)
    settings: dict[tuple[str, str], list[str]] = {}
    for part in (file, *_drop_ins(root, name)):
        _add(settings, resolved(root, _inside(root, part)), shown=_inside(root, part))
    return Unit(name=name, settings={key: tuple(found) for key, found in settings.items()})


def _file(root: Path, name: str) -> Path | None:
    for directory in UNIT_DIRECTORIES:
        path = within(root, f"/{directory}/{name}")
        if os.path.lexists(path):
            return path
    return None


def _is_masked(file: Path) -> bool:
    if file.is_symlink():
        return os.fspath(file.readlink()) == NULL
    return file.is_file() and file.stat().st_size == 0


def _drop_ins(root: Path, name: str) -> Iterator[Path]:
    """Yield drop-ins in the order of their names; one of a directory before hides its namesake."""
    found: dict[str, Path] = {}
    for directory in reversed(UNIT_DIRECTORIES):
        top = resolved(root, f"/{directory}/{name}.d")
        found.update({path.name: path for path in top.glob("*.conf")} if top.is_dir() else {})
    yield from (found[part] for part in sorted(found) if not _is_masked(found[part]))


def _inside(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"


def _add(settings: dict[tuple[str, str], list[str]], file: Path, *, shown: str) -> None:
    if not file.is_file():
        raise InvalidRequest(f"`{shown}` leads to nothing")
    section = ""
    for number, line in _lines(file.read_text(encoding="utf-8", errors="replace")):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not section:
            raise InvalidRequest(f"line {number} of `{shown}` is no setting: `{line}`")
        if value:
            settings.setdefault((section, key), []).append(value)
        else:
            settings.pop((section, key), None)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) without comments; a line that ends with a backslash goes on."""
    begun = ""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare.startswith(("#", ";")) or (not bare and not begun):
            continue
        if bare.endswith("\\"):
            begun += bare[:-1] + " "
            continue
        if begun + bare:
            yield number, begun + bare
        begun = ""
