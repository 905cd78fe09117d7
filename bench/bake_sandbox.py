"""A sandbox of the benchmark's own, and a way for Packer to work inside its account.

Packer reaches machines by their private addresses, as from a host in the account's network.
So it runs in that network's namespace, where the API and the package repository are, too:

    127.0.0.1:API   ─▶ the sandbox's server
    172.31.0.1:8099 ─▶ the published repository, by HTTP, also for the machines
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from bench.packer_templates import REPOSITORY_PORT
from ovenbird.aws.clients import Account
from ovenbird.config.settings import Settings, cache_home, load_settings
from ovenbird.sandbox import lifecycle
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.networks import GATEWAY, nsenter, within
from ovenbird.sandbox.places import DEVELOPMENT, Places
from ovenbird.system.clock import await_true
from ovenbird.system.commands import end, spawn

READY = timedelta(seconds=10)
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class BenchSandbox:
    """A sandbox that is up.

    Args:
        running: As its lifecycle knows it.
        namespace: Of the account that bakes.
    """

    places: Places
    running: lifecycle.Running
    namespace: str

    @property
    def settings(self) -> Settings:
        """As `ovenbird sandbox up` wrote them."""
        return load_settings(self.running.settings)

    @property
    def account(self) -> Account:
        """The account that bakes."""
        credentials = self.places.credentials
        return Endpoint(url=self.running.endpoint_url, credentials_file=credentials).development

    def calls(self) -> int:
        """Return how many API calls were made until now."""
        return int(lifecycle.status(self.running)["api_calls"])


@contextmanager
def sandbox(home: Path) -> Iterator[BenchSandbox]:
    """Keep a sandbox up for as long as the block runs; only its log stays.

    Raises:
        InvalidRequest: Not root, or programs are missing.
    """
    places = Places(home=home / "sandbox", cache=cache_home())
    running, _ = lifecycle.up(places, lambda line: print(line, file=sys.stderr))
    try:
        yield BenchSandbox(places=places, running=running, namespace=places.namespace(DEVELOPMENT))
    finally:
        lifecycle.down(places, lambda _: None)


@contextmanager
def inside(found: BenchSandbox, repository: Path) -> Iterator[list[str]]:
    """Serve the API and a repository inside the account's network; yield words before a program."""
    port = int(urlsplit(found.running.endpoint_url).port or 0)
    words = nsenter(found.namespace)
    with ExitStack() as parts:
        parts.enter_context(_carried(found.namespace, port))
        where = ["--bind", GATEWAY, "--directory", str(repository)]
        with (found.places.home / "repository.log").open("wb") as log:
            server = spawn(
                [*words, sys.executable, "-m", "http.server", str(REPOSITORY_PORT), *where],
                output=log,
            )
        parts.callback(end, server, within_s=5)
        await_true(lambda: within(found.namespace, _answers), within=READY)
        yield words


def _answers() -> bool:
    try:
        socket.create_connection((GATEWAY, REPOSITORY_PORT), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _carried(namespace: str, port: int) -> Iterator[None]:
    """Carry connections from a namespace's loopback to this host's, same port."""
    listening = within(namespace, lambda: socket.create_server(("127.0.0.1", port), backlog=64))

    def accept() -> None:
        with suppress(OSError):  # it was closed
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
