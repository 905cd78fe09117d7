"""The log of a bake: each line is told to who waits, and kept."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TextIO

from ovenbird.domain.ports import Progress

KEPT = 200  # logs in one directory
RECENT = 2000  # lines in which a failing step looks for what failed


class BakeLog:
    """Takes lines, as a :data:`ovenbird.domain.ports.Progress` does, and remembers the last.

    Args:
        path: Where they are kept.
        file: It, open; each line begins with the seconds since now.
        tell: Told each line, too.
    """

    def __init__(self, path: Path, file: TextIO, *, tell: Progress) -> None:
        self.path = path
        self._file, self._tell, self._begun = file, tell, monotonic()
        self._recent: collections.deque[str] = collections.deque(maxlen=RECENT)

    def __call__(self, line: str) -> None:
        """Keep a line and tell it."""
        self._recent.append(line)
        self._file.write(f"{monotonic() - self._begun:8.2f}  {line}\n")
        self._tell(line)

    def turn_page(self) -> None:
        """Begin a step: what was said before is not its own."""
        self._recent.clear()

    @property
    def page(self) -> tuple[str, ...]:
        """The last lines of the step that is under way."""
        return tuple(self._recent)


@contextmanager
def kept(path: Path, *, tell: Progress) -> Iterator[BakeLog]:
    """Open a bake's log; one of an earlier bake with this name is gone then.

    The newest logs of its directory stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    others = sorted(path.parent.glob(f"*{path.suffix}"), key=_age, reverse=True)
    for old in others[KEPT - 1 :]:
        old.unlink(missing_ok=True)
    with path.open("w", encoding="utf-8", errors="replace", buffering=1) as file:
        yield BakeLog(path, file, tell=tell)


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):  # another bake has removed it
        return path.stat().st_mtime
    return 0.0
