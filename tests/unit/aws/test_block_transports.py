"""Connections of our own, against a server that answers as it is told."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ovenbird.aws import block_transports
from ovenbird.aws.block_transports import DIRECT_FROM, BotoBlocks, DirectBlocks, opened
from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.aws.signatures import Signer
from ovenbird.domain.blocks import BLOCK_BYTES, checksum
from ovenbird.system.clock import SystemClock

BLOCK = b"b" * BLOCK_BYTES
Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(("PUT", self.path, dict(self.headers.items()), body))
        self.server.answer(self)

    def do_GET(self) -> None:
        self.server.seen.append(("GET", self.path, dict(self.headers.items()), b""))
        self.server.answer(self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Answer = lambda handler: handler.say(201)

    def handle_error(self, *_: object) -> None:
        """A connection that is ended on purpose is no error."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def blocks(server: Server) -> Iterator[DirectBlocks]:
    signer = Signer(
        service="ebs",
        region="eu-west-1",
        keys=lambda: ReadOnlyCredentials("AKID", "secret", "token"),
    )
    found = DirectBlocks(
        f"http://127.0.0.1:{server.server_port}/below/", signer=signer, clock=SystemClock()
    )
    yield found
    found.close()


def test_a_block_is_written_with_what_ebs_wants_to_know(
    server: Server, blocks: DirectBlocks
) -> None:
    blocks.put("snap-1", 7, BLOCK, checksum(BLOCK))

    ((method, path, headers, body),) = server.seen
    assert (method, path, body) == ("PUT", "/below/snapshots/snap-1/blocks/7", BLOCK)
    assert headers["host"] == f"127.0.0.1:{server.server_port}"
    assert headers["x-amz-checksum"] == checksum(BLOCK)
    assert headers["x-amz-security-token"] == "token"
    assert {"x-amz-data-length", "x-amz-checksum-algorithm", "authorization"} <= headers.keys()


def test_a_block_is_read_with_its_checksum(server: Server, blocks: DirectBlocks) -> None:
    server.answer = lambda handler: handler.say(200, BLOCK, x_amz_Checksum="sum")

    assert blocks.get("snap-1", 7, "AA+/=") == (BLOCK, "sum")
    assert server.seen[0][1] == "/below/snapshots/snap-1/blocks/7?blockToken=AA%2B%2F%3D"


def test_connections_are_used_again(server: Server, blocks: DirectBlocks) -> None:
    ports: list[int] = []

    def answer(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        handler.say(201)

    server.answer = answer
    for index in range(3):
        blocks.put("snap-1", index, BLOCK, "c")

    assert len(set(ports)) == 1


REFUSALS: dict[tuple[str, str], Answer] = {
    ("ValidationException", "no"): lambda handler: handler.say(
        400, b'{"message": "no"}', x_amzn_ErrorType="ValidationException:http://x/"
    ),
    ("ResourceNotFoundException", "gone"): lambda handler: handler.say(
        404, b'{"__type": "com.amazonaws.ebs#ResourceNotFoundException", "Message": "gone"}'
    ),
    ("InternalServerException", "Service Unavailable"): lambda handler: handler.say(
        503, b"<html>busy</html>"
    ),
    ("403", "Forbidden"): lambda handler: handler.say(403, b"[]"),
}


@pytest.mark.parametrize("said", REFUSALS)
def test_a_refusal_is_botos(server: Server, blocks: DirectBlocks, said: tuple[str, str]) -> None:
    server.answer = REFUSALS[said]

    with pytest.raises(ClientError) as caught:
        blocks.put("snap-1", 0, BLOCK, "c")

    assert caught.value.operation_name == "PutSnapshotBlock"
    assert caught.value.response["Error"] == {"Code": said[0], "Message": said[1]}


def hang_up(handler: Handler) -> None:
    handler.connection.close()
    handler.close_connection = True


def half_an_answer(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(BLOCK_BYTES))
    handler.end_headers()
    handler.wfile.write(BLOCK[:1000])
    handler.close_connection = True


@pytest.mark.parametrize("answer", [hang_up, half_an_answer])
def test_a_lost_answer_is_botos_lost_connection_and_the_next_call_has_another(
    server: Server, blocks: DirectBlocks, answer: Answer
) -> None:
    server.answer = answer
    with pytest.raises(ConnectionClosedError):
        blocks.get("snap-1", 0, "t")

    server.answer = lambda handler: handler.say(200, BLOCK, x_amz_Checksum="sum")
    assert blocks.get("snap-1", 0, "t") == (BLOCK, "sum")


def test_nobody_who_answers_and_nobody_who_answers_in_time_are_told_apart(
    server: Server, blocks: DirectBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def never(handler: Handler) -> None:
        done.wait(10)
        handler.close_connection = True

    monkeypatch.setattr(block_transports, "TIMEOUT_S", 0.2)
    server.answer = never
    with pytest.raises(ReadTimeoutError):
        blocks.get("snap-1", 0, "t")
    done.set()

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        absent = DirectBlocks(url, signer=blocks._signer, clock=SystemClock())
        with pytest.raises(EndpointConnectionError):
            absent.get("snap-1", 0, "t")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of `localhost`, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_over_tls_only_whom_boto_trusts_gets_blocks(
    certificate: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://localhost:{server.server_port}"
    file = tmp_path / "credentials"
    file.write_text("[p]\naws_access_key_id = A\naws_secret_access_key = s\n")
    access = AccountAccess(
        account_id="1" * 12, region="eu-west-1", endpoint_url=url,
        credentials_file=str(file), profile="p",
    )  # fmt: skip

    def put() -> None:
        account = open_account(access)
        with opened(account, DIRECT_FROM, clock=SystemClock()) as transport:
            transport.put("snap-1", 0, BLOCK, checksum(BLOCK))

    with pytest.raises(SSLError, match=r"self.signed"):
        put()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    put()

    assert [(seen[1], seen[3] == BLOCK) for seen in server.seen] == [
        ("/snapshots/snap-1/blocks/0", True)
    ]
    assert "Credential=A/" in server.seen[0][2]["authorization"]


def test_few_blocks_and_blocks_behind_a_proxy_go_through_boto3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(blocks: int, url: str = "http://ebs.here") -> type:
        ebs = SimpleNamespace(meta=SimpleNamespace(endpoint_url=url))
        signer: Any = lambda _: None  # noqa: E731
        account = cast("Account", SimpleNamespace(ebs=ebs, signer=signer, tls=None))
        with opened(account, blocks, clock=SystemClock()) as transport:
            return type(transport)

    monkeypatch.setattr(block_transports, "getproxies", lambda: {"https": "http://proxy:1"})

    assert chosen(DIRECT_FROM - 1) is BotoBlocks
    assert chosen(DIRECT_FROM) is DirectBlocks
    assert chosen(DIRECT_FROM, "https://ebs.here") is BotoBlocks
