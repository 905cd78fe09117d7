"""The HTTP server: `/`, `/healthz` and `/version`, each answer marked with the version.

SIGTERM: accept nothing new, finish what is in flight, leave. SIGHUP: read the configuration.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import sys
import threading
import tomllib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hello.greeting import page

CONFIG = Path("/etc/hello/hello.toml")
VERSION_HEADER = "X-Hello-Version"
IDLE_S = 120  # longer than nginx keeps its connections, so that nginx is the one who closes


def version() -> str:
    """Return the version that `make dist` wrote, or 0."""
    for directory in Path(__file__).resolve().parents[1:3]:
        if (directory / "VERSION").is_file():
            return (directory / "VERSION").read_text().strip()
    return "0"


def greeting_of(config: Path) -> str:
    """Return the configured greeting."""
    settings = tomllib.loads(config.read_text()) if config.exists() else {}
    return str(settings.get("greeting", "Hello"))


class Server(ThreadingHTTPServer):
    """One thread for each connection; `server_close` waits for all of them."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], greeting: str = "Hello") -> None:
        self.greeting, self.version = greeting, version()
        self.stopping = threading.Event()
        self.idle: set[socket.socket] = set()
        self.lock = threading.Lock()
        super().__init__(address, Handler)

    def stop(self) -> None:
        """Accept nothing new, and wake connections that wait for a request."""
        self.stopping.set()
        self.shutdown()
        with self.lock:
            for connection in self.idle:
                with contextlib.suppress(OSError):  # the other side may be gone already
                    connection.shutdown(socket.SHUT_RD)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    server: Server

    def handle_one_request(self) -> None:
        """Wait for a request, as one that may be woken, and answer it."""
        with self.server.lock:
            if self.server.stopping.is_set():
                self.close_connection = True
                return
            self.server.idle.add(self.connection)
        try:
            super().handle_one_request()
        finally:
            with self.server.lock:
                self.server.idle.discard(self.connection)

    def do_GET(self) -> None:
        """Answer."""
        with self.server.lock:
            self.server.idle.discard(self.connection)
        match self.path.partition("?")[0]:
            case "/healthz":
                self.answer(HTTPStatus.OK, "ok\n")
            case "/version":
                body = json.dumps({"app": "hello", "version": self.server.version})
                self.answer(HTTPStatus.OK, f"{body}\n", kind="application/json")
            case "/":
                self.greet()
            case _:
                self.answer(HTTPStatus.NOT_FOUND, "There is nothing here\n")

    do_HEAD = do_GET  # noqa: N815 - named by http.server

    def greet(self) -> None:
        """Answer `/`; a fault of the page is this request's fault alone."""
        try:
            text = page(self.server.greeting)
        except Exception as error:  # noqa: BLE001 - a server outlives its pages
            self.log_error("%s", error)
            self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke\n")
            return
        self.answer(HTTPStatus.OK, text)

    def answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        """Send one whole answer."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(VERSION_HEADER, self.server.version)
        if self.server.stopping.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: nginx keeps the access log."""


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="hello", description="A web app that says hello")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args()
    server = Server((options.address, options.port), greeting_of(options.config))

    def reload(*_: object) -> None:
        try:
            server.greeting = greeting_of(options.config)
        except (OSError, tomllib.TOMLDecodeError) as error:
            sys.stderr.write(f"kept the old configuration: {error}\n")

    # `stop` waits for the loop below, which cannot go on while a signal handler runs.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.stop).start())
    signal.signal(signal.SIGHUP, reload)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
