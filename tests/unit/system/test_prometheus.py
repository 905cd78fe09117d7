"""A Prometheus over HTTP: a small server that answers as one does, and what may go wrong."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import pytest

from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound, OvenbirdError, Throttled
from ovenbird.domain.judging import Counts, MetricSpec, Pair, PrometheusSource, Value
from ovenbird.domain.measuring import Sides
from ovenbird.domain.names import ServerGroupName
from ovenbird.system.prometheus import NUMBER, Prometheus
from ovenbird.system.secret_references import read_secret

CANARY, BASELINE = (ServerGroupName.parse(f"hello-prod-v00{n}") for n in (2, 1))
BEGIN = 1_764_000_000  # a whole minute
PART = re.compile(rf'label_replace\(\(\n(.*?)\n\), "{NUMBER}", "(\d+)", "", ""\)', re.DOTALL)
Answer = tuple[int, Any]
Series = Mapping[str, Callable[[int], str | None]]


class Server:
    """Evaluates the union of numbered queries as Prometheus would; knows queries by their text.

    Source: Prometheus, "HTTP API", "Range queries"; the answers are those of 2.42.
    """

    def __init__(self, series: Series) -> None:
        self.series = series
        self.asked: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.answers: list[Answer] = []  # given first, in their order
        self.url = ""

    def answer(self, fields: dict[str, str]) -> Answer:
        self.asked.append(fields)
        if self.answers:
            return self.answers.pop(0)
        parts = PART.findall(fields["query"])
        whole = " or ".join(found[0] for found in PART.finditer(fields["query"]))
        assert whole == fields["query"]
        if bad := next((query for query, _ in parts if "((" in query), ""):
            error = f"1:{len(bad)}: parse error: unclosed left parenthesis"
            return 400, {"status": "error", "errorType": "bad_data", "error": error}
        start, end, step = (int(fields[name]) for name in ("start", "end", "step"))
        times = range(start, end + 1, step)
        found = [one for query, number in parts for one in self._of(query, number, times)]
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": found}}

    def _of(self, query: str, number: str, times: range) -> Iterator[dict[str, Any]]:
        for name, value in self.series.items():
            if name.split("#")[0] != query:
                continue
            values = [[at, number_] for at in times if (number_ := value(at)) is not None]
            if values:
                yield {"metric": {"instance": name, NUMBER: number}, "values": values}

    @contextmanager
    def running(self) -> Iterator[Self]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                fields = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
                server.tokens.append(self.headers.get("Authorization", ""))
                status, body = (
                    server.answer(fields) if self.path == "/api/v1/query_range" else (404, "no")
                )
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        self.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield self
        finally:
            http.shutdown()
            thread.join()
            http.server_close()


def of(what: str, name: ServerGroupName) -> str:
    return f'sum({what}{{group="{name}"}}[60s])'


def spec(name: str, what: str, total: str = "") -> MetricSpec:
    written = 'sum({}{{group="{{{{server_group}}}}"}}[{{{{period}}}}])'
    source = PrometheusSource(
        query=written.format(what), total=written.format(total) if total else ""
    )
    return MetricSpec(name=name, source=source, is_share=bool(total))


def sides(begin: float = BEGIN, end: float = BEGIN + 190) -> Sides:
    return Sides(
        canary=CANARY, baseline=BASELINE, slow_s=1.0,
        since=datetime.fromtimestamp(begin, UTC), until=datetime.fromtimestamp(end, UTC),
    )  # fmt: skip


FULL: Series = {
    of("load", CANARY): lambda at: str((at - BEGIN) / 60),
    of("load", BASELINE): lambda at: "NaN" if at == BEGIN + 120 else "1",
    of("failed", CANARY): lambda _: "3",
    of("calls", CANARY): lambda _: "30",
    of("calls", BASELINE): lambda _: "60",
}
SPECS = (spec("load", "load"), spec("failed", "failed", total="calls"))


def test_all_metrics_of_both_sides_come_in_one_request() -> None:
    with Server(FULL).running() as server:
        load, failed = Prometheus(server.url, period_s=60).pairs(SPECS, sides())

    (asked,) = server.asked
    assert (asked["start"], asked["end"], asked["step"]) == (
        str(BEGIN + 60), str(BEGIN + 180), "60",
    )  # fmt: skip
    assert numbers(load, "canary") == [1, 2, 3]
    one, missing, three = numbers(load, "baseline")
    assert (one, math.isnan(missing), three) == (1, True, 1)
    assert [item.at.timestamp() for item in load.canary] == [BEGIN, BEGIN + 60, BEGIN + 120]
    assert shares(failed, "canary") == [(30, 3)] * 3
    assert shares(failed, "baseline") == [(60, 0)] * 3  # no errors are no series


def numbers(pair: Pair, side: str) -> list[float]:
    return [item.value for item in getattr(pair, side) if isinstance(item, Value)]


def shares(pair: Pair, side: str) -> list[tuple[float, float]]:
    return [(item.total, item.bad) for item in getattr(pair, side) if isinstance(item, Counts)]


def test_the_period_in_which_the_weights_changed_is_left_out() -> None:
    with Server(FULL).running() as server:
        load, _ = Prometheus(server.url, period_s=60).pairs(SPECS, sides(BEGIN + 1))

    assert [item.at.timestamp() for item in load.canary] == [BEGIN + 60, BEGIN + 120]


def test_before_the_first_period_is_over_nothing_is_asked() -> None:
    with Server(FULL).running() as server:
        load, _ = Prometheus(server.url, period_s=60).pairs(SPECS, sides(end=BEGIN + 59))

    assert (load.canary, server.asked) == ((), [])


def test_the_query_that_is_wrong_is_named() -> None:
    wrong = MetricSpec(name="x", source=PrometheusSource(query="sum((up{{server_group}}"))
    with Server(FULL).running() as server:
        prometheus = Prometheus(server.url, period_s=60)
        with pytest.raises(InvalidRequest, match="unclosed left parenthesis") as caught:
            prometheus.pairs((*SPECS, wrong), sides())

    assert "`sum((uphello-prod-v002`" in str(caught.value)
    assert "judge.metrics" in caught.value.hint


def test_a_query_with_several_series_is_refused() -> None:
    several = {**FULL, of("load", CANARY) + "#2": lambda _: "9"}
    with Server(several).running() as server, pytest.raises(InvalidRequest, match="several series"):
        Prometheus(server.url, period_s=60).pairs(SPECS, sides())


def test_a_metric_that_prometheus_does_not_have_is_told() -> None:
    gone = spec("gone", "gone")
    everywhere = MetricSpec(name="up", source=PrometheusSource(query="sum(up)"))
    with Server(FULL).running() as server:
        prometheus = Prometheus(server.url, period_s=60)
        of_group = prometheus.missing((*SPECS, gone), CANARY, now_s=BEGIN)
        of_none = prometheus.missing((*SPECS, gone, everywhere), None, now_s=BEGIN)

    query = of("gone", CANARY)
    assert of_group == (f"Metric `gone`: Prometheus has had nothing for an hour for `{query}`",)
    assert [sentence.split(":")[0] for sentence in of_none] == ["Metric `up`"]


def test_the_token_is_read_for_each_request_and_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    with Server(FULL).running() as server:
        prometheus = Prometheus(server.url, period_s=60, token=lambda: read_secret(f"file:{file}"))
        prometheus.pairs(SPECS, sides())
        file.write_text("two\n")
        prometheus.pairs(SPECS, sides())

    assert server.tokens == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((401, "who are you?"), CloudError, "refuses us: HTTP 401"),
        ((404, "nothing here"), NotFound, "no Prometheus at"),
        ((200, "<html>"), CloudError, "is no Prometheus"),
        ((503, {"status": "error", "errorType": "timeout", "error": "timed out"}), Throttled,
         "in time: timed out"),
        ((503, "starting"), Throttled, "is busy"),
    ],
)  # fmt: skip
def test_what_prometheus_refuses_is_said_in_words(
    answer: Answer, kind: type[OvenbirdError], words: str
) -> None:
    with Server(FULL).running() as server:
        server.answers = [answer]
        with pytest.raises(kind, match=words):
            Prometheus(server.url, period_s=60).pairs(SPECS, sides())


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(CloudError, match="does not answer") as caught:
        Prometheus(f"http://127.0.0.1:{port}", period_s=60).pairs(SPECS, sides())

    assert "0x" not in str(caught.value)
    assert "prometheus_url" in caught.value.hint


@pytest.mark.parametrize("reference", ["env:OVENBIRD_NO_SUCH_TOKEN", "file:/no/such/file"])
def test_a_secret_that_is_not_there_is_told_by_its_reference(reference: str) -> None:
    with pytest.raises(NotFound, match=reference):
        read_secret(reference)


def test_what_is_no_reference_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no kind of secret"):
        read_secret("hunter2")
