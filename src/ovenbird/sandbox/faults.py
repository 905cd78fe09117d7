"""Faults on purpose: calls are throttled, refused, lost on the way there or back, or damaged.

A bad day at AWS is the normal one of a busy account: a part of all calls is throttled, and a
snapshot that was just started is not known for some seconds. `ovenbird sandbox up --faults`
makes such a day (:class:`BadDay`); tests decide call by call.

Source: EBS direct APIs reference and EC2 API reference, "Error codes", "Error retries";
coldsnap #43 (a new snapshot is unknown for a while).
"""

from __future__ import annotations

import io
import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from ovenbird.sandbox import blocks

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[a-z0-9-]+/([a-z0-9-]+)/")
_KEY = re.compile(r"Credential=([^/]+)/")
_EBS = {
    ("POST", re.compile(r"/snapshots")): "StartSnapshot",
    ("POST", re.compile(r"/snapshots/completion/[^/]+")): "CompleteSnapshot",
    ("PUT", re.compile(r"/snapshots/[^/]+/blocks/\d+")): "PutSnapshotBlock",
    ("GET", re.compile(r"/snapshots/[^/]+/blocks/\d+")): "GetSnapshotBlock",
    ("GET", re.compile(r"/snapshots/[^/]+/blocks")): "ListSnapshotBlocks",
    ("GET", re.compile(r"/snapshots/[^/]+/changedblocks")): "ListChangedBlocks",
}
_SNAPSHOT = re.compile(r"snap-[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API.

    Args:
        service: As in the signature: ``ec2``, ``ebs``.
        action: As ``RegisterImage``; for S3 the method.
        number: From 1, among all calls since the decision was made.
        snapshot_id: The first snapshot that it names; empty for none.
        key: The access key that signed it.
    """

    service: str
    action: str
    number: int
    snapshot_id: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with a call.

    Args:
        code: It is refused with this error.
        status: With this HTTP status.
        loses: ``request`` (nothing is done) or ``answer`` (it is done): the connection ends.
        damages: One byte of the answer is another one.
    """

    code: str = ""
    status: int = 400
    loses: str = ""
    damages: bool = False


Decide = Callable[[Call], Fault | None]


def throttled(call: Call) -> Fault:
    """Return how AWS asks for patience."""
    match call.service:
        case "ec2":
            return Fault(code="RequestLimitExceeded", status=503)
        case "ebs":
            return Fault(code="RequestThrottledException")
        case _:
            return Fault(code="Throttling")


class BadDay:
    """Throttles some calls, and forgets new snapshots for a while.

    Args:
        share: Of all calls that are throttled.
        unknown_for: How long a started snapshot is unknown.
        seed: The same one gives the same day.
    """

    def __init__(
        self,
        *,
        share: float = 0.05,
        unknown_for: timedelta = timedelta(seconds=3),
        seed: int = 0,
    ) -> None:
        self._share, self._unknown_for = share, unknown_for
        self._random = random.Random(seed)  # noqa: S311 - nothing is kept secret by it

    def __call__(self, call: Call) -> Fault | None:
        """Decide about one call."""
        if call.action in {"PutSnapshotBlock", "DescribeSnapshots"} and self._is_new(call):
            known = {"ec2": "InvalidSnapshot.NotFound", "ebs": "ResourceNotFoundException"}
            return Fault(code=known[call.service], status=404 if call.service == "ebs" else 400)
        return throttled(call) if self._random.random() < self._share else None

    def _is_new(self, call: Call) -> bool:
        found = blocks.store().find(call.snapshot_id)
        if found is None:
            return False
        age = datetime.now(tz=UTC) - found.started_at  # noqa: TID251 - the server's own time
        return age < self._unknown_for


class Faults:
    """Stands before an application; lets everything pass until it is told to decide."""

    def __init__(self) -> None:
        self._decide: Decide | None = None
        self._number, self._lock = 0, threading.Lock()
        self._decided: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def decide_by(self, decide: Decide | None) -> None:
        """Ask this about each call from now on; None lets all pass."""
        with self._lock:
            self._decide, self._number = decide, 0

    @contextmanager
    def deciding(self, decide: Decide) -> Iterator[None]:
        """Ask this about each call for as long as the block runs."""
        self.decide_by(decide)
        try:
            yield
        finally:
            self.decide_by(None)

    def around(self, app: App) -> App:
        """Wrap an application."""

        def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
            with self._lock:
                decide = self._decide if _service(environ) else None
                self._number += decide is not None
                number = self._number
            if decide is None:
                return app(environ, start)
            call = _call(environ, number)
            fault = decide(call)
            self._count(call, fault)
            return app(environ, start) if fault is None else _with(fault, environ, start, app)

        return answer

    def report(self) -> dict[str, dict[str, int]]:
        """Return the calls that were decided about, and those that were refused, by action."""
        with self._lock:
            return {"decided": dict(self._decided), "refused": dict(self._refused)}

    def _count(self, call: Call, fault: Fault | None) -> None:
        name = f"{call.service}.{call.action}"
        with self._lock:
            self._decided[name] += 1
            self._refused[name] += bool(fault and fault.code)


def _with(fault: Fault, environ: Environ, start: StartResponse, app: App) -> Iterable[bytes]:
    if fault.code or fault.loses == "request":
        _drained(environ)
    if fault.code:
        return _refused(fault, environ, start)
    if fault.loses == "request":
        _hang_up(environ)
    if fault.loses == "answer":
        list(app(environ, lambda *_: None))
        _hang_up(environ)
    body = b"".join(app(environ, start))
    return [bytes([body[0] ^ 1]) + body[1:]] if fault.damages and body else [body]


def _service(environ: Mapping[str, Any]) -> str:
    found = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found.group(1) if found else ""


def _key(environ: Mapping[str, Any]) -> str:
    found = _KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found.group(1) if found else ""


def _call(environ: Environ, number: int) -> Call:
    service, path = _service(environ), environ.get("PATH_INFO", "")
    method, words = environ["REQUEST_METHOD"], path
    if service == "ebs":
        action = next((a for (m, p), a in _EBS.items() if m == method and p.fullmatch(path)), "")
    elif "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        words = _drained(environ).decode()
        action = parse_qs(words).get("Action", [""])[0]
    else:
        target = environ.get("HTTP_X_AMZ_TARGET", "") or path
        action = method if service == "s3" else re.split(r"[./]", target)[-1]
    snapshot = _SNAPSHOT.search(words)
    return Call(
        service=service,
        action=action,
        number=number,
        snapshot_id=snapshot.group() if snapshot else "",
        key=_key(environ),
    )


def _drained(environ: Environ) -> bytes:
    """Read the body and leave it to be read again; what stays unread were the next request."""
    body = environ["wsgi.input"]
    ends_by_itself = environ.get("wsgi.input_terminated")
    length = None if ends_by_itself else int(environ.get("CONTENT_LENGTH") or 0)
    data: bytes = body.read(length)
    environ["wsgi.input"] = io.BytesIO(data)
    return data


def _hang_up(environ: Environ) -> None:
    """End the connection without an answer.

    Raises:
        ConnectionError: Always; the server takes it for a client that went away.
    """
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionError("lost on purpose")


def _refused(fault: Fault, environ: Environ, start: StartResponse) -> Iterable[bytes]:
    words = f"{fault.code}, on purpose"
    head: list[tuple[str, str]] = []
    if "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        error = f"<Error><Code>{fault.code}</Code><Message>{words}</Message></Error>"
        is_ec2 = _service(environ) == "ec2"
        text = (
            f"<Response><Errors>{error}</Errors></Response>"
            if is_ec2
            else f"<ErrorResponse>{error}</ErrorResponse>"
        )
        head.append(("Content-Type", "text/xml"))
    elif _service(environ) == "s3":
        text = f"<Error><Code>{fault.code}</Code><Message>{words}</Message></Error>"
        head.append(("Content-Type", "application/xml"))
    else:
        text = json.dumps({"__type": fault.code, "message": words})
        head += [("Content-Type", "application/json"), ("x-amzn-ErrorType", fault.code)]
    body = text.encode()
    start(f"{fault.status} Refused", [*head, ("Content-Length", str(len(body)))])
    return [body]
