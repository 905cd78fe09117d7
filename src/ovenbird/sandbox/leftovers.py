"""What a sandbox may have left in the kernel: found by its home and its token, and removed.

Used by ``down``, and by ``up`` after a crash. Nothing of another sandbox is touched:
processes, mounts and loop devices are known by the home directory, namespaces,
interfaces and control groups by names that begin with ``ovb`` and carry the token.

Order: processes first (they hold all the rest), then mounts, loop devices, namespaces.

Source: proc(5), mountinfo; losetup(8); ip-netns(8); cgroups(7).
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.sandbox.places import Places
from ovenbird.system.clock import SystemClock
from ovenbird.system.commands import run

PROC, CGROUPS, LOOPS = Path("/proc"), Path("/sys/fs/cgroup"), Path("/sys/block")
RUN_NETNS = Path("/run/netns")
NSPAWN = Path("/run/systemd/nspawn/propagate")
PROGRAMS = frozenset({"haproxy", "systemd-nspawn"})  # what the sandbox starts in its home
TIMEOUT_S = 30.0
ENDS_WITHIN = timedelta(seconds=10)
_OCTAL = re.compile(r"\\([0-7]{3})")


def sweep(places: Places) -> tuple[str, ...]:
    """Remove everything that belongs to this sandbox but its files; return what it was.

    The server itself must have ended. Safe to repeat.
    """
    return (
        *kill_processes(places),
        *unmount_below(places.home),
        *detach_loops(places.home),
        *delete_namespaces(places),
        *delete_links(places),
        *remove_cgroups(places),
        *remove_notes(places),
    )


def kill_processes(places: Places) -> tuple[str, ...]:
    """Kill the machines and balancers of this sandbox.

    Raises:
        CommandFailed: Some do not end.
    """
    clock, killed = SystemClock(), set[int]()
    end = clock.now() + ENDS_WITHIN
    while pids := set(processes(places)):
        if clock.now() > end:
            left = ", ".join(map(str, sorted(pids)))
            raise CommandFailed(f"Processes of the sandbox do not end: {left}")
        for pid in pids:
            _kill(pid)
        killed |= pids
        clock.sleep(0.05)
    return tuple(f"process {pid}" for pid in sorted(killed))


def processes(places: Places) -> Iterator[int]:
    """Yield the processes in our namespaces and control groups, and our programs in the home."""
    yield from _in_namespaces(places)
    for group in _cgroups(places):
        yield from (int(pid) for pid in _read(group / "cgroup.procs").split() if pid != "0")
    for entry in PROC.iterdir():
        if entry.name.isdigit() and _is_ours(entry, places.home):
            yield int(entry.name)


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


def detach_loops(home: Path) -> tuple[str, ...]:
    """Detach the loop devices whose file is below the home."""
    found = []
    for backing in sorted(LOOPS.glob("loop*/loop/backing_file")):
        if Path(_read(backing).strip().removesuffix(" (deleted)")).is_relative_to(home):
            device = f"/dev/{backing.parent.parent.name}"
            run(["losetup", "--detach", device], timeout_s=TIMEOUT_S, ok=frozenset({0, 1}))
            # 1: an unmount has freed it meanwhile
            found.append(f"loop device {device}")
    return tuple(found)


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


def remove_cgroups(places: Places) -> tuple[str, ...]:
    """Remove the control groups that carry the token, the inner ones first."""
    removed = []
    for group in _cgroups(places):
        try:
            group.rmdir()
        except OSError:  # the kernel keeps one busy for a moment: the next sweep gets it
            continue
        removed.append(f"control group {group}")
    return tuple(removed)


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


def _cgroups(places: Places) -> list[Path]:
    """Return our control groups and those inside them, the inner ones first."""
    tops = [
        path
        for level in ("ovb*", "*/ovb*")  # unified; hybrid
        for path in CGROUPS.glob(f"{level}{places.token}*")
        if path.is_dir()
    ]
    found = {Path(at) for top in tops for at, _, _ in os.walk(top)}
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def _is_ours(process: Path, home: Path) -> bool:
    """Tell whether a process is a program of ours with a path in the home on its command line."""
    argv = _read(process / "cmdline").split("\0")
    if Path(argv[0]).name not in PROGRAMS:
        return False
    return any(f"{home}/" in part for part in argv[1:])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended while we looked
        return ""


def _plain(path: str) -> str:
    """Undo mountinfo's octal escapes of blanks."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), path)
