"""An endpoint that takes and gives blocks as fast as it can, or after a while; for `bench.upload`.

It answers what an upload and a download ask of EBS and EC2, reads and forgets the bytes of
blocks, and looks at nothing: whether an upload is right is for the sandbox's tests.

    python -m bench.block_server --latency-ms 40 --blocks 2048
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from functools import partial
from typing import cast

from ovenbird.domain.blocks import BLOCK_BYTES, checksum

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHECKSUM = re.compile(rb"(?i)\r\nx-amz-checksum: *([^\r]+)")
HEAD_BYTES = 16_384
DESCRIBED = (
    "<DescribeSnapshotsResponse><snapshotSet><item><snapshotId>{0}</snapshotId>"
    "<status>{1}</status></item></snapshotSet></DescribeSnapshotsResponse>"
)


class World:
    """What all connections know.

    Args:
        latency_s: How long an answer takes, but for its bytes.
        blocks: How many a snapshot has that is read.
    """

    def __init__(self, *, latency_s: float, blocks: int) -> None:
        self.latency_s, self.started, self.completed = latency_s, 0, False
        self.block = bytes(range(256)) * (BLOCK_BYTES // 256)
        self.digest = checksum(self.block)
        rows = [{"BlockIndex": index, "BlockToken": "t"} for index in range(blocks)]
        self.listed = {"Blocks": rows, "VolumeSize": 64, "BlockSize": BLOCK_BYTES}
        self.scratch = bytearray(2 * BLOCK_BYTES)

    def answer(self, line: bytes, head: bytes) -> bytes:
        """Return the whole answer to a request."""
        method, path = line.decode().split(" ")[:2]
        path = path.partition("?")[0]
        if method == "PUT":
            found = _CHECKSUM.search(head)
            digest = found.group(1).decode() if found else ""
            said = {"x-amz-Checksum": digest, "x-amz-Checksum-Algorithm": "SHA256"}
            return _message("201 Created", b"", **said)
        if re.fullmatch(r"/snapshots/[^/]+/blocks/\d+", path):
            said = {"x-amz-Checksum": self.digest, "x-amz-Checksum-Algorithm": "SHA256",
                    "x-amz-Data-Length": str(BLOCK_BYTES)}  # fmt: skip
            return _message("200 OK", self.block, **said)
        return self._control(path)

    def _control(self, path: str) -> bytes:
        if path == "/":
            state = "completed" if self.completed else "pending"
            text = DESCRIBED.format(f"snap-{self.started:017x}", state)
            return _message("200 OK", text.encode(), **{"Content-Type": "text/xml"})
        if path == "/snapshots":
            self.started, self.completed = self.started + 1, False
            answer = {"SnapshotId": f"snap-{self.started:017x}", "Status": "pending"}
            return _message("201 Created", json.dumps(answer).encode())
        if path.startswith("/snapshots/completion/"):
            self.completed = True
            return _message("202 Accepted", b'{"Status": "pending"}')
        return _message("200 OK", json.dumps(self.listed).encode())


class Connection(asyncio.BufferedProtocol):
    """One connection: requests one after the other."""

    def __init__(self, world: World) -> None:
        self._world, self._head, self._filled = world, bytearray(HEAD_BYTES), 0
        self._line, self._read, self._left = b"", b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: those of a body are forgotten."""
        del sizehint
        if self._left:
            return memoryview(self._world.scratch)[: self._left]
        return memoryview(self._head)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes in, and answer when the request is whole."""
        if self._left:
            self._left -= nbytes
            if not self._left:
                self._answer()
            return
        self._filled += nbytes
        head, end, rest = bytes(self._head[: self._filled]).partition(b"\r\n\r\n")
        if not end:
            return
        self._line, _, _ = head.partition(b"\r\n")
        self._read, self._filled = head, 0
        length = _LENGTH.search(head)
        self._left = (int(length.group(1)) if length else 0) - len(rest)
        if not self._left:
            self._answer()

    def _answer(self) -> None:
        write = partial(self._transport.write, self._world.answer(self._line, self._read))
        if self._world.latency_s:
            asyncio.get_running_loop().call_later(self._world.latency_s, write)
        else:
            write()


def _message(status: str, body: bytes, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if "Content-Type" not in headers:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def serve(world: World) -> None:
    """Serve until the process is ended; print the port first."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(world), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--blocks", type=int, default=2048)
    chosen = parser.parse_args()
    world = World(latency_s=chosen.latency_ms / 1000, blocks=chosen.blocks)
    try:
        asyncio.run(serve(world))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
