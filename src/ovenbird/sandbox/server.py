"""The sandbox's server: moto's application with our corrections, on loopback.

request ─▶ count ─▶ blocks' fast path ─▶ control lock ─▶ moto ─▶ error in the service's protocol
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # before moto is imported

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server

from ovenbird.sandbox import (
    accounts,
    alarms,
    balancers,
    blocks,
    groups,
    images,
    instances,
    metrics,
    status,
)
from ovenbird.sandbox.lifecycle import STATUS_PATH
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.places import Places

log = logging.getLogger(__name__)

PORT = 4599  # tried first
_SERVICE = re.compile(r"Credential=[^/]+/\d+/[a-z0-9-]+/([a-z0-9-]+)/")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(kw_only=True)
class Calls:
    """How many API calls were made, by service."""

    by_service: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def counted(self, app: App) -> App:
        """Wrap an application; each signed request counts."""

        def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
            if match := _SERVICE.search(environ.get("HTTP_AUTHORIZATION", "")):
                with self.lock:
                    self.by_service[match.group(1)] += 1
            return app(environ, start)

        return answer

    def report(self) -> dict[str, Any]:
        """Return the counts as the status page shows them."""
        with self.lock:
            return {
                "api_calls": self.by_service.total(),
                "by_service": dict(self.by_service),
            }


class QuietHandler(MotoRequestHandler):
    """Keep-alive connections, and no line on the terminal for each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def install(places: Places) -> None:
    """Put all corrections in moto's place; once, before the first request."""
    blocks.install(places)
    images.install()
    instances.install()
    accounts.install()
    metrics.install()
    alarms.install()
    groups.install()
    balancers.install(places)


def application(calls: Calls) -> App:
    """Return the whole WSGI application."""
    moto = DomainDispatcherApplication(create_backend_app)
    return calls.counted(_status(calls, blocks.fast_path(_guarded(moto))))


@contextmanager
def serving(app: App, *, port: int = 0) -> Iterator[str]:
    """Serve the application on loopback for as long as the block runs; yield its URL.

    Args:
        app: The application.
        port: 0 for any free one.
    """
    server: BaseWSGIServer = make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=QuietHandler
    )
    thread = threading.Thread(target=server.serve_forever, name="server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _status(calls: Calls, app: App) -> App:
    def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != STATUS_PATH:
            return app(environ, start)
        body = json.dumps(calls.report() | status.contents()).encode()
        head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start("200 OK", head)
        return [body]

    return answer


def _guarded(moto: App) -> App:
    """Hold the control lock around moto, and never answer with a page of HTML.

    An unhandled exception in moto becomes an HTML page with status 500, on which SDKs
    try again and then show markup; the answer here is an error that they can read.
    """

    def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        try:
            with CONTROL:
                return list(moto(environ, start))
        except Exception as error:
            log.exception("%s %s", environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
            return _error(environ, start, error)

    return answer


def _error(environ: Environ, start: StartResponse, error: Exception) -> Iterable[bytes]:
    words = f"{type(error).__name__} in the sandbox: {error}"
    if "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        kind = "text/xml"
        text = (
            "<Response><Errors><Error><Code>InternalError</Code>"
            f"<Message>{_escaped(words)}</Message></Error></Errors></Response>"
        )
    else:
        kind = "application/json"
        text = json.dumps({"__type": "InternalServerException", "message": words})
    body = text.encode()
    start("500 Internal Server Error", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
