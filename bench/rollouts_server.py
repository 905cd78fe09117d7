"""The sandbox's API with instances without machines, for `bench.rollouts`.

It prints its URL. On SIGUSR1 it begins to throttle as AWS does, with full buckets.

    python -m bench.rollouts_server --home DIR --factor 1
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from ovenbird.sandbox import machineless, server
from ovenbird.sandbox.endpoint import prepare
from ovenbird.sandbox.faults import Faults
from ovenbird.sandbox.places import Places
from ovenbird.sandbox.throttles import Throttles


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--factor", type=float, default=1.0)
    asked = parser.parse_args()
    prepare(Places(home=asked.home, cache=asked.home / "cache"))
    faults = Faults()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGUSR1, lambda *_: faults.decide_by(Throttles(factor=asked.factor)))
    app = server.application(server.Calls(), faults=faults)
    with machineless.running(), server.serving(app) as url:
        print(url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
