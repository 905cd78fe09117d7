"""What the demo's load counts, and as what."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.load import Client, Tally, outcome_of


@pytest.mark.parametrize(
    ("status", "version", "served", "outcome"),
    [
        (200, "1.0.0", True, "ok"),
        (500, "1.2.0", True, "failed"),  # the app's own
        (404, "-", False, "none"),  # nothing is deployed yet
        (503, "-", False, "none"),
        (503, "-", True, "lost"),
        (404, "-", True, "failed"),
    ],
)
def test_an_answer_is_what_it_is(status: int, version: str, *, served: bool, outcome: str) -> None:
    assert outcome_of(status, version=version, served=served) == outcome


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    said = iter(
        [
            (200, {"X-Version": "1.0.0"}),
            (503, {"Server": "awselb/2.0"}),
            (500, {"X-Version": "1.0.0"}),
            (200, {}),
        ]
    )

    def version_string(self) -> str:
        return "nginx"

    def do_GET(self) -> None:
        status, headers = next(Answers.said)
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_each_answer_is_counted_by_version_and_a_silent_server_is_a_loss(
    address: str, tmp_path: Path
) -> None:
    tally = Tally()
    options = SimpleNamespace(url=address, rate=100, seconds=5, header="X-Version", start=0.0)
    client = Client(options, 0, tally)  # type: ignore[arg-type]
    for _ in range(4):
        client.ask()
    client.connection.close()  # type: ignore[union-attr]
    options.url = "http://127.0.0.1:9/"
    stranger = Client(options, 0, tally)  # type: ignore[arg-type]
    stranger.ask()
    tally.write(tmp_path / "tally.json")

    written = json.loads((tmp_path / "tally.json").read_text())
    assert sorted((version, outcome, n) for _, version, outcome, n in written["answers"]) == [
        ("-", "lost", 2), ("1.0.0", "failed", 1), ("1.0.0", "ok", 1), ("app", "ok", 1),
    ]  # fmt: skip
    assert len(written["losses"]) == 2
