"""An app as its manifest describes it, in domain words (``config.manifest`` reads the YAML)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ovenbird.domain.clusters import Capacity
from ovenbird.domain.guards import Guards
from ovenbird.domain.images import ImageSpec
from ovenbird.domain.judging import LoadBalancerSource, Method, MetricSpec
from ovenbird.domain.launching import LaunchSpec
from ovenbird.domain.names import ClusterName, ServerGroupName, alarm_name
from ovenbird.domain.packages import BuildSpec, PackageSpec, VersionSpec
from ovenbird.domain.traffic import MarkedRequests


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the load balancer asks an instance how it is.

    Args:
        healthy_after: Good answers in a row until it counts as healthy.
        unhealthy_after: Bad answers in a row until it counts as unhealthy.
        startup_s: Seconds that all new instances together may take to become healthy.
    """

    path: str = "/healthz"
    healthy_after: int = 2
    unhealthy_after: int = 2
    interval_s: int = 5
    timeout_s: int = 2
    startup_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AllAtOnce:
    """The new server group at full size, then all traffic at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Traffic moves to the new server group step by step, and each step is judged.

    Args:
        steps_percent: Shares of the traffic, rising, each in 1..99.
        observe_s: Seconds that each step is observed; at least three metric periods.
        manual_steps: Those of the steps after which a person must let it go on.
        baseline: Whether the first step is judged beside a fresh group of the old image, of the
            same size and with the same share, and not beside the old group.
        pause_s: Seconds that each step's weights stand before the judge begins to look.
    """

    steps_percent: tuple[int, ...] = (5, 25, 50)
    observe_s: float = 300.0
    manual_steps: tuple[int, ...] = ()
    baseline: bool = False
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """Full size, all traffic at once, then a look before the old server group may rest.

    Args:
        look_s: Seconds of the look; an alarm that fires in it ends the rollout.
        manual: Whether a person must say after it that the old group may rest.
    """

    look_s: float = 300.0
    manual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """The new server group grows in steps while the old one shrinks.

    Args:
        steps_percent: Shares of the full size, rising, each in 1..99.
        observe_s: Seconds after each step; an alarm that fires in them ends the rollout.
    """

    steps_percent: tuple[int, ...] = (25, 50, 75)
    observe_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlander:
    """All traffic at once, then every other server group is destroyed: there is no way back.

    Args:
        confirm: The cluster's name, as a person has to write it.
    """

    confirm: str = ""


Strategy = AllAtOnce | Canary | BlueGreen | Rolling | Highlander


class CapacityFrom(StrEnum):
    """What says how large the new server group gets."""

    MANIFEST = "manifest"
    OLD = "old"
    LARGER = "larger"  # the manifest, unless the old group was grown beyond it since


class OnFailure(StrEnum):
    """What a rollout does that cannot go on."""

    ROLLBACK = "rollback"
    STOP = "stop"  # everything stays as it is, for a person to look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long the server group before stays what it is.

    Args:
        enabled_s: Seconds after the switch in which it may still take the traffic back by itself.
        groups: Server groups that rest at most, 1 or 2.
    """

    enabled_s: float = 0.0
    groups: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePolicy:
    """When a canary is worse than the group it stands beside.

    Args:
        max_error_rate_increase: Canary's share of 5xx answers minus the old group's, 0..1.
        slow_s: A request that takes longer than this is slow.
        max_slow_share_increase: Canary's share of slow requests minus the old group's, 0..1.
        min_requests: Requests that the canary must have answered in a step; fewer are
            not enough data.
        min_periods: Periods (or bursts, see ``burst_s``) that must have been seen; no fewer than
            3 (``sequential``). More of them before a ``pass`` where errors come in rare bursts.
        confidence: Of the interval around a difference, 0.5..1 (``compare``).
        false_alarm_rate: Probability of a ``fail`` of a canary that is no worse than allowed,
            over all metrics and looks (``sequential``), 0..1; also that of a ``pass`` of one
            that is worse.
        burst_s: How long a burst of errors may last and still be one event (``sequential``);
            0: each period of the metrics is one.
        metrics: What is compared; none: errors and slow answers of the load balancer.
        pass_score: Score from which on the verdict is ``pass``, 0..100 (``compare``).
        marginal_score: Score from which on it is ``marginal``; below is ``fail``.
        group_weights: Group of metrics → its percentage of the score (``compare``); groups that
            are not named share the rest.
        guards: What the canary's instances may do.
    """

    max_error_rate_increase: float = 0.01
    slow_s: float = 0.5
    max_slow_share_increase: float = 0.05
    min_requests: int = 30
    min_periods: int = 3
    confidence: float = 0.98
    method: Method = Method.SEQUENTIAL
    false_alarm_rate: float = 0.05
    burst_s: float = 0.0
    metrics: tuple[MetricSpec, ...] = ()
    pass_score: float = 95.0
    marginal_score: float = 75.0
    group_weights: Mapping[str, float] = field(default_factory=dict)
    guards: Guards = field(default_factory=Guards)


def metrics_of(policy: JudgePolicy) -> tuple[MetricSpec, ...]:
    """Return what is compared under *policy*: its metrics, or the two built-in ones."""
    if policy.metrics:
        return policy.metrics
    errors = MetricSpec(
        name="errors",
        source=LoadBalancerSource(what="errors"),
        is_share=True,
        tolerance=policy.max_error_rate_increase,
    )
    slow = MetricSpec(
        name="slow",
        source=LoadBalancerSource(what="slow"),
        is_share=True,
        tolerance=policy.max_slow_share_increase,
    )
    return (errors, slow)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSpec:
    """A CloudWatch alarm that is made with a server group and removed with it.

    Args:
        name: Short word, appended to the server group's name.
        metric: ``error_rate_percent`` (5xx of requests), a target group's metric as
            ``HTTPCode_Target_5XX_Count``, or a metric of *namespace*.
        statistic: CloudWatch statistic, as ``Sum`` or ``p99``; ignored for error rates.
        threshold: The alarm fires above it, or as *comparison* says.
        periods: Metric periods in a row.
        namespace: As ``AWS/EC2``; empty for the load balancer's.
        dimensions: Of the metric, with placeholders as ``{server_group}``; empty for those of
            the target group, or of the group for namespaces that know groups.
        comparison: ``>``, ``>=``, ``<`` or ``<=``.
        of_periods: Among so many periods; None for as many as *periods*.
        period_s: Seconds; None for the period of the load balancer's metrics.
        missing: What missing data are: ``good``, ``bad``, ``ignore`` or ``missing``.
        guard: Whether it stops the rollout of its group.
        notify: ARNs of topics; None for those of the settings.
    """

    name: str
    metric: str
    threshold: float
    statistic: str = "Sum"
    periods: int = 2
    namespace: str = ""
    dimensions: Mapping[str, str] = field(default_factory=dict)
    comparison: str = ">"
    of_periods: int | None = None
    period_s: int | None = None
    missing: str = "good"
    guard: bool = True
    notify: tuple[str, ...] | None = None


DEFAULT_ALARM = AlarmSpec(name="5xx", metric="error_rate_percent", threshold=50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """How the app is deployed in one environment.

    Args:
        alarms: Made with each server group; those that are guards stop its rollout.
        guards: Names of alarms that others made, which stop a rollout too.
        environment: Written to ``/etc/ovenbird/environment`` by user data.
        rollback_window_s: How long the previous group is kept for a rollback.
    """

    name: str
    capacity: Capacity
    strategy: Strategy
    judge: JudgePolicy = field(default_factory=JudgePolicy)
    alarms: tuple[AlarmSpec, ...] = (DEFAULT_ALARM,)
    approval: bool = False
    instance_type: str = "t3.micro"
    environment: Mapping[str, str] = field(default_factory=dict)
    rollback_window_s: float = 3600.0
    guards: tuple[str, ...] = ()
    launch: LaunchSpec = field(default_factory=LaunchSpec)
    keep: Keep = field(default_factory=Keep)
    capacity_from: CapacityFrom = CapacityFrom.LARGER
    min_healthy_percent: int = 100  # of the wanted instances, before traffic comes; 1..100
    on_failure: OnFailure = OnFailure.ROLLBACK


def guards_of(name: ServerGroupName, environment: EnvironmentSpec) -> tuple[str, ...]:
    """Return the full names of the alarms that stop the rollout of a server group.

    Args:
        name: The new server group.
        environment: The part of the manifest for it.
    """
    own = (alarm_name(name, alarm.name) for alarm in environment.alarms if alarm.guard)
    return (*own, *environment.guards)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """A whole manifest.

    Args:
        packages: All from one build, at one version; the first is the app's own.
        port: The port on which instances take the load balancer's requests.
        environments: In the order in which a release goes through them.
        path_patterns: Conditions of the cluster's listener rule.
        testers: Requests that reach the new server group of a rollout at any weight.
        stickiness_s: Seconds for which a client stays with its server group while the traffic
            is divided; 0 for not at all.
    """

    app: str
    packages: tuple[PackageSpec, ...]
    image: ImageSpec
    port: int
    health: Health
    environments: tuple[EnvironmentSpec, ...]
    path_patterns: tuple[str, ...] = ("/*",)
    host_names: tuple[str, ...] = ()
    rule_priority: int | None = None
    draining_s: int = 30
    testers: MarkedRequests | None = None
    stickiness_s: int = 0
    build: BuildSpec = field(default_factory=BuildSpec)
    version: VersionSpec = field(default_factory=VersionSpec)

    @property
    def package(self) -> PackageSpec:
        """The app's own package."""
        return self.packages[0]

    def package_of(self, name: str, architecture: str) -> PackageSpec:
        """Return one of the app's packages."""
        wanted = (name, architecture)
        return next(p for p in self.packages if (p.name, p.architecture) == wanted)

    def confirmed(self, clusters: Collection[str]) -> AppSpec:
        """Return it with these clusters' highlanders confirmed."""
        return replace(
            self, environments=tuple(_confirmed(e, self.app, clusters) for e in self.environments)
        )


def _confirmed(spec: EnvironmentSpec, app: str, clusters: Collection[str]) -> EnvironmentSpec:
    cluster = str(ClusterName(app=app, stack=spec.name))
    if not isinstance(spec.strategy, Highlander) or cluster not in clusters:
        return spec
    return replace(spec, strategy=Highlander(confirm=cluster))
