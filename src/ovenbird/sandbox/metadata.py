"""The instance metadata service (IMDS) at 169.254.169.254, in each account's namespace.

As EC2 has it: a session token is asked for with PUT and a time to live, belongs to one
instance, and expires; who asks is known by the source address; an instance may require
tokens (401 without), or have no service at all (403); a request for a token that came
through a proxy (`X-Forwarded-For`) is refused; the answer with the token lives as many hops
as the instance's hop limit says.

One addition, for cloud-init: it asks for a token only when it knows by DMI or by
/sys/hypervisor/uuid that it runs on EC2; in a container it reads no DMI, and nspawn mounts a
real sysfs beside a network namespace that it was given, with no place for such a file (tried
on 2026-11-24 with 22.4.2). Its requests carry nothing to be known by, not even its own
User-Agent. So it is told, on the machine's command line, an address of its own
(:func:`cloud_init_url`): below it no token is needed, since its last part is a secret of
that instance. All others need their token.

Source: EC2 user guide, "Use the Instance Metadata Service to access instance metadata",
"How Instance Metadata Service Version 2 works"; cloud-init, DataSourceEc2.py (metadata_urls).
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance

from ovenbird.sandbox import networks
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.metadata_tree import Tree, tree
from ovenbird.sandbox.places import REGION

log = logging.getLogger(__name__)

PORT = 80
_SECRET = secrets.token_bytes(16)  # of this process
IDLE_S = 20.0
MAX_TTL_S = 21600
LARGEST_BODY = 65536  # none is needed
TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105 - a header
VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01",
    "2008-09-01", "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25",
    "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28",
    "2018-08-17", "2018-09-24", "2019-10-01", "2020-08-24", "2020-10-27", "2021-01-03",
    "2021-03-23", "2021-07-15", "2022-09-24", "latest",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The instance that asks, and how it may be told about itself."""

    instance_id: str
    enabled: bool
    token_required: bool
    hop_limit: int
    tree: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Args:
        address: Where it comes from.
        headers: Names in lower case.
    """

    address: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered.

    Args:
        hop_limit: Time to live of the answer's packets, in hops; 0 for the host's own.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hop_limit: int = 0


class MetadataService:
    """Answers the instances of one account; safe between threads.

    Args:
        find: Returns the instance at an address, or None.
        clock: Monotonic seconds.
    """

    def __init__(
        self, find: Callable[[str], Subject | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find, self._clock = find, clock
        self._tokens: dict[str, tuple[str, float]] = {}  # token → instance, monotonic end
        self._guard = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        subject = self._find(request.address)
        if subject is None or not subject.enabled:
            return Answer(status=404 if subject is None else 403)
        path = re.sub(r"/+", "/", request.path.partition("?")[0])
        if path == TOKEN_PATH:
            return self._token(request, subject)
        private = f"/{cloud_init_key(subject.instance_id)}/"
        if path.startswith(private):
            path = path.removeprefix(private.rstrip("/"))
        elif not self._is_allowed(request, subject):
            return Answer(status=401)
        if request.method != "GET":
            return Answer(status=405)
        return _found(subject.tree, path)

    def _token(self, request: Request, subject: Subject) -> Answer:
        if request.method != "PUT":
            return Answer(status=405)
        if "x-forwarded-for" in request.headers:
            return Answer(status=403)
        ttl = request.headers.get(TTL_HEADER, "")
        if not (ttl.isdecimal() and 1 <= int(ttl) <= MAX_TTL_S):
            return Answer(status=400)
        token, now = secrets.token_urlsafe(40), self._clock()
        with self._guard:
            self._tokens = {t: known for t, known in self._tokens.items() if known[1] > now}
            self._tokens[token] = (subject.instance_id, now + int(ttl))
        return Answer(
            status=200, body=token.encode(), headers={TTL_HEADER: ttl}, hop_limit=subject.hop_limit
        )

    def _is_allowed(self, request: Request, subject: Subject) -> bool:
        token = request.headers.get(TOKEN_HEADER)
        if token is None:
            return not subject.token_required
        with self._guard:
            instance_id, end = self._tokens.get(token, ("", 0.0))
        return instance_id == subject.instance_id and end > self._clock()


def cloud_init_url(instance_id: str) -> str:
    """Return the address at which an instance's cloud-init finds the service."""
    return f"http://{networks.METADATA}/{cloud_init_key(instance_id)}"


def cloud_init_key(instance_id: str) -> str:
    """Return the secret part of that address, the same for each boot of an instance."""
    return "cloud-init-" + hmac.digest(_SECRET, instance_id.encode(), "sha256").hex()[:32]


def _found(tree: Tree, path: str) -> Answer:
    body = look_up(tree, path)
    return Answer(status=404) if body is None else Answer(status=200, body=body)


def look_up(found: Tree, path: str) -> bytes | None:
    """Return the text at a path, or the names of what is below it, or None.

    Args:
        found: An instance's metadata.
        path: With the version: ``/latest/meta-data/instance-id``.
    """
    version, _, rest = path.strip("/").partition("/")
    if not version:
        return "\n".join(VERSIONS).encode()
    if version not in VERSIONS:
        return None
    if rest in found:
        return found[rest]
    prefix = f"{rest}/" if rest else ""
    if (prefix or "/") in found:
        return found[prefix or "/"]
    below = [name.removeprefix(prefix).split("/") for name in found if name.startswith(prefix)]
    names = {first + "/" if more else first for first, *more in below}
    return "\n".join(sorted(names)).encode() if names else None


@contextmanager
def serving(account_id: str, namespace: str) -> Iterator[None]:
    """Serve an account's instances for as long as the block runs.

    Args:
        account_id: Whose instances ask.
        namespace: The network namespace in which their bridge is.
    """
    service = MetadataService(lambda address: find(account_id, address))
    server = _Server(networks.within(namespace, _listening), service)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def find(account_id: str, address: str) -> Subject | None:
    """Return the account's instance at an address; one that is over has none."""
    with CONTROL:
        for instance in ec2_backends[account_id][REGION].all_instances():
            if instance.private_ip == address and instance.state not in {"terminated", "stopped"}:
                return subject_of(instance)
    return None


def subject_of(instance: Instance) -> Subject:
    """Return what the service needs to know of an instance."""
    options = instance.metadata_options
    return Subject(
        instance_id=instance.id,
        enabled=options.http_endpoint != "disabled",
        token_required=options.http_tokens == "required",
        hop_limit=int(options.http_put_response_hop_limit or 1),
        tree=tree(instance),
    )


def _listening() -> socket.socket:
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((networks.METADATA, PORT))
        found.listen(256)
    except OSError:
        found.close()
        raise
    return found


class _Server(ThreadingHTTPServer):
    """Serves on a socket that was made elsewhere."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, service: MetadataService) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.service = listening, service

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Say one line: most are machines that ended while they asked."""
        log.info("metadata for %s: %r", client_address, sys.exception())


class _Handler(BaseHTTPRequestHandler):
    """Hands each request of one connection to the service."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = -1  # head and body in one packet
    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        length = self.headers.get("Content-Length") or "0"
        if not (length.isdecimal() and int(length) <= LARGEST_BODY):
            self.send_error(400)
            return
        self.rfile.read(int(length))
        answer = self.server.service.answer(
            Request(
                address=self.client_address[0],
                method=self.command,
                path=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
            )
        )
        if answer.hop_limit:
            self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, answer.hop_limit)
        self.send_response(answer.status)
        for name, value in {"Content-Type": "text/plain", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def version_string(self) -> str:
        """Return the server's name."""
        return "EC2ws"

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - http.server's word
        """Say nothing."""
