"""Processes of our program that begin at once: forked from one that has imported it.

To start Python and to import everything takes a second of a processor, and some tests kill two
dozen processes in turn. The one that forks (multiprocessing's "forkserver") runs no threads and
nothing of ours, so each process is as new as if it had been started by itself.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import weakref
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = ["pytest", "boto3", "tests.pipeline.installation", "tests.pipeline.worker"]

Main = Callable[..., None]
"""What a process does; a function of a module, so that it is found there by its name."""


class Begun:
    """A process that works, as ``subprocess.Popen`` with text in pipes has it.

    Args:
        main: What it does.
        words: With what.
        environment: What is set in it besides.
    """

    def __init__(self, main: Main, *words: str, **environment: str) -> None:
        self._said = [os.memfd_create(name) for name in ("stdout", "stderr")]
        for descriptor in self._said:
            weakref.finalize(self, os.close, descriptor)
        paths = [f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in self._said]
        self._process = _forks().Process(
            target=_run, args=(main, words, environment, paths), daemon=True
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """The exit status, or the negative number of the signal that killed it."""
        return self._process.exitcode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end; return what it wrote to stdout and stderr.

        Raises:
            subprocess.TimeoutExpired: It has not ended after so many seconds; it is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(str(self._process), timeout, *map(_read, self._said))
        out, err = map(_read, self._said)
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()


def _read(descriptor: int) -> str:
    """Return what others have written to a file in memory."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()


@functools.cache
def _forks() -> ForkServerContext:
    """Start what forks; it ends with this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
        patch.chdir(ROOT)
        forkserver.ensure_running()
    return context


def _run(
    main: Main, words: Sequence[str], environment: Mapping[str, str], out: Sequence[str]
) -> None:
    """Do the work in the new process, as if it had been started by itself."""
    for number, path in enumerate(out, 1):
        with Path(path).open("a") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(environment)
    main(*words)
