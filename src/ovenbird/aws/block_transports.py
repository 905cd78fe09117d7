"""Two ways to carry blocks: boto3 for a few, connections of our own for many.

Source: EBS direct APIs reference, PutSnapshotBlock and GetSnapshotBlock (paths, headers; the
block's bytes are not signed but checked by their SHA-256).
"""

from __future__ import annotations

import http.client
import json
import queue
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)

from ovenbird.aws.clients import Account
from ovenbird.aws.signatures import EMPTY, UNSIGNED, Signer
from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.ports import Clock

DIRECT_FROM = 48  # blocks; fewer are over before connections of our own are worth it
TIMEOUT_S = 60.0
DEFAULT_PORTS = {"http": 80, "https": 443}


class BlockTransport(Protocol):
    """Carries single blocks; raises what botocore raises, and never tries again by itself."""

    threads: int

    def put(self, snapshot_id: str, index: int, data: bytes, checksum: str) -> None:
        """Write one block; the checksum is its SHA-256 in base64."""

    def get(self, snapshot_id: str, index: int, token: str) -> tuple[bytes, str]:
        """Return one block and the checksum that EBS has of it."""
        ...


class BotoBlocks:
    """Blocks through boto3: about 300 a second, bound by the interpreter's lock."""

    threads = 16

    def __init__(self, account: Account) -> None:
        self._ebs = account.ebs

    def put(self, snapshot_id: str, index: int, data: bytes, checksum: str) -> None:
        """Write one block."""
        self._ebs.put_snapshot_block(
            SnapshotId=snapshot_id,
            BlockIndex=index,
            BlockData=data,
            DataLength=len(data),
            Checksum=checksum,
            ChecksumAlgorithm="SHA256",
        )

    def get(self, snapshot_id: str, index: int, token: str) -> tuple[bytes, str]:
        """Return one block and the checksum that EBS has of it."""
        answer = self._ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=index, BlockToken=token
        )
        return answer["BlockData"].read(), answer["Checksum"]


class DirectBlocks:
    """Blocks over connections of our own, signed here; about 1,000 a second.

    Args:
        url: The endpoint.
        signer: Of EBS in this Region.
        clock: Dates the requests.
        tls: For ``https``; None for the system's certificates.
    """

    threads = 64  # 1,000 blocks a second at 40 ms need 40 under way, and some to spare

    def __init__(
        self, url: str, *, signer: Signer, clock: Clock, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        self._url, self._secure, self._prefix = url, parts.scheme == "https", parts.path.rstrip("/")
        self._host, self._port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        usual = self._port == DEFAULT_PORTS[parts.scheme]
        self._name = self._host if usual else f"{self._host}:{self._port}"
        self._signer, self._clock, self._tls = signer, clock, tls
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def close(self) -> None:
        """Close all connections; none may be in use."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def put(self, snapshot_id: str, index: int, data: bytes, checksum: str) -> None:
        """Write one block."""
        path = f"{self._prefix}/snapshots/{snapshot_id}/blocks/{index}"
        headers = {
            "host": self._name,
            "x-amz-checksum": checksum,
            "x-amz-checksum-algorithm": "SHA256",
            "x-amz-content-sha256": UNSIGNED,
            "x-amz-data-length": str(len(data)),
        }
        now = self._clock.now()
        signed = self._signer.signed("PUT", path, "", headers, payload=UNSIGNED, at=now)
        self._answered("PutSnapshotBlock", "PUT", path, signed, data)

    def get(self, snapshot_id: str, index: int, token: str) -> tuple[bytes, str]:
        """Return one block and the checksum that EBS has of it."""
        path = f"{self._prefix}/snapshots/{snapshot_id}/blocks/{index}"
        query = f"blockToken={quote(token, safe='-_.~')}"
        now = self._clock.now()
        signed = self._signer.signed(
            "GET", path, query, {"host": self._name}, payload=EMPTY, at=now
        )
        data, found = self._answered("GetSnapshotBlock", "GET", f"{path}?{query}", signed, None)
        return data, found.get("x-amz-Checksum") or ""

    def _answered(
        self, call: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[bytes, http.client.HTTPMessage]:
        """Send a request and read its answer.

        Raises:
            ClientError: EBS refused it.
            BotoCoreError: There was no whole answer.
        """
        connection = self._connection()
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _lost(self._url, error) from error
        except BaseException:
            connection.close()  # half an answer may be under way
            raise
        self._idle.put(connection)  # one that the server closed is opened anew when it is used
        if response.status >= http.client.BAD_REQUEST:
            raise _refusal(call, response, data)
        return data, response.headers

    def _connection(self) -> http.client.HTTPConnection:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        size = BLOCK_BYTES  # how much of a body is handed to the kernel at once
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_S, blocksize=size, context=self._tls
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S, blocksize=size)


@contextmanager
def opened(account: Account, blocks: int, *, clock: Clock) -> Iterator[BlockTransport]:
    """Choose how so many blocks are carried, and carry them while the block of code lasts."""
    if blocks < DIRECT_FROM or _has_proxy(account.ebs.meta.endpoint_url):
        yield BotoBlocks(account)
        return
    direct = DirectBlocks(
        account.ebs.meta.endpoint_url, signer=account.signer("ebs"), clock=clock, tls=account.tls
    )
    try:
        yield direct
    finally:
        direct.close()


def _has_proxy(url: str) -> bool:
    """Tell whether a proxy stands between: boto3 knows how to go through it."""
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


def _lost(url: str, error: Exception) -> BotoCoreError:
    """Return a failure of a connection as botocore would raise it."""
    kind: type[BotoCoreError] = ConnectionClosedError
    if isinstance(error, ssl.SSLError):
        kind = SSLError
    elif isinstance(error, TimeoutError):
        kind = ReadTimeoutError
    elif isinstance(error, ConnectionRefusedError | socket.gaierror):
        kind = EndpointConnectionError
    return kind(endpoint_url=url, error=error)


def _refusal(call: str, response: http.client.HTTPResponse, data: bytes) -> ClientError:
    """Return an answer as botocore would raise it."""
    said: dict[str, Any] = {}
    with suppress(ValueError):
        parsed = json.loads(data)
        said = parsed if isinstance(parsed, dict) else {}
    code = response.headers.get("x-amzn-ErrorType") or str(said.get("__type", ""))
    code = code.split(":")[0].split("#")[-1]
    if not code:
        server = response.status >= http.client.INTERNAL_SERVER_ERROR
        code = "InternalServerException" if server else str(response.status)
    words = said.get("message") or said.get("Message") or response.reason
    answer: Any = {
        "Error": {"Code": code, "Message": str(words)},
        "ResponseMetadata": {"HTTPStatusCode": response.status},
    }
    return ClientError(answer, call)
