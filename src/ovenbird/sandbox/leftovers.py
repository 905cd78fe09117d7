"""What a sandbox may have left in the kernel: found by its home and its token, and removed.

Used by ``down``, and by ``up`` after a crash. Nothing of another sandbox is touched:
processes, mounts and loop devices are known by the home directory, namespaces,
interfaces and control groups by names that begin with ``ovb`` and carry the token.

Order: processes first (they hold all the rest), then mounts. What the kernel lets go of a
moment later comes last, and is waited for: control groups, loop devices.

Source: proc(5), mountinfo; losetup(8); ip-netns(8); cgroups(7).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, Conflict
from ovenbird.sandbox.places import Places
from ovenbird.system.boots.control_groups import ControlGroup, hierarchies
from ovenbird.system.clock import await_true
from ovenbird.system.commands import run
from ovenbird.system.locks import file_lock

PROC, LOOPS = Path("/proc"), Path("/sys/block")
RUN_NETNS = Path("/run/netns")
BASE_IMAGES, WORK = "base-images", ".work"  # where one is made, in the cache
NSPAWN = Path("/run/systemd/nspawn/propagate")
SERVER = "ovenbird.sandbox.process"
PROGRAMS = frozenset({"haproxy", "mount", "nsenter", "systemd-nspawn"})  # started in its home
TIMEOUT_S = 30.0
ENDS_WITHIN = timedelta(seconds=10)
DETACHED_WITHIN = timedelta(minutes=1)  # longer than a step of a bake or a build beside it
_OCTAL = re.compile(r"\\([0-7]{3})")


def sweep(places: Places) -> tuple[str, ...]:
    """Remove everything that belongs to this sandbox but its files; return what it was.

    The server itself must have ended. Safe to repeat.
    """
    return (
        *kill_processes(places),
        *unmount_below(places.home),
        *delete_namespaces(places),
        *delete_links(places),
        *remove_notes(places),
        *remove_control_groups(places),
        *detach_loops(places.home),
        *clear_half_made(places.cache),
    )


def kill_processes(places: Places) -> tuple[str, ...]:
    """Kill the machines and balancers of this sandbox, and a server that is not up yet.

    Raises:
        CommandFailed: Some do not end.
    """
    return _kill_all(lambda: set(processes(places)))


def has_server(places: Places) -> bool:
    """Tell whether the server of this home is there, if only on its way out."""
    return any(_is_server(process, places.home) for process in _running())


def clear_half_made(cache: Path) -> tuple[str, ...]:
    """Remove base images that are half made; one that somebody is making stays."""
    found = []
    for work in sorted((cache / BASE_IMAGES).glob(f"*{WORK}")):
        with suppress(Conflict), file_lock(work.with_suffix(".lock"), wait=False):
            clear(work)
            found.append(f"directory {work}")
    return tuple(found)


def clear(directory: Path) -> None:
    """Remove a directory with all that works in it and is mounted in it; it may be missing.

    Raises:
        CommandFailed: Something in it does not end.
    """
    _kill_all(lambda: {int(process.name) for process in _running() if _is_in(process, directory)})
    unmount_below(directory)
    if directory.exists():
        shutil.rmtree(directory)


def processes(places: Places) -> Iterator[int]:
    """Yield the processes in our namespaces and control groups, and our programs in the home."""
    yield from _in_namespaces(places)
    for group in _control_groups(places):
        yield from group.processes()
    yield from (int(process.name) for process in _running() if _is_ours(process, places.home))


def unmount_below(directory: Path) -> tuple[str, ...]:
    """Unmount everything at or below a directory, the last mounted first."""
    found = mounts_below(directory, _read(PROC / "self/mountinfo"))
    for where in reversed(found):
        run(["umount", "--lazy", where], timeout_s=TIMEOUT_S)
    return tuple(f"mount {where}" for where in found)


def mounts_below(directory: Path, mountinfo: str) -> tuple[Path, ...]:
    """Return the mount points at or below a directory, in the order of their mounting."""
    points = (Path(_plain(line.split()[4])) for line in mountinfo.splitlines() if line)
    return tuple(point for point in points if point.is_relative_to(directory))


def detach_loops(directory: Path) -> tuple[str, ...]:
    """Detach the loop devices whose file is below a directory.

    Raises:
        CommandFailed: Something still uses one.
    """
    found = loops_below(directory)
    for device in found:
        # 1: an unmount has freed it meanwhile
        run(["losetup", "--detach", device], timeout_s=TIMEOUT_S, ok=frozenset({0, 1}))
    await_detached(directory)
    return tuple(f"loop device {device}" for device in found)


def await_detached(directory: Path, *, within: timedelta = DETACHED_WITHIN) -> None:
    """Wait until the kernel has let go of the loop devices of what was unmounted.

    An overlay holds the file system below it until the last process of its machine has
    been cleared away, some milliseconds after its end; and whoever has made a mount
    namespace meanwhile (a bake, say) has a copy of the mount until he ends.

    Raises:
        CommandFailed: Something still uses one.
    """
    try:
        await_true(lambda: not loops_below(directory), within=within)
    except TimeoutError as error:
        holders = (p.name for p in _running() if mounts_below(directory, _read(p / "mountinfo")))
        raise CommandFailed(
            f"Loop devices of `{directory}` are in use",
            hint=f"They go with what has them mounted: process {', '.join(holders) or 'unknown'}",
        ) from error


def loops_below(directory: Path) -> tuple[str, ...]:
    """Return the loop devices whose file is below a directory."""
    return tuple(
        f"/dev/{backing.parent.parent.name}"
        for backing in sorted(LOOPS.glob("loop*/loop/backing_file"))
        if Path(_read(backing).strip().removesuffix(" (deleted)")).is_relative_to(directory)
    )


def delete_namespaces(places: Places) -> tuple[str, ...]:
    """Delete the network namespaces of accounts and machines, and with them all that is inside."""
    found = _namespaces(places)
    for name in found:
        run(["ip", "netns", "delete", name], timeout_s=TIMEOUT_S)
    return tuple(f"namespace {name}" for name in found)


def delete_links(places: Places) -> tuple[str, ...]:
    """Delete network interfaces of this host that carry the token in their name."""
    found = sorted(path.name for path in Path("/sys/class/net").glob(f"ovb*{places.token}*"))
    for name in found:
        run(["ip", "link", "delete", name], timeout_s=TIMEOUT_S, ok=frozenset({0, 1}))
        # 1: its other end was deleted first
    return tuple(f"interface {name}" for name in found)


def remove_control_groups(places: Places) -> tuple[str, ...]:
    """Remove the control groups that carry the token.

    Raises:
        CommandFailed: Something is still in one.
    """
    found = _control_groups(places)
    for group in found:
        _await_gone(group.remove, f"Control group `{group.name}` is in use")
    return tuple(f"control group {group.name}" for group in found)


def remove_notes(places: Places) -> tuple[str, ...]:
    """Remove what systemd-nspawn has noted of this sandbox's machines, when it was killed."""
    names = [path.name for path in places.machines.glob("i-*")]
    found = [NSPAWN / name for name in names if (NSPAWN / name).is_dir()]
    for path in found:
        path.rmdir()
    return tuple(f"directory {path}" for path in found)


def _namespaces(places: Places) -> list[str]:
    return sorted(path.name for path in RUN_NETNS.glob(f"ovb-{places.token}-*"))


def _in_namespaces(places: Places) -> Iterator[int]:
    for name in _namespaces(places):
        said = run(["ip", "netns", "pids", name], timeout_s=TIMEOUT_S, ok=frozenset({0, 1}))
        yield from (int(pid) for pid in said.split())  # 1: deleted meanwhile


def _control_groups(places: Places) -> list[ControlGroup]:
    found = (path for top in hierarchies() for path in top.glob(f"ovb{places.token}-*"))
    return [ControlGroup(name=name) for name in sorted({path.name for path in found})]


def _running() -> Iterator[Path]:
    """Yield the directories of all processes of this host but the present one."""
    mine = str(os.getpid())
    return (path for path in PROC.iterdir() if path.name.isdigit() and path.name != mine)


def _is_ours(process: Path, home: Path) -> bool:
    """Tell whether a process is the server of this home, or a program that it started there."""
    argv = _argv(process)
    ours = Path(argv[0]).name in PROGRAMS and any(f"{home}/" in part for part in argv[1:])
    return ours or _is_server(process, home)


def _is_server(process: Path, home: Path) -> bool:
    argv = _argv(process)
    return SERVER in argv and str(home) in argv


def _argv(process: Path) -> list[str]:
    return _read(process / "cmdline").split("\0")


def _is_in(process: Path, directory: Path) -> bool:
    """Tell whether a process has its root or present directory there, or the name as a word."""
    paths = [Path(word) for word in _argv(process)]
    with suppress(OSError):  # it has ended
        paths += [(process / name).readlink() for name in ("root", "cwd")]
    return any(path.is_relative_to(directory) for path in paths)


def _kill_all(pids: Callable[[], set[int]]) -> tuple[str, ...]:
    """Kill what is there again and again until nothing is; return what it was."""
    killed = set[int]()

    def none_left() -> bool:
        left = pids()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        return not left

    _await_gone(none_left, "Processes of the sandbox do not end")
    return tuple(f"process {pid}" for pid in sorted(killed))


def _await_gone(gone: Callable[[], bool], otherwise: str) -> None:
    try:
        await_true(gone, within=ENDS_WITHIN)
    except TimeoutError as error:
        raise CommandFailed(otherwise) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended while we looked
        return ""


def _plain(path: str) -> str:
    """Undo mountinfo's octal escapes of blanks."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), path)
