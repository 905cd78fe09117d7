"""Plans: what is to be done to a cluster, decided before anything is done.

A plan is a tuple of frozen actions. It is printed by ``--dry-run``, stored with the
rollout, and carried out action by action by ``stages.deploy`` (``Judge`` by
``stages.judge``). Each action can be carried out twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ovenbird.domain.apps import AlarmSpec, Health, JudgePolicy
from ovenbird.domain.clusters import Capacity
from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ServerGroupName


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A server group's share in the cluster's listener rule, 0..100."""

    name: ServerGroupName
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateServerGroup:
    """Make target group (in the rule at weight 0), launch template, Auto Scaling group, alarms.

    Args:
        capacity: The size to begin with.
        environment: Values that user data writes to the machine.
        tags: Go on everything, in the creating call.
    """

    name: ServerGroupName
    image_id: ImageId
    version: str
    release_id: str
    capacity: Capacity
    port: int
    health: Health
    instance_type: str
    draining_s: int
    path_patterns: tuple[str, ...]
    host_names: tuple[str, ...] = ()
    rule_priority: int | None = None
    alarms: tuple[AlarmSpec, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Raise the group's minimum to its desired size, remembering the old minimum in a tag."""

    name: ServerGroupName


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin:
    """Return the group's minimum to what it was before ``Pin``."""

    name: ServerGroupName


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Set the group's capacity."""

    name: ServerGroupName
    capacity: Capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitHealthy:
    """Wait until at least *instances* of the group pass their health checks."""

    name: ServerGroupName
    instances: int
    within: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeights:
    """Divide the traffic. Groups that are not named keep weight 0; the sum is 100."""

    weights: tuple[Weight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Observe the canary beside the other group, and go on only if it is not worse.

    Args:
        observe_s: Seconds to observe, from the first look to the last.
        step_percent: The canary's share of the traffic while it is observed.
    """

    canary: ServerGroupName
    baseline: ServerGroupName
    step_percent: int
    observe_s: float
    policy: JudgePolicy
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disable:
    """Tag the group as out of traffic since now (its weight is 0 already); its instances stay."""

    name: ServerGroupName


@dataclass(frozen=True, slots=True, kw_only=True)
class Enable:
    """Take the tag away that ``Disable`` set."""

    name: ServerGroupName


@dataclass(frozen=True, slots=True, kw_only=True)
class Decommission:
    """Destroy the group: out of the rule, drained, instances, templates, target group, alarms."""

    name: ServerGroupName


Action = (
    CreateServerGroup
    | Pin
    | Unpin
    | Resize
    | AwaitHealthy
    | SetWeights
    | Judge
    | Disable
    | Enable
    | Decommission
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done, in order. An empty plan has a reason.

    Args:
        reason: Why there is nothing to do; empty when there is something.
    """

    actions: tuple[Action, ...]
    reason: str = ""
