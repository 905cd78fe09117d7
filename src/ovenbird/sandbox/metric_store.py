"""Where metrics are kept: each value with its count, second by second, for three hours.

Nothing is averaged before it is asked for, so that percentiles of whatever period are
exact.

Source: CloudWatch user guide, "Metrics retention": data points of less than a minute
are kept for three hours.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ovenbird.sandbox.metric_statistics import Statistic

KEPT_S = 3 * 3600
_PRUNE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; another set of dimensions is another metric.

    Args:
        dimensions: ``(name, value)`` pairs, sorted.
    """

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Iterable[Mapping[str, Any]]) -> Self:
        """Return the metric that AWS calls by these parameters."""
        pairs = sorted((one["Name"], one.get("Value") or "") for one in dimensions)
        return cls(namespace=namespace, name=name, dimensions=tuple(pairs))


class MetricStore:
    """The metrics of one account; safe between threads.

    Args:
        now: Returns Unix seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._seconds: dict[Metric, dict[int, defaultdict[float, float]]] = {}
        self._units: dict[Metric, str] = {}
        self._pruned_at = now()

    def put(
        self, metric: Metric, at: float, values: Mapping[float, float], *, unit: str = ""
    ) -> None:
        """Add values.

        Args:
            metric: Whose.
            at: Unix seconds.
            values: Value → how often it was observed; never is not at all.
            unit: In CloudWatch's words.
        """
        with self._lock:
            self._prune()
            values = {value: times for value, times in values.items() if times > 0}
            if at < self._now() - KEPT_S or not values:
                return
            second = self._seconds.setdefault(metric, {}).setdefault(
                int(at // 1), defaultdict(float)
            )
            for value, times in values.items():
                second[value] += times
            if unit:
                self._units[metric] = unit

    def series(
        self, metric: Metric, stat: Statistic, *, times: range, end: float
    ) -> dict[int, float]:
        """Return a statistic for each period in which there are values.

        Args:
            metric: Whose.
            stat: Which.
            times: Begins of the periods, Unix seconds; its step is the period.
            end: Unix seconds from which on nothing is looked at.
        """
        with self._lock:
            periods = self._periods(metric, times, end)
        return {begin: stat(values) for begin, values in sorted(periods.items())}

    def unit(self, metric: Metric) -> str:
        """Return the unit in which a metric was last put, ``None`` (a word) without one."""
        with self._lock:
            return self._units.get(metric, "None")

    def list_metrics(self) -> tuple[Metric, ...]:
        """Return all metrics that have values, in the order of their first."""
        with self._lock:
            return tuple(self._seconds)

    def _periods(self, metric: Metric, times: range, end: float) -> dict[int, dict[float, float]]:
        seconds = self._seconds.get(metric, {})
        wanted: Iterable[int] = range(times.start, int(-(-end // 1)))
        if len(seconds) < len(range(times.start, int(end))):
            wanted = (second for second in seconds if times.start <= second < end)
        periods: dict[int, dict[float, float]] = {}
        for second in wanted:
            if second in seconds:
                begin = second - (second - times.start) % times.step
                period = periods.setdefault(begin, {})
                for value, number in seconds[second].items():
                    period[value] = period.get(value, 0.0) + number
        return periods

    def _prune(self) -> None:
        """Forget what is too old, once a minute."""
        if self._now() < self._pruned_at + _PRUNE_EVERY_S:
            return
        self._pruned_at = self._now()
        oldest = self._now() - KEPT_S
        for metric, seconds in list(self._seconds.items()):
            for second in [second for second in seconds if second < oldest]:
                del seconds[second]
            if not seconds:
                del self._seconds[metric]
                self._units.pop(metric, None)
