"""A control group for each machine, on hosts with cgroup v2 and with v1 beside it.

systemd-nspawn makes `payload` and `supervisor` inside the group that it was started in;
two machines in one group would share them, and neither would boot.

Source: cgroups(7), "Cgroups version 1 and 2"; kernel documentation, cgroup-v2,
cgroup.freeze; systemd-nspawn(1), --keep-unit; proc(5), smaps_rollup.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ovenbird.system.clock import await_true

ROOT = Path("/sys/fs/cgroup")
HYBRID = ("systemd", "unified")
FROZEN_WITHIN = timedelta(seconds=5)


def hierarchies(root: Path = ROOT) -> tuple[Path, ...]:
    """Return the tops of the hierarchies in which systemd keeps its groups.

    One with pure cgroup v2; with v1, systemd's named hierarchy and, if mounted, v2 beside it.
    """
    if (root / "cgroup.controllers").exists():
        return (root,)
    return tuple(root / name for name in HYBRID if (root / name).is_dir())


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroup:
    """One group, in every hierarchy at once."""

    name: str

    def make(self) -> None:
        """Make it; one that is there is left as it is."""
        for path in self._paths():
            path.mkdir(exist_ok=True)

    def enter(self) -> None:
        """Move the calling process into it; runs between fork and exec."""
        for path in self._paths():
            (path / "cgroup.procs").write_text(str(os.getpid()))

    def processes(self) -> set[int]:
        """Return the processes in it and in the groups inside it."""
        found: set[int] = set()
        for path in self._inside():
            with suppress(OSError):  # it went while we looked
                found |= {int(pid) for pid in (path / "cgroup.procs").read_text().split()}
        return found - {0}

    def memory_bytes(self) -> int:
        """Return how much memory they take; a page that several share counts once in all."""
        return sum(_memory_bytes(pid) for pid in self.processes())

    def kill(self) -> None:
        """Send SIGKILL to all that is in it."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let nothing in it run for as long as the block does, where there is cgroup v2."""
        switches = [path / "cgroup.freeze" for path in self._paths()]
        present = [switch for switch in switches if switch.exists()]
        try:
            for switch in present:
                switch.write_text("1")
                await_true(lambda s=switch: _is_frozen(s), within=FROZEN_WITHIN)  # type: ignore[misc]
            yield
        finally:
            for switch in present:
                switch.write_text("0")

    def remove(self) -> bool:
        """Remove it if nothing is in it any more; return whether it is gone."""
        for path in self._inside():
            with suppress(OSError):  # busy for a moment after its last process, or gone
                path.rmdir()
        return not any(path.exists() for path in self._paths())

    def _paths(self) -> tuple[Path, ...]:
        return tuple(top / self.name for top in hierarchies())

    def _inside(self) -> Iterator[Path]:
        """Yield the group and those inside it, the inner ones first."""
        for top in self._paths():
            for at, _, _ in os.walk(top, topdown=False):
                yield Path(at)


def _is_frozen(switch: Path) -> bool:
    return "frozen 1" in (switch.parent / "cgroup.events").read_text()


def _memory_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
