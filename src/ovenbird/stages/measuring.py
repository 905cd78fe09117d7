"""Where a judge's metrics come from: each is read at its source, all of a source together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.judging import MetricSpec, Pair, PrometheusSource
from ovenbird.domain.measuring import Sides
from ovenbird.domain.metric_ports import Metrics, Queries
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """The :class:`ovenbird.domain.metric_ports.Metrics` of an environment, put together.

    Args:
        cloud: The account's CloudWatch.
        queries: The environment's Prometheus, if it has one.
        environment: Its name, for errors.
        clock: Knows the time.
    """

    cloud: Metrics
    queries: Queries | None
    environment: str
    clock: Clock

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]:
        """Return what both sides did, for each metric in their order.

        Raises:
            InvalidRequest: A metric is of Prometheus, and there is none.
            CloudError: A source does not answer, or refuses.
        """
        cloud, queried = _parted(specs)
        found = [*(self.cloud.pairs(cloud, sides) if cloud else ())]
        found += self._queries(queried[0]).pairs(queried, sides) if queried else ()
        by_name = {one.spec.name: one for one in found}
        return tuple(by_name[spec.name] for spec in specs)

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None
    ) -> tuple[str, ...]:
        """Return a sentence for each metric that its source does not have.

        Raises:
            InvalidRequest: A metric is of Prometheus, and there is none.
            CloudError: A source does not answer, or refuses.
        """
        cloud, queried = _parted(specs)
        found = self.cloud.missing(cloud, group) if cloud else ()
        if not queried:
            return found
        now_s = self.clock.now().timestamp()
        return (*found, *self._queries(queried[0]).missing(queried, group, now_s=now_s))

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]:
        """Return which of these alarms fire, and why."""
        return self.cloud.firing(alarms)

    def _queries(self, spec: MetricSpec) -> Queries:
        if self.queries is None:
            raise InvalidRequest(
                f"Metric `{spec.name}` is of Prometheus, and `{self.environment}` has none",
                hint=f"Set `environments.{self.environment}.prometheus_url` in the settings",
            )
        return self.queries


def _parted(specs: Sequence[MetricSpec]) -> tuple[list[MetricSpec], list[MetricSpec]]:
    cloud = [spec for spec in specs if not isinstance(spec.source, PrometheusSource)]
    queried = [spec for spec in specs if isinstance(spec.source, PrometheusSource)]
    return cloud, queried
