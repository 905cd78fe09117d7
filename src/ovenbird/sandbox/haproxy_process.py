"""One HAProxy: started with sockets that are already open, changed at run time, retired.

Structure (listeners, rules, target groups) cannot be changed in a running HAProxy, so
another one takes its place: both take connections from the same sockets for a moment, then
the old one stops listening. It answers its clients' next request with ``Connection: close``
and goes on following weights and targets until they are gone; no request is lost.

Source: HAProxy 2.6 management guide, "Unix Socket commands"; fcntl(2), F_SETPIPE_SZ.
"""

from __future__ import annotations

import collections
import csv
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.sandbox import networks
from ovenbird.sandbox.haproxy import Layout, Target, render, shape, thresholds, variable
from ovenbird.system.commands import end, spawn

log = logging.getLogger(__name__)

PIPE_BYTES = 1 << 20  # HAProxy drops lines when the pipe is full; about 15,000 fit
ANSWER_S = 10.0
END_S = 5.0
LINGER_S = 10.0  # for clients that keep a connection without using it
LAST_S = 300.0  # for requests that take long
TAIL_LINES = 40


class Haproxy:
    """A running HAProxy.

    Args:
        layout: What to do.
        directory: For its configuration and control socket.
        name: Of these files.
        namespace: Network from which it reaches the targets.
        sockets: Listening, in the order of the layout's listeners.
        on_line: Told each line of its output.

    Raises:
        CommandFailed: It does not start; carries HAProxy's words.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        directory: Path,
        name: str,
        namespace: str,
        sockets: Sequence[socket.socket],
        on_line: Callable[[str], bool],
    ) -> None:
        self.shape = shape(layout)
        self._config, self._control = directory / f"{name}.cfg", directory / f"{name}.sock"
        self._frontends = [listener.name for listener in layout.listeners]
        self._weights = {rule: tuple(weights) for rule, weights in layout.weights().items()}
        self._thresholds = {r: thresholds(w.values()) for r, w in layout.weights().items()}
        self._active = {g.name: {t.name: t for t in g.targets} for g in layout.groups}
        self._leaving: dict[str, dict[str, Target]] = {g.name: {} for g in layout.groups}
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._retired_at = 0.0
        self._start(layout, namespace, sockets)
        self._reader = threading.Thread(
            target=self._read, args=(on_line,), name=f"haproxy-{name}", daemon=True
        )
        self._reader.start()
        self._await()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def words(self) -> str:
        """Return the last lines that were not about requests."""
        return "\n".join(self._tail)

    def follow(self, layout: Layout) -> None:
        """Bring targets and weights in line with *layout*, as far as this process knows them.

        New targets come first, then weights, and then the old targets leave: at no moment
        is a request sent where nobody is.
        """
        weights = layout.weights()
        groups = {g.name: {t.name: t for t in g.targets} for g in layout.groups}
        # A rule or group that is gone stays as it was: another process takes over, and the
        # last requests of this one are better sent to the old place than nowhere.
        for group in self._active.keys() & groups.keys():
            self._welcome(group, groups[group])
        for rule in self._weights.keys() & weights.keys():
            self._weigh(rule, weights[rule])
        for group in self._active.keys() & groups.keys():
            self._dismiss(group, groups[group])

    def retire(self) -> None:
        """Take no new connections; clients are told to close theirs."""
        self._retired_at = time.monotonic()
        for frontend in self._frontends:
            self._order(f"shutdown frontend {frontend}")

    def is_done(self) -> bool:
        """Tell whether a retired process may end without cutting a request off."""
        age = time.monotonic() - self._retired_at
        try:
            if age > LAST_S or not self.alive or "CurrConns: 0\n" in self.ask("show info"):
                return True
            return age > LINGER_S and not self.busy()
        except OSError:  # it does not answer any more
            return True

    def busy(self) -> set[tuple[str, str]]:
        """Return the servers that have requests in flight, as (group, target)."""
        rows = csv.DictReader(self.ask("show stat -1 4 -1").removeprefix("# ").splitlines())
        return {(row["pxname"], row["svname"]) for row in rows if int(row["scur"] or 0) > 0}

    def knows(self, group: str, target: str) -> bool:
        """Tell whether a new request could still be sent to a target."""
        return target in self._active.get(group, {})

    def ask(self, line: str) -> str:
        """Give one line to the runtime API and return the answer."""
        with _short(self._control) as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(path)
            connection.sendall(f"{line}\n".encode())
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        return answer.decode(errors="replace")

    def end(self) -> None:
        """End the process now, and read its output to the end."""
        end(self._process, within_s=END_S)
        self._reader.join(END_S)
        for path in (self._config, self._control):
            path.unlink(missing_ok=True)

    def _start(self, layout: Layout, namespace: str, sockets: Sequence[socket.socket]) -> None:
        descriptors = [each.fileno() for each in sockets]
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._output = os.fdopen(reading, encoding="utf-8", errors="replace")
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._control.unlink(missing_ok=True)
        # Our ends are closed here: whoever waits for HAProxy is told when it dies.
        with socket.socket(socket.AF_UNIX) as control, os.fdopen(writing, "wb") as output:
            with _short(self._control) as path:
                control.bind(path)
            control.listen()
            descriptor = control.fileno()
            self._config.write_text(render(layout, descriptors=descriptors, control=descriptor))
            self._process = spawn(
                [*networks.nsenter(namespace), "haproxy", "-db", "-f", self._config],
                output=output,
                pass_fds=[*descriptors, descriptor],
            )

    def _await(self) -> None:
        try:
            self.ask("show info")
        except OSError as error:
            self.end()
            raise CommandFailed("HAProxy does not start", stderr=self.words()) from error

    def _read(self, on_line: Callable[[str], bool]) -> None:
        with self._output:
            for line in self._output:
                if not on_line(line):
                    self._tail.append(line.rstrip("\n"))

    def _welcome(self, group: str, wanted: Mapping[str, Target]) -> None:
        active, leaving = self._active[group], self._leaving[group]
        for name in list(leaving):
            if leaving[name] == wanted.get(name):
                self._order(f"set server {group}/{name} state ready")
                active[name] = leaving.pop(name)
            elif "deleted" in self.ask(f"del server {group}/{name}"):
                del leaving[name]
        for name, target in wanted.items():
            if name not in active and name not in leaving:
                where = f"{target.address}:{target.port}"
                self._order(f"add server {group}/{name} {where}", "New server registered.")
                self._order(f"enable server {group}/{name}")
                active[name] = target

    def _dismiss(self, group: str, wanted: Mapping[str, Target]) -> None:
        active = self._active[group]
        for name in [name for name in active if active[name] != wanted.get(name)]:
            self._order(f"set server {group}/{name} state maint")
            self._leaving[group][name] = active.pop(name)

    def _weigh(self, rule: str, wanted: Mapping[str, int]) -> None:
        known = [wanted.get(group, 0) for group in self._weights[rule]]
        if sum(wanted.values()) > sum(known) == 0:
            return  # all goes to groups that came later: the last weights are the best known
        text = thresholds(known)
        if text != self._thresholds[rule]:
            self._order(f"experimental-mode on; set var {variable(rule)} str({text})")
            self._thresholds[rule] = text

    def _order(self, line: str, expected: str = "") -> None:
        """Give a command that must succeed.

        Raises:
            CommandFailed: HAProxy says something else than *expected*.
        """
        answer = self.ask(line).strip()
        if answer != expected:
            raise CommandFailed(f"HAProxy refused `{line}`: {answer}")


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield another name of a socket, that fits into the 108 bytes of its address."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
