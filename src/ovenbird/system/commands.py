"""The one door to other programs: run, stream the lines, pipe the bytes, or spawn.

All of them take a list of arguments (never a shell line), a minimal environment
without credentials, and turn failures into :class:`CommandFailed`.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import io
import logging
import os
import select
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ovenbird.domain.errors import CommandFailed

log = logging.getLogger(__name__)

Process = subprocess.Popen[bytes]  # what `spawn` returns

STDERR_TAIL = 4000  # characters of stderr that an error carries
TAIL_LINES = 40  # lines of a streamed program's output that an error carries

CHUNK_BYTES = 1 << 20

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the minimal environment of every program, with additions."""
    path = os.environ.get("PATH", "")
    return {"PATH": f"{path}:{_PATH}", "LANG": "C.UTF-8", "HOME": "/", **(extra or {})}


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    ok: frozenset[int] = frozenset({0}),
) -> str:
    """Run one program to its end and return what it wrote to stdout.

    Args:
        argv: Program and arguments; never a shell line.
        timeout_s: Seconds after which the program is killed.
        cwd: Directory to run in.
        env: Additions to a minimal environment (``PATH``, ``LANG=C.UTF-8``, ``HOME=/``).
        stdin: Text for its standard input; nothing by default.
        ok: Exit statuses that count as success.

    Raises:
        CommandFailed: Not found, timed out, or exited outside *ok*.
    """
    command = [os.fspath(part) for part in argv]
    line = shlex.join(command)
    log.debug("run: %s", line)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment(env),
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise _not_installed(command[0]) from error
    except subprocess.TimeoutExpired as error:
        raise _late(line, timeout_s, "") from error
    if done.returncode not in ok:
        raise _failed(line, done.returncode, done.stderr or done.stdout)
    return done.stdout


def stream(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    on_line: Callable[[str], None],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run one program to its end and hand over each line of output as it comes.

    What it leaves running in its session ends with it, and is not waited for.

    Args:
        argv: Program and arguments.
        timeout_s: Seconds after which the program and its children are killed.
        on_line: Takes each line of stdout and stderr, without its end.
        cwd: Directory to run in.
        env: Additions to a minimal environment.

    Raises:
        CommandFailed: Not found, timed out, or exited non-zero; carries the last lines.
    """
    command = [os.fspath(part) for part in argv]
    line = shlex.join(command)
    log.debug("stream: %s", line)
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    with _started(command, cwd=cwd, env=env) as process, _ended_after(timeout_s, process) as late:
        for text in _lines(_chunks(process)):
            tail.append(text)
            on_line(text)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays its own
        end_group(process)
        status = process.wait()
    if late.is_set():
        raise _late(line, timeout_s, "\n".join(tail))
    if status:
        raise _failed(line, status, "\n".join(tail))


@contextmanager
def piped(
    argv: Sequence[str | Path], *, timeout_s: float, stdin: IO[bytes] | None = None
) -> Iterator[IO[bytes]]:
    """Run one program and read the bytes that it writes to stdout, as they come.

    What the block leaves unread is read to its end, so that the program can end well; a
    block that fails ends the program.

    Args:
        argv: Program and arguments.
        timeout_s: Seconds after which the program and its children are killed.
        stdin: File that it reads; nothing by default.

    Raises:
        CommandFailed: Not found, timed out, or exited non-zero.
    """
    command = [os.fspath(part) for part in argv]
    line = shlex.join(command)
    log.debug("pipe: %s", line)
    with tempfile.TemporaryFile() as said, _pipe(command, stdin, said) as process:
        with _ended_after(timeout_s, process) as late:
            try:
                output = cast("IO[bytes]", process.stdout)
                yield output
                while output.read(1 << 20):
                    pass
                status = process.wait()
            except BaseException as error:
                end_group(process)
                if late.is_set():  # what the block missed is what the program could not write
                    raise _late(line, timeout_s, "") from error
                raise
        said.seek(0)
        stderr = said.read().decode(errors="replace")
    if late.is_set():
        raise _late(line, timeout_s, stderr)
    if status:
        raise _failed(line, status, stderr)


def spawn(
    argv: Sequence[str | Path],
    *,
    output: IO[bytes],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_start: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program that is supervised by the caller, in a session of its own.

    Args:
        argv: Program and arguments.
        output: File that takes stdout and stderr.
        cwd: Directory to run in.
        env: Additions to a minimal environment.
        on_start: Runs in the child before the program; keep it tiny (it is after a fork).
        pass_fds: Open files that the program inherits, under the same numbers.

    Raises:
        CommandFailed: The program is not installed.
    """
    command = [os.fspath(part) for part in argv]
    log.debug("spawn: %s", shlex.join(command))
    try:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=on_start,  # noqa: PLW1509 - only used to enter a cgroup
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _not_installed(command[0]) from error


def end(process: subprocess.Popen[bytes], *, within_s: float) -> None:
    """Ask a spawned program to end, and kill it when it does not."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        end_group(process)
        process.wait()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a spawned program and everything it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _started(
    command: list[str], *, cwd: Path | None, env: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _not_installed(command[0]) from error
    with process:
        try:
            yield process
        except BaseException:
            end_group(process)
            raise


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield what a program writes until it ends; others may hold its output open for longer."""
    output = cast("IO[bytes]", process.stdout).fileno()
    end = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(output, select.POLLIN)
    poll.register(end, select.POLLIN)
    try:
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            chunk = os.read(output, CHUNK_BYTES) if output in ready else b""
            if chunk:
                yield chunk
            if not chunk or end in ready:  # a pipe holds less than a chunk
                return
    finally:
        os.close(end)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield lines without their ends; what is not UTF-8 is replaced."""
    plain = codecs.getincrementaldecoder("utf-8")("replace")
    decoder = io.IncrementalNewlineDecoder(plain, translate=True)
    begun: list[str] = []
    for chunk in chunks:
        first, *more = decoder.decode(chunk).split("\n")
        begun.append(first)
        if more:
            yield "".join(begun)
            yield from more[:-1]
            begun = more[-1:]
    if last := "".join(begun) + decoder.decode(b"", final=True):
        yield last.removesuffix("\n")


@contextmanager
def _ended_after(timeout_s: float, process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """End a program that outlasts its time, and then set the event."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        end_group(process)

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _pipe(
    command: list[str], stdin: IO[bytes] | None, stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env=environment(),
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _not_installed(command[0]) from error


def how_it_ended(error: CommandFailed) -> str:
    """Return how a program ended, for an error that names it in better words than its line."""
    if "status" in error.facts:
        return f"exited with status {error.facts['status']}"
    if "within_s" in error.facts:
        return f"ran past {error.facts['within_s']} s"
    return f"could not be run: {error}"


def _late(line: str, timeout_s: float, stderr: str) -> CommandFailed:
    within = f"{timeout_s:g}"
    return CommandFailed(f"`{line}` ran past {within} s", within_s=within, stderr=stderr)


def _not_installed(program: str) -> CommandFailed:
    return CommandFailed(f"`{program}` is not installed", hint="Run `ovenbird doctor`")


def _failed(line: str, status: int, stderr: str) -> CommandFailed:
    return CommandFailed(
        f"`{line}` exited with status {status}",
        hint="Run the line above by hand to see more",
        status=status,
        stderr=stderr[-STDERR_TAIL:],
    )
