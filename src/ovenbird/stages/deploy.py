"""Carry out one action of a plan; carried out twice, it gives the same world."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from typing import assert_never

from ovenbird.domain.clusters import Cluster, Instance, InstanceState
from ovenbird.domain.errors import Conflict, OvenbirdError, Unhealthy
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    NEW_PLAN,
    Action,
    AwaitHealthy,
    AwaitWord,
    CloseToTesters,
    CreateServerGroup,
    Decommission,
    Disable,
    Enable,
    Judge,
    Mend,
    Observe,
    OpenToTesters,
    Pin,
    Resize,
    SetWeights,
    Unpin,
    describe,
)
from ovenbird.domain.ports import Clock, Progress, ServerGroups

EVERY = timedelta(seconds=1)  # one DescribeAutoScalingGroups and one DescribeTargetHealth
SELDOM = timedelta(seconds=15)  # the longest pause between two looks
CONSOLE_CHARS = 1500  # about twenty lines
# What a machine writes goes to a person's terminal: no sequence of it may act there.
_CONTROL = re.compile(
    r"\x1b(?:\[[0-9;?]*[@-~]|\][^\x07\x1b]*\x07?|.)|[^\n\x20-\x7e\xa0-\U0010ffff]"
)


def carry_out(  # noqa: C901, PLR0912, PLR0915 - one line for each kind of action
    action: Action, *, groups: ServerGroups, clock: Clock, progress: Progress
) -> None:
    """Do what the action says, and return when it is done.

    ``Judge``, ``Observe`` and ``AwaitWord`` are the workflow's; they are refused here.

    Raises:
        Unhealthy: Instances did not become healthy in time, or a group did not go away.
        Conflict: A group that the action needs is not there.
        CloudError: AWS refused a call.
    """
    progress(describe(action))
    match action:
        case CreateServerGroup():
            groups.create(action)
        case Pin():
            groups.pin(action.name)
        case Unpin():
            groups.unpin(action.name)
        case Resize():
            groups.resize(action.name, action.capacity)
        case AwaitHealthy():
            _await_healthy(action, groups=groups, clock=clock, progress=progress)
        case SetWeights():
            groups.set_weights(action.weights, sticky_s=action.sticky_s)
        case OpenToTesters():
            groups.open_to_testers(action.name, action.testers)
        case CloseToTesters():
            groups.close_to_testers(action.name)
        case Disable():
            groups.disable(action.name, at=clock.now())
        case Enable():
            groups.enable(action.name)
        case Decommission():
            groups.destroy(action.name, release_id=action.release_id)
        case Mend():
            groups.mend(action)
        case Judge():
            raise Conflict(f"`{action.canary}` is to be judged, not deployed")
        case Observe() | AwaitWord():
            raise Conflict(f"`{action.name}` is to be waited for, not deployed")
        case _:
            assert_never(action)


def check(  # noqa: C901, PLR0912 - one line for each kind of action
    action: Action, cluster: Cluster
) -> None:
    """Look once more, right before an action, that it does not leave the cluster dark.

    Args:
        action: What is about to be done.
        cluster: As it is now; the plan may be minutes old.

    Raises:
        Conflict: It would, or a group would get more traffic than it can take, or a group that
            it needs is gone.
    """
    match action:
        case CreateServerGroup():
            _refuse_a_taken_name(action, cluster)
        case SetWeights():
            _refuse_darkness(action, cluster)
            _refuse_too_much(action, cluster)
        case Decommission():
            _refuse_in_traffic(action.name, cluster, "decommissioning")
        case Disable():
            _refuse_in_traffic(_existing(action.name, cluster), cluster, "disabling")
        case Resize():
            _existing(action.name, cluster)
            if action.capacity.desired == 0:
                _refuse_in_traffic(action.name, cluster, "emptying")
        case OpenToTesters():
            _refuse_a_sick_one(action.name, cluster)
        case (
            Pin()
            | Unpin()
            | AwaitHealthy()
            | Enable()
            | Observe()
            | AwaitWord()
            | CloseToTesters()
            | Mend()
        ):
            _existing(action.name, cluster)
        case Judge():
            _existing(action.canary, cluster)
            _existing(action.baseline, cluster)
        case _:
            assert_never(action)


def needs_health(action: Action) -> bool:
    """Tell whether :func:`check` decides by the health of instances, not by groups and weights.

    The load balancer has one call for each group's health, and few calls a second for all.
    """
    match action:
        case (
            CreateServerGroup()
            | Pin()
            | Unpin()
            | AwaitHealthy()
            | Enable()
            | Observe()
            | AwaitWord()
            | CloseToTesters()
            | Mend()
            | Judge()
            | Disable()
        ):
            return False
        case _:
            return True


def _await_healthy(
    action: AwaitHealthy, *, groups: ServerGroups, clock: Clock, progress: Progress
) -> None:
    deadline = clock.now() + action.within
    seen = -1
    while True:
        begun = clock.now()
        instances = groups.list_instances(action.name)
        healthy = sum(i.state is InstanceState.HEALTHY for i in instances)
        if healthy != seen:
            progress(f"`{action.name}`: {healthy} of {action.instances} instances healthy")
        if healthy >= action.instances:
            return
        if clock.now() >= deadline:
            _show_console(instances, groups=groups, progress=progress)
            reasons = "; ".join(sorted({i.reason for i in instances if i.reason}))
            raise Unhealthy(
                f"`{action.name}` has {healthy} of {action.instances} instances healthy after"
                f" {action.within.total_seconds():g} s{': ' if reasons else ''}{reasons}",
                hint="Does the service start and answer its health check? See the console above",
                server_group=str(action.name),
                instances=", ".join(i.instance_id for i in instances),
            )
        seen = healthy
        # A look that took long had to wait for its turn among others: then look less often.
        clock.sleep(max(EVERY, min(clock.now() - begun, SELDOM)).total_seconds())


def _show_console(
    instances: tuple[Instance, ...], *, groups: ServerGroups, progress: Progress
) -> None:
    """Tell the end of one sick instance's console: the way back will destroy it."""
    sick = [one.instance_id for one in instances if one.state is not InstanceState.HEALTHY]
    for instance_id in sick[:1]:
        with suppress(OvenbirdError):  # the cause is told in any case
            lines = _CONTROL.sub("", groups.console(instance_id)).split("\n")
            tail = "\n".join(line for line in lines if line.strip())[-CONSOLE_CHARS:]
            progress(f"The end of the console of `{instance_id}`:\n{tail}")


def _refuse_a_taken_name(action: CreateServerGroup, cluster: Cluster) -> None:
    there = cluster.find(action.name)
    if there is not None and there.release_id != action.release_id:
        raise Conflict(f"`{action.name}` belongs to release `{there.release_id}`", hint=NEW_PLAN)


def _refuse_darkness(action: SetWeights, cluster: Cluster) -> None:
    wanted = [
        group
        for weight in action.weights
        if weight.percent and (group := cluster.find(_existing(weight.name, cluster)))
    ]
    serves = any(group.enabled and group.healthy for group in cluster.groups)
    if serves and not any(group.healthy for group in wanted):
        names = " and ".join(f"`{group.name}`" for group in wanted)
        raise Conflict(
            f"{names} has no healthy instance: sending all traffic there would leave"
            f" `{cluster.name}` dark",
            hint=NEW_PLAN,
        )


def _refuse_a_sick_one(name: ServerGroupName, cluster: Cluster) -> None:
    group = cluster.find(_existing(name, cluster))
    if group is not None and not group.healthy:
        raise Conflict(f"`{name}` has no healthy instance for testers", hint=NEW_PLAN)


def _refuse_too_much(action: SetWeights, cluster: Cluster) -> None:
    """Refuse a share that grows beyond the healthy instances behind it.

    A pinned group is the old one: it takes back no more than it had before.
    """
    for weight in action.weights:
        group = cluster.find(weight.name)
        if group is None or group.pinned_min is not None or weight.percent <= group.weight:
            continue
        if 100 * group.healthy < weight.percent * action.needs:
            raise Conflict(
                f"`{group.name}` cannot take {weight.percent} %: it has {group.healthy} healthy,"
                f" and all traffic needs {action.needs}",
                hint=NEW_PLAN,
            )


def _refuse_in_traffic(name: ServerGroupName, cluster: Cluster, doing: str) -> None:
    group = cluster.find(name)
    others = any(other.healthy for other in cluster.groups if other.name != name)
    if others and not cluster.balanced:
        return  # each instance takes its part: the others go on
    if group is not None and group.enabled:
        raise Conflict(
            f"`{name}` is in traffic ({group.weight} %): {doing} it would lose requests",
            hint=NEW_PLAN,
        )


def _existing(name: ServerGroupName, cluster: Cluster) -> ServerGroupName:
    if cluster.find(name) is None:
        raise Conflict(f"`{name}` is not there any more", hint=NEW_PLAN)
    return name
