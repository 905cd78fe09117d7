"""What HAProxy says of each request, as the metrics that an Application Load Balancer has.

    HAProxy ──line──▶ Tally: how many of which kind, by second ──▶ MetricData

A series without a value in a second has no datapoint, as on AWS: no errors, no 5XX.

Source: Elastic Load Balancing, "CloudWatch metrics for your Application Load Balancer";
HAProxy 2.6 configuration manual, "Custom log format" and "Session state at disconnection".
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FORMAT = "R %f %b %s %ST %ts %Tr"
_LINE = re.compile(r"R (\S+) (\S+) (\S+) (-?\d+) (\S\S) (-?\d+)$")
_CLIENT_GONE = 460  # Source: ALB user guide, "HTTP 460": the client closed the connection first
_TELLING = {500, 502, 503, 504}  # have a metric of their own

Dimensions = tuple[tuple[str, str], ...]
Point = tuple[str, Dimensions]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the log says of one request; equal ones are counted together.

    Args:
        balancer: ``app/NAME/ID``.
        group: ``targetgroup/NAME/ID``; empty when a rule answered or no group was chosen.
        chosen: Whether a target was found for it.
        status: What the client got.
        response_ms: Until the target's answer began; -1 when the load balancer answered.
        intercepted: Whether a rule answered: fixed response or redirect.
    """

    balancer: str
    group: str
    chosen: bool
    status: int
    response_ms: int
    intercepted: bool = False


def parse(line: str) -> Entry | None:
    """Read one line of HAProxy's output; None when it does not tell of a request."""
    match = _LINE.match(line)
    if match is None:
        return None
    frontend, backend, server, status, ending, response_ms = match.groups()
    here = backend == frontend
    return Entry(
        balancer="/".join(frontend.split(":")[:3]),
        group="" if here else "targetgroup/" + backend.replace(":", "/"),
        chosen=server != "<NOSRV>",
        status=_CLIENT_GONE if ending[0] == "C" and int(response_ms) < 0 else int(status),
        response_ms=int(response_ms),
        intercepted=here and ending == "LR",
    )


class Tally:
    """Counts requests by the second in which their line came; safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: dict[int, Counter[Entry]] = {}

    def count(self, entry: Entry) -> None:
        """Count one more request."""
        with self._lock:
            self._seconds.setdefault(int(self._clock()), Counter())[entry] += 1

    def take(self, *, unfinished: bool = False) -> dict[int, Counter[Entry]]:
        """Return what was counted in the seconds that are over, and forget it.

        Args:
            unfinished: Take the present second too.
        """
        with self._lock:
            now = int(self._clock())
            over = [second for second in self._seconds if unfinished or second < now]
            return {second: self._seconds.pop(second) for second in sorted(over)}


def metric_data(second: int, counted: Mapping[Entry, int]) -> list[dict[str, Any]]:
    """Return PutMetricData's list for one second."""
    sums: Counter[Point] = Counter()
    times: dict[Point, Counter[float]] = {}
    for entry, count in counted.items():
        for where in _dimensions(entry):
            for name in _names(entry, group=len(where) > 1):
                sums[name, where] += count
            if entry.response_ms >= 0:
                seconds = times.setdefault(("TargetResponseTime", where), Counter())
                seconds[entry.response_ms / 1000] += count
    return [
        *(_datum(point, second, Value=float(value), Unit="Count") for point, value in sums.items()),
        *(
            _datum(point, second, Values=list(one), Counts=list(one.values()), Unit="Seconds")
            for point, one in times.items()
        ),
    ]


def host_counts(
    second: int, hosts: Mapping[tuple[str, str], tuple[int, int]]
) -> list[dict[str, Any]]:
    """Return PutMetricData's list for the numbers of healthy and unhealthy targets.

    Args:
        second: When it was so.
        hosts: Balancer and group, as in :class:`Entry` → healthy, unhealthy.
    """
    data = []
    for (balancer, group), (healthy, unhealthy) in hosts.items():
        where = (("TargetGroup", group), ("LoadBalancer", balancer))
        for name, value in (("HealthyHostCount", healthy), ("UnHealthyHostCount", unhealthy)):
            data.append(_datum((name, where), second, Value=float(value), Unit="Count"))
    return data


def _dimensions(entry: Entry) -> Iterator[Dimensions]:
    balancer = ("LoadBalancer", entry.balancer)
    if entry.group:
        yield (("TargetGroup", entry.group), balancer)
    yield (balancer,)


def _names(entry: Entry, *, group: bool) -> Iterator[str]:
    """Yield the metrics that one request counts for."""
    kind = f"{entry.status // 100}XX"
    if entry.chosen:
        yield "RequestCount"
    if entry.response_ms >= 0:
        yield f"HTTPCode_Target_{kind}_Count"
    elif not group:
        if entry.intercepted:
            redirect = kind == "3XX"
            yield "HTTP_Redirect_Count" if redirect else "HTTP_Fixed_Response_Count"
        if kind in {"3XX", "4XX", "5XX"}:
            yield f"HTTPCode_ELB_{kind}_Count"
        if entry.status in _TELLING:
            yield f"HTTPCode_ELB_{entry.status}_Count"


def _datum(point: Point, second: int, **values: Any) -> dict[str, Any]:
    name, where = point
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in where],
        "Timestamp": datetime.fromtimestamp(second, tz=UTC),
        **values,
    }
