"""Plans: what is to be done to a cluster, decided before anything is done.

A plan is a tuple of frozen actions. It is printed by ``--dry-run``, stored with the
rollout, and carried out action by action by ``stages.deploy`` (``Judge`` by
``stages.judge``). Each action can be carried out twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import assert_never

from ovenbird.domain.apps import AlarmSpec, Health, JudgePolicy
from ovenbird.domain.clusters import ROLE_TAG, Capacity
from ovenbird.domain.images import ImageId
from ovenbird.domain.launching import LaunchSpec
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.traffic import MarkedRequests

# The hint of an action that finds the world moved since the plan was made.
NEW_PLAN = "Look at the cluster and start again: a new plan will be made"


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
        launch: How its instances are launched and counted.
        copies: The group before, whose policies and schedules it has where *launch* says
            nothing of them; None for none.
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
    launch: LaunchSpec = field(default_factory=LaunchSpec)
    copies: ServerGroupName | None = None


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
    """Divide the traffic. Groups that are not named keep weight 0; the sum is 100.

    Args:
        sticky_s: Seconds for which a client stays with the group that answered it first; 0
            for not at all. A load balancer heeds it before any weight, so it holds only while
            more than one group has a weight.
        needs: Healthy instances that all traffic needs: no group gets a greater share than
            its own of these can take. 0: nobody asks, as on the way back.
    """

    weights: tuple[Weight, ...]
    sticky_s: int = 0
    needs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenToTesters:
    """Let testers reach the group, whatever its weight is."""

    name: ServerGroupName
    testers: MarkedRequests


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseToTesters:
    """Let testers go where everybody goes."""

    name: ServerGroupName


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
class Observe:
    """Let the weights stand for a while; the guards (alarms) may end it.

    Args:
        seconds: How long; 0 to look at the guards once.
    """

    name: ServerGroupName
    seconds: float
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitWord:
    """Wait for a person to say that the rollout goes on (``rollout continue``).

    Args:
        what: What is waited with, in words: ``25 %``.
    """

    name: ServerGroupName
    what: str
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
    """Destroy the group: out of the rule, drained, instances, templates, target group, alarms.

    Args:
        release_id: Only what bears this release's mark; empty for whosever it is.
    """

    name: ServerGroupName
    release_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """Give back to a group what was taken by hand and no other action gives.

    Args:
        tags: Tags that it lacks.
        processes: Auto Scaling processes that are suspended and shall run.
        template_version: Number of the launch template's version that it was made with; empty
            to leave it.
    """

    name: ServerGroupName
    tags: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[str, ...] = ()
    template_version: str = ""


Action = (
    CreateServerGroup
    | Pin
    | Unpin
    | Resize
    | AwaitHealthy
    | SetWeights
    | OpenToTesters
    | CloseToTesters
    | Judge
    | Observe
    | AwaitWord
    | Disable
    | Enable
    | Decommission
    | Mend
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done, in order. An empty plan has a reason.

    Args:
        reason: Why there is nothing to do; empty when there is something.
    """

    actions: tuple[Action, ...]
    reason: str = ""


def describe(action: Action) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each kind of action
    """Return what an action does, as one sentence without a final period."""
    match action:
        case CreateServerGroup():
            kind = action.tags.get(ROLE_TAG, "server group")
            return (
                f"Create {kind} `{action.name}` with {_instances(action.capacity.desired)}"
                f" of version {action.version} ({action.image_id}), out of traffic"
            )
        case Pin():
            return f"Pin `{action.name}` at its present size"
        case Unpin():
            return f"Unpin `{action.name}`: give its old minimum back"
        case Resize():
            return f"Resize `{action.name}` to {action.capacity} (desired / min / max)"
        case AwaitHealthy():
            return (
                f"Wait up to {action.within.total_seconds():g} s until `{action.name}`"
                f" has {_instances(action.instances)} healthy"
            )
        case SetWeights():
            shares = ", ".join(f"{w.percent} % to `{w.name}`" for w in action.weights)
            stay = f"; clients stay for {action.sticky_s} s" if action.sticky_s else ""
            return f"Send {shares}{stay}"
        case OpenToTesters():
            who = f"`{action.testers.field}: {action.testers.pattern}`"
            return f"Let requests with {who} reach `{action.name}` at any weight"
        case CloseToTesters():
            return f"Let testers of `{action.name}` go where everybody goes"
        case Judge():
            return (
                f"Observe `{action.canary}` at {action.step_percent} % beside"
                f" `{action.baseline}` for {action.observe_s:g} s, and judge it"
            )
        case Observe():
            guard = "; an alarm ends it" if action.alarms else ""
            return f"Observe `{action.name}` for {action.seconds:g} s{guard}"
        case AwaitWord():
            return f"Wait until a person lets `{action.name}` go on after {action.what}"
        case Disable():
            return f"Disable `{action.name}`: it rests with its instances, ready for a rollback"
        case Enable():
            return f"Enable `{action.name}`"
        case Decommission():
            return f"Decommission `{action.name}`: drain and destroy it"
        case Mend():
            return f"Mend `{action.name}`: {'; '.join(_mended(action))}"
        case _:
            assert_never(action)


def _mended(action: Mend) -> list[str]:
    found = []
    if action.tags:
        found.append(f"write {', '.join(sorted(action.tags))}")
    if action.processes:
        found.append(f"resume {', '.join(action.processes)}")
    if action.template_version:
        found.append(f"launch from version {action.template_version} of its template")
    return found or ["nothing"]


def _instances(number: int) -> str:
    return "1 instance" if number == 1 else f"{number} instances"
