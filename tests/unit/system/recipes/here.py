"""Hands that work on this host instead of inside of an image, and steps done with them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.ports import Progress
from ovenbird.domain.recipes import RecipeStep
from ovenbird.system.commands import how_it_ended, stream
from ovenbird.system.recipes import logs
from ovenbird.system.recipes.steps import perform

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name


class HereHands:
    """The :class:`ovenbird.domain.ports.Hands` on this host.

    Args:
        programs: Directory that is first in ``PATH``.
    """

    def __init__(self, tell: Progress, *, programs: Path) -> None:
        self._tell, self._programs = tell, programs
        self.ran: list[Sequence[str]] = []
        self.environments: list[Mapping[str, str]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        said: str,
        hint: str,
    ) -> None:
        try:
            self._stream(argv, environment, timeout_s)
        except CommandFailed as error:
            text = f"The bake failed: `{said}` {how_it_ended(error)}"
            raise CommandFailed(text, hint=hint, **error.facts) from error

    def status(
        self, argv: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
    ) -> int:
        try:
            self._stream(argv, environment, timeout_s)
        except CommandFailed as error:
            if "status" not in error.facts:
                raise
            return int(error.facts["status"])
        return 0

    @contextmanager
    def lend(self, source: Path) -> Iterator[str]:
        yield str(source)

    def put(self, data: bytes, target: str, *, owner: str, group: str, mode: int) -> None:
        raise AssertionError((data, target, owner, group, mode))

    def _stream(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> None:
        self.ran.append(argv)
        self.environments.append(environment)
        path = f"{self._programs}:{os.environ['PATH']}"
        stream(argv, timeout_s=timeout_s, on_line=self._tell, env={"PATH": path, **environment})


class Kitchen:
    """Where steps are done: the app's directory, programs that stand for others, what was said."""

    def __init__(self, place: Path) -> None:
        self.app, self.root, self.programs = place / "app", place / "root", place / "programs"
        for path in (self.app, self.root, self.programs):
            path.mkdir()
        self.log, self.tools = place / "logs/bake.log", place / "tools"
        self.said: list[str] = []
        self.hands = HereHands(self.said.append, programs=self.programs)

    def do(self, step: RecipeStep) -> None:
        with logs.kept(self.log, tell=self.said.append) as log:
            self.hands = HereHands(log, programs=self.programs)
            perform(step, self.hands, directory=self.app, log=log, tools=self.tools)

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        path = self.app / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def found(self) -> dict[str, tuple[str, str]]:
        """Return path below the root → mode, and text or where a link points to."""
        return {
            str(path.relative_to(self.root)): (
                f"{path.lstat().st_mode & 0o7777:o}",
                str(path.readlink()) if path.is_symlink() else path.read_text(),
            )
            for path in sorted(self.root.rglob("*"))
            if path.is_symlink() or path.is_file()
        }
