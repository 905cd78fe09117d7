"""The sandbox's server: moto's application with our corrections, on loopback.

request ─▶ (faults) ─▶ count ─▶ blocks' fast path ─▶ body read ─▶ control lock ─▶ moto
   └── whatever fails on the way: an error in the service's protocol

moto 5.2.5 answers an unhandled exception with a page of HTML and status 500, on which SDKs
try again and then show markup. It also keeps every object of its model that it ever made in
a list for its dashboard: also one for each target in each DescribeTargetHealth, so that a
sandbox that is asked every second would grow by megabytes an hour.

Source: moto/moto_server/werkzeug_app.py; moto/core/common_models.py, BaseModel;
moto/moto_api/_internal/responses.py (the only reader of the list, but for S3's reset).
"""

from __future__ import annotations

import io
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

from moto.core.common_models import BaseModel
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
    buckets,
    encryption,
    groups,
    images,
    instances,
    metrics,
    snapshot_copies,
    snapshots,
    status,
    volumes,
)
from ovenbird.sandbox.faults import Faults
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
    BaseModel.__new__ = _untracked
    blocks.install(places)
    buckets.install()
    encryption.install()
    snapshots.install()
    snapshot_copies.install()
    volumes.install()
    images.install()
    instances.install()
    accounts.install()
    metrics.install()
    alarms.install()
    groups.install()
    balancers.install(places)


def application(calls: Calls, *, faults: Faults | None = None) -> App:
    """Return the whole WSGI application; with faults around it, when they are given."""
    moto = DomainDispatcherApplication(create_backend_app)
    inner = blocks.fast_path(_controlled(moto))
    whole = _guarded(calls.counted(_status(calls, faults or Faults(), inner)))
    return faults.around(whole) if faults else whole


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


def _status(calls: Calls, faults: Faults, app: App) -> App:
    def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != STATUS_PATH:
            return app(environ, start)
        body = json.dumps(calls.report() | faults.report() | status.contents()).encode()
        head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start("200 OK", head)
        return [body]

    return answer


def _untracked(cls: type[BaseModel], *_words: Any, **_named: Any) -> BaseModel:
    """Make an object of moto's model, and keep no list of them."""
    return super(BaseModel, cls).__new__(cls)


def _controlled(moto: App) -> App:
    """Hold the control lock around moto, but not while a slow client sends its body."""

    def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        ends_by_itself = environ.get("wsgi.input_terminated")
        length = None if ends_by_itself else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(body.read(length))
        with CONTROL:
            return list(moto(environ, start))

    return answer


def _guarded(app: App) -> App:
    """Let every failure be an error that the caller's SDK can read."""

    def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        try:
            return app(environ, start)
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
    elif "s3" in _SERVICE.findall(environ.get("HTTP_AUTHORIZATION", "")):
        kind = "application/xml"
        text = f"<Error><Code>InternalError</Code><Message>{_escaped(words)}</Message></Error>"
    else:
        kind = "application/json"
        text = json.dumps({"__type": "InternalServerException", "message": words})
    body = text.encode()
    start("500 Internal Server Error", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
