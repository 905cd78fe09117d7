"""Metrics of a Prometheus, by range queries over HTTP: all that is wanted in one request.

    label_replace((QUERY), "ovenbird", "0", "", "") or label_replace((QUERY), "ovenbird", "1", …)

Each query's series carry its number, so that one answer has them all. What Prometheus says
of a time belongs to the period that ends there: ``increase(x[{{period}}])`` at 12:01:00
counts from 12:00:00 on.

Source: Prometheus, "HTTP API" (range queries, format of errors) and "Query functions",
``label_replace``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import urllib3

from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound, OvenbirdError, Throttled
from ovenbird.domain.judging import MetricSpec, Pair, PrometheusSource
from ovenbird.domain.measuring import Measured, Series, Sides, pair
from ovenbird.domain.names import ServerGroupName

NUMBER = "ovenbird"  # the label with a query's number
CONNECT_S, READ_S = 3.0, 15.0
BYTES = 32 << 20  # of an answer
LOOKED_BACK_S = 3600  # for whether a metric exists
_LATER = {408, 429, 502, 503, 504}


class Prometheus:
    """One Prometheus, or what answers as one does (Thanos, Mimir, VictoriaMetrics).

    Args:
        url: Its address; paths of the API follow it.
        period_s: Seconds between two numbers of a series.
        token: Returns the bearer token; None where there is none.
    """

    def __init__(
        self, url: str, *, period_s: float, token: Callable[[], str] | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._period = max(1, round(period_s))
        self._token = token
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=urllib3.Retry(total=1, redirect=0, backoff_factor=0.2, allowed_methods=None),
        )

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]:
        """Return what both sides did, by whole periods, for each metric in their order.

        Raises:
            InvalidRequest: Prometheus does not understand a query, or it has many series.
            CloudError: Prometheus does not answer, or refuses.
        """
        periods = sides.periods(self._period)
        names = (sides.canary, sides.baseline)
        queries = {
            (spec.name, name, part): query
            for spec in specs
            for name in names
            for part, query in self._queries(spec, name).items()
        }
        found = dict(zip(queries, self._read(list(queries.values()), periods), strict=True))
        both = {
            (spec.name, name): Measured(
                found=found[spec.name, name, "found"],
                total=found.get((spec.name, name, "total"), {}),
            )
            for spec in specs
            for name in names
        }
        return tuple(
            pair(spec, (both[spec.name, sides.canary], both[spec.name, sides.baseline]), periods)
            for spec in specs
        )

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None, *, now_s: float
    ) -> tuple[str, ...]:
        """Return a sentence for each metric of which Prometheus knows nothing.

        Args:
            specs: Which metrics.
            group: A server group that serves; without one only what names none is looked at.
            now_s: Unix seconds.

        Raises:
            InvalidRequest: Prometheus does not understand a query, or it has many series.
            CloudError: Prometheus does not answer, or refuses.
        """
        step = max(self._period, LOOKED_BACK_S // 60)
        end = math.floor(now_s / step) * step
        parts = [
            (spec.name, part, query)
            for spec in specs
            for part, query in self._queries(spec, group).items()
            # No errors are no series, so that only the total must be there.
            if (part == "total" or not spec.is_share) and (group or _is_for_all(spec))
        ]
        series = self._read([query for *_, query in parts], range(end - LOOKED_BACK_S, end, step))
        return tuple(
            f"Metric `{name}`: Prometheus has had nothing for an hour for `{query}`"
            for (name, _, query), found in zip(parts, series, strict=True)
            if not found
        )

    def _queries(self, spec: MetricSpec, group: ServerGroupName | None) -> dict[str, str]:
        source = spec.source
        if not isinstance(source, PrometheusSource):
            raise TypeError(f"`{spec.name}` is not in Prometheus")
        parts = {"found": source.query, "total": source.total if spec.is_share else ""}
        names = {"{{server_group}}": str(group or ""), "{{period}}": f"{self._period}s"}
        return {part: _filled(query, names) for part, query in parts.items() if query}

    def _read(self, queries: Sequence[str], periods: range) -> list[Series]:
        """Return the series of each query, in their order; empty where there is none."""
        if not queries or not periods:
            return [{} for _ in queries]
        numbered = [f'label_replace((\n{q}\n), "{NUMBER}", "{n}", "", "")'
                    for n, q in enumerate(queries)]  # fmt: skip
        try:
            results = self._ask(" or ".join(numbered), periods)
        except InvalidRequest:
            self._blame(queries, periods)
            raise
        found: list[Series] = [{} for _ in queries]
        for one in results:
            place = int(one["metric"][NUMBER])
            if found[place]:
                raise InvalidRequest(
                    f"Prometheus has several series for `{queries[place]}`",
                    hint="A metric is one number at a time: `sum(...)` or `avg(...)` them",
                )
            found[place] = {int(float(at)) - periods.step: float(v) for at, v in one["values"]}
        return found

    def _blame(self, queries: Sequence[str], periods: range) -> None:
        """Raise the error of the query that is wrong by itself, if one is."""
        for query in dict.fromkeys(queries):
            self._ask(f'label_replace((\n{query}\n), "{NUMBER}", "0", "", "")', periods, of=query)

    def _ask(self, query: str, periods: range, *, of: str = "") -> list[Mapping[str, Any]]:
        """Return the result of a range query.

        Args:
            query: In PromQL.
            periods: Begins of periods, each asked for at its end.
            of: What errors call the query.
        """
        fields = {
            "query": query,
            "start": str(periods.start + periods.step),
            "end": str(periods[-1] + periods.step),
            "step": str(periods.step),
            "timeout": f"{READ_S:g}s",
        }
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token else {}
        url = f"{self._url}/api/v1/query_range"
        try:
            answer = self._http.request(
                "POST",
                url,
                fields=fields,
                headers=headers,
                encode_multipart=False,
                preload_content=False,
            )
            try:
                body = answer.read(BYTES + 1)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise CloudError(
                f"Prometheus at `{self._url}` does not answer: {_reason(error)}",
                hint="Look at `prometheus_url` in the settings",
            ) from error
        return _result(answer.status, body, self._url, of)


def _result(status: int, body: bytes, url: str, query: str) -> list[Mapping[str, Any]]:
    """Return what a range query found.

    Raises:
        OvenbirdError: Prometheus refused it, or something else answers there.
    """
    try:
        said = json.loads(body) if len(body) <= BYTES else None
    except ValueError:
        said = None
    if not isinstance(said, dict) or "status" not in said:
        raise _foreign(status, url)
    if said["status"] != "success":
        raise _refusal(status, said, query)
    found: list[Mapping[str, Any]] = said["data"]["result"]
    return found


def _foreign(status: int, url: str) -> OvenbirdError:
    if status in {401, 403}:
        return CloudError(
            f"Prometheus at `{url}` refuses us: HTTP {status}",
            hint="Look at `prometheus_token` in the settings",
        )
    if status == 404:
        return NotFound(
            f"There is no Prometheus at `{url}`: HTTP 404",
            hint="Look at `prometheus_url` in the settings: `/api/v1/query_range` follows it",
        )
    if status in _LATER:
        return Throttled(f"Prometheus at `{url}` is busy: HTTP {status}")
    return CloudError(
        f"What answers at `{url}` is no Prometheus: HTTP {status}",
        hint="Look at `prometheus_url` in the settings",
    )


def _refusal(status: int, said: Mapping[str, Any], query: str) -> OvenbirdError:
    text = str(said.get("error", "no reason given"))
    named = f" `{query}`" if query else " the queries"
    if status in _LATER:
        return Throttled(f"Prometheus could not answer{named} in time: {text}")
    return InvalidRequest(
        f"Prometheus does not understand{named}: {text}",
        hint="Look at `judge.metrics` in the manifest",
    )


def _reason(error: Exception) -> str:
    """Return the last cause of an error in words, without the addresses of objects."""
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2] or type(reason).__name__


def _filled(query: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        query = query.replace(name, value)
    return query.strip()


def _is_for_all(spec: MetricSpec) -> bool:
    source = spec.source
    return isinstance(source, PrometheusSource) and "{{server_group}}" not in (
        source.query + source.total
    )
