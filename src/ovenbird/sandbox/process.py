"""The sandbox's one process: serves the API, fills the accounts, runs the loops.

    python -m ovenbird.sandbox.process --home DIR --cache DIR [--faults] [--throttle] ...

``lifecycle`` starts it, reads its progress file, and knows it by the lock on its pid file.
On SIGTERM it takes everything down in the reverse order of its making.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ovenbird.sandbox import alarms, balancers, groups, machineless, machines, server
from ovenbird.sandbox.base_images import ensure_base_disk
from ovenbird.sandbox.disks import RootDisks
from ovenbird.sandbox.endpoint import prepare
from ovenbird.sandbox.faults import BadDay, Decide, Faults
from ovenbird.sandbox.networks import account_network
from ovenbird.sandbox.places import ACCOUNTS, Places
from ovenbird.sandbox.population import populate
from ovenbird.sandbox.throttles import Throttles
from ovenbird.system.locks import file_lock

log = logging.getLogger(__name__)

LOG_BYTES = 10 * 2**20  # then it begins anew; the one before is kept beside it until `down`


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM."""
    places, chosen = _chosen(argv)
    logging.basicConfig(
        handlers=[RotatingFileHandler(places.log, maxBytes=LOG_BYTES, backupCount=1)],
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with file_lock(places.pid, wait=False):
        places.pid.write_text(f"{os.getpid()}\n")
        _serve(places, chosen)
    return 0


def _serve(places: Places, chosen: argparse.Namespace) -> None:
    """Serve; everything acquired here is let go of on the way out."""

    def progress(line: str) -> None:
        log.info(line)
        with places.progress.open("a") as file:
            file.write(f"{line}\n")

    disk = ensure_base_disk(places.cache, progress)
    progress("Starting the API, networks, machines and load balancers")
    connect, failing = prepare(places), Faults()
    app = server.application(server.Calls(), faults=failing)
    world = machineless.running() if chosen.machineless else reality(places)
    with world, server.serving(app, port=_port()) as url:
        populate(places, connect(url), disk=disk, progress=progress)
        failing.decide_by(_decision(chosen))
        log.info("ready at %s", url)
        threading.Event().wait()


def _decision(chosen: argparse.Namespace) -> Decide | None:
    """Return what decides which calls fail."""
    day = BadDay() if chosen.faults else None
    return Throttles(otherwise=day) if chosen.throttle else day


@contextmanager
def reality(places: Places) -> Iterator[None]:
    """Let moto's model be real for as long as the block runs.

    What is entered later stands on what was entered before, and is taken down first:
    groups launch machines, balancers reach into the accounts' networks.
    """
    with ExitStack() as parts:
        networks = {
            account: parts.enter_context(account_network(places, account)) for account in ACCOUNTS
        }
        disks = parts.enter_context(closing(RootDisks(places)))
        parts.enter_context(machines.running(places, disks, networks))
        parts.enter_context(balancers.running(places, networks))
        parts.enter_context(alarms.running())
        parts.enter_context(groups.running())
        yield


def _port() -> int:
    """Return the usual port, or 0 for any when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", server.PORT))
        except OSError:
            return 0
    return server.PORT


def _end(_number: int, _frame: object) -> None:
    """Leave through every ``with``; a second signal must not cut the clean-up short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(0)


def _chosen(argv: Sequence[str]) -> tuple[Places, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="ovenbird.sandbox.process", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    for switch in ("--faults", "--throttle", "--machineless"):
        parser.add_argument(switch, action="store_true")
    chosen = parser.parse_args(argv)
    return Places(home=chosen.home, cache=chosen.cache), chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
