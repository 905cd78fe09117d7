"""A program that carries bytes between its own ends and a port in a network namespace.

What OpenSSH calls a proxy command: machines of the sandbox are in a network of their own, which
nothing on this host has a way into. It is started as a file, and imports nothing of ours, so
that it begins in 20 ms.

Source: ssh_config(5), "ProxyCommand"; setns(2).
"""

from __future__ import annotations

import ctypes
import os
import selectors
import shlex
import socket
import sys
from pathlib import Path

CHUNK_BYTES = 1 << 18
CONNECT_S = 10.0
_CLONE_NEWNET = 0x40000000


def proxy_command(namespace: str) -> str:
    """Return the proxy command that reaches machines in a namespace."""
    return shlex.join([sys.executable, "-I", "-S", __file__, namespace]) + " %h %p"


def carry(namespace: str, host: str, port: int) -> None:
    """Connect in the namespace, and carry bytes both ways until the machine's end closes."""
    _enter(namespace)
    with socket.create_connection((host, port), timeout=CONNECT_S) as there:
        there.settimeout(None)
        with selectors.DefaultSelector() as ready:
            ready.register(0, selectors.EVENT_READ, data=None)
            ready.register(there, selectors.EVENT_READ, data=None)
            while _turn(ready, there):
                pass


def _turn(ready: selectors.BaseSelector, there: socket.socket) -> bool:
    """Carry what is there; tell whether more may come."""
    for key, _ in ready.select():
        if key.fileobj == 0:
            if chunk := os.read(0, CHUNK_BYTES):
                there.sendall(chunk)
            else:
                ready.unregister(0)
                there.shutdown(socket.SHUT_WR)
        else:
            chunk = there.recv(CHUNK_BYTES)
            if not chunk:
                return False
            _write(chunk)
    return True


def _write(chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(1, left) :]


def _enter(namespace: str) -> None:
    with Path("/run/netns", namespace).open("rb") as entry:
        if ctypes.CDLL(None, use_errno=True).setns(entry.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", namespace)


if __name__ == "__main__":
    try:
        carry(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error}")
