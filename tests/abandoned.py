"""What killed test runs left: their directories, and the sandboxes that live in them.

pytest keeps ``.lock`` with its process id in the directory of a run, and removes it at the end.
A lock whose process is gone tells of a killed run: its sandboxes, each a process of its own,
would go on for ever.
"""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOCK = ".lock"
DEPTH = 4  # RUN/WORKER/TEST/sandbox: the deepest home of a sandbox
_TOKEN = re.compile(r"ovb-?([0-9a-f]{6})")


def sweep(root: Path | None = None) -> tuple[str, ...]:
    """Remove what killed runs left; return what it was.

    Args:
        root: Where pytest keeps the directories of its runs.
    """
    found: list[str] = []
    for run in abandoned_runs(root or runs()):
        found += _sweep_run(run)
    return tuple(found)


def runs() -> Path:
    """Return where pytest keeps the directories of its runs."""
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir()
    return Path(root).resolve() / f"pytest-of-{getpass.getuser()}"


def abandoned_runs(root: Path) -> tuple[Path, ...]:
    """Return the directories of runs whose process is gone and has not said that it ends."""
    locks = sorted(root.glob(f"pytest-*/{LOCK}"))
    return tuple(lock.parent for lock in locks if _is_dead(lock) and not lock.parent.is_symlink())


def _is_dead(lock: Path) -> bool:
    with suppress(OSError, ValueError):  # it is being written, or removed
        return not Path(f"/proc/{int(lock.read_text())}").exists()
    return False


def _directories(top: Path, depth: int = DEPTH) -> Iterator[Path]:
    for path in sorted(top.iterdir()) if depth else ():
        if path.is_dir() and not path.is_symlink():
            yield path
            yield from _directories(path, depth - 1)


def _tokens() -> set[str]:
    """Return the tokens of the sandboxes of which the kernel has a namespace or a group."""
    groups = Path("/sys/fs/cgroup").glob("**/ovb*")
    names = [path.name for path in (*Path("/run/netns").glob("ovb-*"), *groups)]
    return {found[1] for name in names if (found := _TOKEN.match(name))}


def _sweep_run(run: Path) -> Iterator[str]:
    from ovenbird.sandbox import leftovers  # noqa: PLC0415 - seldom needed
    from ovenbird.sandbox.places import Places  # noqa: PLC0415

    alive = _tokens()
    for home in _directories(run):
        places = Places(home=home, cache=run)
        if places.token in alive or leftovers.has_server(places):
            yield from leftovers.sweep(places)
    with suppress(FileNotFoundError):  # a process of that run, on its way out, removes it as well
        leftovers.clear(run)
    leftovers.detach_loops(run)
    yield f"directory {run}"
