"""Whether services would start at boot, as far as files tell.

Looked at are the units and init scripts that a bake brought: what they run is there and can be
run, so are their accounts, directories and files, and what enables them leads to them. A fault of
our own packages fails the bake; one of others is a note.

Source: systemd.syntax(7), systemd.unit(5), systemd.exec(5), systemd.service(5), "Command lines";
sysusers.d(5); insserv(8), the links in ``/etc/rc?.d``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.system.rooms import unit_files
from ovenbird.system.rooms.image_paths import resolved
from ovenbird.system.rooms.unit_files import UNIT_DIRECTORIES, Unit

UNITS = frozenset({".service", ".socket", ".timer", ".path"})
INIT_SCRIPTS = "etc/init.d"
SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
ACCOUNTS_AT_BOOT = ("usr/lib/sysusers.d", "etc/sysusers.d")
MADE_AT_BOOT = ("/run/", "/dev/", "/proc/", "/sys/")
MEND = "Mend `package.services`, or what the package installs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a service would not start, or what is odd about it.

    Args:
        unit: As ``hello.service``.
        is_fatal: Whether it is enabled and would fail.
    """

    unit: str
    text: str
    is_fatal: bool = True


def check(root: Path, *, changed: Collection[str], ours: Collection[str]) -> tuple[str, ...]:
    """Look at the services that a bake brought.

    Args:
        root: The image's root.
        changed: Names of units and init scripts, as :func:`brought` finds them.
        ours: Those of our own packages.

    Returns:
        What is odd and does not fail the bake, one sentence each.

    Raises:
        CommandFailed: A service of ours would not start at boot.
    """
    found = [fault for name in sorted(changed) for fault in _faults(root, name)]
    fatal = [fault for fault in found if fault.is_fatal and fault.unit in ours]
    if fatal:
        raise CommandFailed(
            f"`{fatal[0].unit}` would not start at boot: {fatal[0].text}",
            hint=MEND,
            stderr="\n".join(f"{fault.unit}: {fault.text}" for fault in fatal),
        )
    return tuple(f"`{one.unit}`: {one.text}" for one in found)


def brought(upper: Path) -> frozenset[str]:
    """Return the units and init scripts that an overlay changed, by name."""
    found = set()
    for directory in (*UNIT_DIRECTORIES, INIT_SCRIPTS):
        for path in _listed(upper, directory):
            if _is_own(path) and (directory == INIT_SCRIPTS or path.suffix in UNITS):
                found.add(path.name)
    return frozenset(found)


def _is_own(path: Path) -> bool:
    """Tell whether a name is a unit's own; aliases and masks are links to another one."""
    return path.readlink().name == path.name if path.is_symlink() else path.is_file()


def of_packages(root: Path, names: Collection[str]) -> frozenset[str]:
    """Return the units and init scripts of Debian packages, by name."""
    found: set[str] = set()
    for name in names:
        for listing in (root / "var/lib/dpkg/info").glob(f"{name}[.:]*list"):
            if listing.name.partition(".list")[0].partition(":")[0] == name:
                paths = map(Path, listing.read_text(errors="replace").splitlines())
                found |= {path.name for path in paths if _is_service(path)}
    return frozenset(found)


def _is_service(path: Path) -> bool:
    parent = str(path.parent).removeprefix("/")
    if parent == INIT_SCRIPTS:
        return True
    return parent in UNIT_DIRECTORIES and path.suffix in UNITS


def _faults(root: Path, name: str) -> Iterator[Fault]:
    try:
        unit = unit_files.read(root, name)
    except InvalidRequest as error:
        yield Fault(unit=name, text=str(error), is_fatal=_is_enabled(root, name))
        return
    if unit is None:
        if not Path(name).suffix:
            yield from _script_faults(root, name)
        return
    if unit.is_masked:
        yield Fault(unit=name, text="it is masked")
        return
    enabled = _is_enabled(root, name)
    for text in _unit_faults(root, unit):
        yield Fault(unit=name, text=text, is_fatal=enabled)
    if unit.can_be_enabled and not enabled and not _is_triggered(root, name):
        yield Fault(unit=name, text="it is installed and not enabled", is_fatal=False)


def _unit_faults(root: Path, unit: Unit) -> Iterator[str]:
    if unit.name.endswith(".service") and "@" not in unit.name:
        yield from _program_faults(root, unit)
        yield from _account_faults(root, unit)
        yield from _path_faults(root, unit)
    for needed in unit.words("Unit", "Requires") + unit.words("Unit", "BindsTo"):
        plain = needed.endswith((".service", ".socket")) and not {"%", "@"} & set(needed)
        if plain and not unit_files.exists(root, needed):
            yield f"it requires `{needed}`, which is not there"


def _program_faults(root: Path, unit: Unit) -> Iterator[str]:
    commands = unit.values("Service", "ExecStart")
    kind = unit.value("Service", "Type")
    if not commands and kind != "oneshot" and not unit.values("Service", "ExecStop"):
        yield "it has no `ExecStart=`"
    for command in (*unit.values("Service", "ExecStartPre"), *commands):
        program = unit_files.program(command)
        if program.is_optional or {"%", "$"} & set(program.path):
            continue
        if text := _program_fault(root, program.path):
            yield text


def _program_fault(root: Path, path: str) -> str:
    """Return why a program could not be run; nothing when it can."""
    places = [path] if path.startswith("/") else [f"{top}/{path}" for top in SEARCHED]
    found = [file for place in places if (file := resolved(root, place)).is_file()]
    if not found:
        return f"its program `{path}` is not there"
    if not found[0].stat().st_mode & 0o111:
        return f"its program `{path}` is not executable"
    with found[0].open("rb") as script:
        head = script.readline(256)
    if head.startswith(b"#!") and (words := head[2:].split()):
        interpreter = os.fsdecode(words[0])
        if not resolved(root, interpreter).is_file():
            return f"its program `{path}` needs `{interpreter}`, which is not there"
    return ""


def _account_faults(root: Path, unit: Unit) -> Iterator[str]:
    if unit.value("Service", "DynamicUser").lower() in {"yes", "true", "1", "on"}:
        return
    groups = [unit.value("Service", "Group"), *unit.words("Service", "SupplementaryGroups")]
    asked = [("passwd", "user", unit.value("Service", "User"))]
    asked += [("group", "group", name) for name in groups]
    for file, word, name in asked:
        if name and "%" not in name and not name.isdigit() and not _has_account(root, file, name):
            yield f"its {word} `{name}` is not there"


def _has_account(root: Path, file: str, name: str) -> bool:
    listed = resolved(root, f"/etc/{file}")
    lines = listed.read_text(errors="replace").splitlines() if listed.is_file() else []
    if any(line.partition(":")[0] == name for line in lines):
        return True
    names = (path.relative_to(root) for top in ACCOUNTS_AT_BOOT for path in _listed(root, top))
    configs = (resolved(root, f"/{name}") for name in names)
    texts = (path.read_text(errors="replace") for path in configs if path.is_file())
    return any(line.split()[1:2] == [name] for text in texts for line in text.splitlines())


def _path_faults(root: Path, unit: Unit) -> Iterator[str]:
    states = unit.words("Service", "StateDirectory")
    made = tuple(f"/var/lib/{name}" for name in states)
    asked = [("directory", unit.value("Service", "WorkingDirectory"))]
    asked += [("file", path) for path in unit.values("Service", "EnvironmentFile")]
    for word, path in asked:
        plain = path.startswith("/") and not {"%", "*", "?", "["} & set(path)
        if not plain or f"{path}/".startswith(MADE_AT_BOOT) or path in made:
            continue
        if not resolved(root, path).exists():
            yield f"its {word} `{path}` is not there"


def _is_enabled(root: Path, name: str) -> bool:
    """Tell whether something starts a unit or an init script at boot."""
    for directory in UNIT_DIRECTORIES:
        for wants in resolved(root, f"/{directory}").glob("*.[wr]*s"):
            if wants.suffix in {".wants", ".requires"} and os.path.lexists(wants / name):
                return True
    return any((root / "etc").glob(f"rc[2-5S].d/S[0-9][0-9]{name}"))


def _is_triggered(root: Path, name: str) -> bool:
    stem = Path(name).stem
    return any(
        unit_files.exists(root, other) and _is_enabled(root, other)
        for other in (f"{stem}.timer", f"{stem}.socket", f"{stem}.path")
        if other != name
    )


def _script_faults(root: Path, name: str) -> Iterator[Fault]:
    if unit_files.exists(root, f"{name}.service"):
        return  # systemd takes the unit
    enabled = _is_enabled(root, name)
    if text := _program_fault(root, f"/{INIT_SCRIPTS}/{name}"):
        yield Fault(unit=name, text=text, is_fatal=enabled)
    if not enabled:
        yield Fault(unit=name, text="it is installed and not enabled", is_fatal=False)


def _listed(root: Path, directory: str) -> list[Path]:
    top = resolved(root, f"/{directory}")
    return sorted(top.iterdir()) if top.is_dir() else []
