"""A storage under an HTTP address of this host, for package managers that read only that.

What is private stays so: the server answers on loopback alone, and ends with its block. It
gives no dates and no ETags, so whoever asks for the rest of a file under a condition
(``If-Range``, as apt does) gets the whole.

Source: RFC 9110, sections 9.3.2 (HEAD), 13.1.5 (If-Range), 14.2 (Range), 15.3.7 and 15.5.17.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.ports import Storage

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 << 10
IDLE_S = 60.0  # then a connection is closed
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


@contextmanager
def serving(storage: Storage) -> Iterator[str]:
    """Serve a storage on a free port of 127.0.0.1 for as long as the block runs.

    GET and HEAD only; 404 for what is not there; a part of a file when one is asked for.

    Yields:
        The address of the storage, without a slash at its end.
    """
    server = _Server(storage)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="http-files")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.hang_up()


class _Server(ThreadingHTTPServer):
    """Knows its open connections, so that none outlives it."""

    request_queue_size = 64

    def __init__(self, storage: Storage) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.storage = storage
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, and answer it in a thread of its own."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections; their threads see the end, and close them."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was quicker
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its shape
        """Note what broke a connection: a client that went away, mostly."""
        log.debug("connection from %s broke: %r", client_address, sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ovenbird", ""
    timeout = IDLE_S
    server: _Server

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        self._answer()

    def do_HEAD(self) -> None:
        """Send what GET would, without the bytes."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's
        """Write to the log what http.server would write to the terminal."""
        log.debug(format, *args)

    def _answer(self) -> None:
        name = _name(self.path)
        start, end = self._wanted()
        begun = False
        try:
            with self.server.storage.open(name, start=start or 0) as (file, size):
                if self._head(size, start, end):
                    begun = True
                    self._send(file, _last(size, end) + 1 - (start or 0))
        except (NotFound, InvalidRequest):
            self._refuse(HTTPStatus.NOT_FOUND, f"{self.path} is not here")
        except OvenbirdError as error:
            log.warning("reading %s: %s", name, error)
            if begun:
                self.close_connection = True  # fewer bytes than promised: the client must notice
            else:
                self._refuse(HTTPStatus.BAD_GATEWAY, str(error))

    def _wanted(self) -> tuple[int | None, int | None]:
        """Return the first and the last byte asked for; nothing where the whole is."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if not match or "If-Range" in self.headers:
            return None, None
        start, end = int(match[1]), int(match[2]) if match[2] else None
        return (None, None) if end is not None and end < start else (start, end)

    def _head(self, size: int, start: int | None, end: int | None) -> bool:
        """Send status and headers; tell whether bytes follow."""
        if start is not None and start >= size:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self._end_head(0)
            return False
        if start is None:
            self.send_response(HTTPStatus.OK)
            self._end_head(size)
        else:
            last = _last(size, end)
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
            self._end_head(last + 1 - start)
        return self.command == "GET"

    def _end_head(self, length: int) -> None:
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, file: BinaryIO, left: int) -> None:
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                self.close_connection = True  # as above
                return
            self.wfile.write(chunk)
            left -= len(chunk)

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        body = f"{words}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _name(path: str) -> str:
    """Return what a path means: apt asks for ``/./InRelease`` where a repository is flat."""
    parts = unquote(urlsplit(path).path).split("/")
    return "/".join(part for part in parts if part not in {"", "."})


def _last(size: int, end: int | None) -> int:
    return size - 1 if end is None else min(end, size - 1)
