"""Ports of metrics: where a judge's numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ovenbird.domain.judging import MetricSpec, Pair
from ovenbird.domain.measuring import Sides
from ovenbird.domain.names import ServerGroupName


class Metrics(Protocol):
    """What was measured of server groups, and which alarms fire."""

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]: ...

    def missing(  # a sentence for each that does not exist; None: for any server group
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None
    ) -> tuple[str, ...]: ...

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]: ...


class Queries(Protocol):
    """A source that is asked by queries, as Prometheus; it knows of no alarms."""

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]: ...

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None, *, now_s: float
    ) -> tuple[str, ...]: ...
