"""A steady load on one address, every answer counted by version.

Runs as a process of its own (``python -m demo.load``), so that the pipeline's own work
does not slow it. It stops at SIGTERM, and by itself after ``--seconds``.

A request is *lost* when no complete response came back, or when the answer is a 5xx that
the load balancer gave by itself: it signs those as an Application Load Balancer does, with
``Server: awselb/2.0``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

THREADS = 8
TIMEOUT_S = 20.0
NOBODY = "-"  # the version of an answer that no app gave
UNNAMED = "app"  # of an app that does not name its version
BALANCER = "awselb"


@dataclass(kw_only=True)
class Tally:
    """What came back, by second and version.

    Args:
        answers: (second since the start, version, outcome) → requests; the outcome is ``ok``,
            ``failed`` (the app's own 5xx, or no app), ``lost`` or ``none`` (nothing is
            deployed yet).
        losses: A few of the lost ones in words, for the person who has to find the cause.
    """

    answers: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    served: bool = False  # whether the app has answered at all; before that, nothing is deployed
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, second: int, version: str, outcome: str, note: str = "") -> None:
        """Count one request."""
        with self.lock:
            self.answers[second, version, outcome] += 1
            self.served = self.served or outcome == "ok"
            if outcome == "lost" and len(self.losses) < 50:
                self.losses.append(f"{second} s: {note}")

    def write(self, path: Path) -> None:
        """Write the tally as JSON, in one step."""
        with self.lock:
            rows = [[*key, count] for key, count in sorted(self.answers.items())]
            text = json.dumps({"answers": rows, "losses": self.losses})
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)


def outcome_of(status: int, *, version: str, served: bool) -> str:
    """Classify one complete answer.

    Args:
        status: HTTP status.
        version: ``-`` when the load balancer answered by itself.
        served: Whether the app had answered at all before the request began.
    """
    if version != NOBODY:
        return "failed" if status >= 500 else "ok"
    if not served:
        return "none"
    return "lost" if status >= 500 else "failed"


class Client(threading.Thread):
    """One keep-alive connection that sends its share of the load."""

    def __init__(self, options: argparse.Namespace, number: int, tally: Tally) -> None:
        super().__init__(daemon=True)
        self.options, self.number, self.tally = options, number, tally
        self.url = urllib.parse.urlsplit(options.url)
        self.stop = threading.Event()
        self.connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Send requests at an even pace until told to stop."""
        every_s = THREADS / self.options.rate
        due = time.monotonic() + every_s * self.number / THREADS
        end = time.monotonic() + self.options.seconds
        while not self.stop.is_set() and due < end:
            self.stop.wait(max(0.0, due - time.monotonic()))
            if self.stop.is_set():
                break
            self.ask()
            due = max(due + every_s, time.monotonic() - 1.0)  # never more than a second of debt
        if self.connection:
            self.connection.close()

    def ask(self) -> None:
        """Send one request and count what comes back."""
        second = int(time.time() - self.options.start)
        served = self.tally.served  # when the request began
        try:
            status, version = self.exchange()
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            self.tally.add(second, NOBODY, "lost" if served else "none", repr(error))
            return
        outcome = outcome_of(status, version=version, served=served)
        self.tally.add(second, version, outcome, f"status {status} from the balancer")

    def exchange(self) -> tuple[int, str]:
        """Return status and version of one complete answer."""
        if self.connection is None:
            host, port = self.url.hostname or "127.0.0.1", self.url.port or 80
            self.connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self.connection.request("GET", self.url.path or "/")
        answer = self.connection.getresponse()
        answer.read()
        if answer.headers.get("Server", "").startswith(BALANCER):
            return answer.status, NOBODY
        return answer.status, answer.headers.get(self.options.header, UNNAMED)


def main() -> None:
    """Run the load until SIGTERM or the end of its time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=120.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=900.0, help="stop after this long")
    parser.add_argument("--header", required=True, help="the header that carries the version")
    parser.add_argument("--start", type=float, required=True, help="epoch second that counts as 0")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not (urllib.parse.urlsplit(options.url).hostname or "").startswith("127."):
        parser.error("the load goes to this machine's loopback addresses only")
    tally, stop = Tally(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clients = [Client(options, number, tally) for number in range(THREADS)]
    for client in clients:
        client.start()
    end = time.monotonic() + options.seconds
    while not stop.wait(1.0) and time.monotonic() < end:
        tally.write(options.out)
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(TIMEOUT_S + 1)
    tally.write(options.out)


if __name__ == "__main__":
    main()
