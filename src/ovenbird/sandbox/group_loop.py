"""Auto Scaling's loop: looks at each group, and does what is missing.

look at health ─▶ one step in each instance's life ─▶ launch, or choose who goes ─▶ forget
a deleted group when its last instance is gone

Nothing here waits: an instance that is booting or draining is looked at again next time.

Source: Auto Scaling user guide, "Health checks for instances in an Auto Scaling group",
"Suspend and resume processes", "Amazon EC2 Auto Scaling lifecycle hooks", "Verify a scaling
activity" (causes). Zones are not balanced again after the fact (AZRebalance).
"""

from __future__ import annotations

import logging
from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG, AutoScalingBackend, autoscaling_backends
from moto.core.exceptions import ServiceException
from moto.ec2.models.instances import Instance
from moto.elbv2.exceptions import InvalidTargetError
from moto.elbv2.models import FakeTargetGroup

from ovenbird.sandbox.alarm_actions import publish
from ovenbird.sandbox.group_decisions import (
    COMING,
    DEAD,
    Answer,
    Facts,
    Life,
    next_life,
    pause_s,
    place,
    victims,
)
from ovenbird.sandbox.group_model import Group, Member, Waiting, moment
from ovenbird.sandbox.group_notices import NOTICES, notify
from ovenbird.sandbox.loops import CONTROL, for_each
from ovenbird.sandbox.targets import HEALTH

log = logging.getLogger(__name__)

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
EC2_CHECK = "a EC2 health check indicating it has been terminated or stopped"
ELB_CHECK = "an ELB system health check failure"
USER_CHECK = "a user health-check"


def tick(now: float) -> None:
    """Look at all groups of all accounts once.

    Args:
        now: Unix seconds.
    """
    with CONTROL:
        groups = [
            group
            for _, _, backend in list(autoscaling_backends.iter_backends())
            if isinstance(backend, AutoScalingBackend)
            for group in backend.autoscaling_groups.values()
            if isinstance(group, Group)
        ]
    try:
        for_each(groups, lambda group: _look_if_there(group, now))
    finally:
        while NOTICES:
            publish(*NOTICES.popleft())  # without the lock


def _look_if_there(group: Group, now: float) -> None:
    with CONTROL:  # anew for each group: calls come in between
        if group.autoscaling_backend.autoscaling_groups.get(group.name) is group:
            look(group, now)


def look(group: Group, now: float) -> None:
    """Look at one group."""
    if _rests(group):
        return
    for member in group.members:
        _check(group, member, now)
        _live(group, member, now)
    group.instance_states = [m for m in group.members if m.life is not Life.GONE]
    _balance(group, now)
    if group.status and not group.instance_states:
        forget(group)


def _rests(group: Group) -> bool:
    """Tell whether nothing is to be done: most of many groups are at rest, most of the time."""
    members = group.members
    return (
        group.status is None
        and len(members) == group.desired_capacity
        and not (group.request or group.to_replace)
        and all(
            one.lifecycle_state == Life.IN_SERVICE.value
            and one.health_status == "Healthy"
            and one.instance.state == "running"
            and not _unhealthy_target(group, one)
            for one in members
        )
    )


def _check(group: Group, member: Member, now: float) -> None:
    """Find an instance unhealthy, if it is."""
    if member.leaving or member.life is Life.STANDBY or group.suspended("HealthCheck"):
        return
    if member.instance.state in DEAD:
        member.fail(EC2_CHECK)
    if member.life is not Life.IN_SERVICE or group.health_check_type != "ELB":
        return
    grace = group.health_check_grace_period or 0
    if now - member.in_service_at >= grace and _unhealthy_target(group, member):
        member.fail(ELB_CHECK)


def _unhealthy_target(group: Group, member: Member) -> bool:
    found = (HEALTH.find(t.arn, member.instance_id, int(t.port)) for t in group.attached)
    return any(health is not None and health.state == "unhealthy" for health in found)


def _live(group: Group, member: Member, now: float) -> None:
    """Take an instance as far through its life as it can go now."""
    while (after := next_life(member.life, _facts(group, member, now))) is not member.life:
        before, member.lifecycle_state = member.life, after.value
        _enter(group, member, before, now)


def _facts(group: Group, member: Member, now: float) -> Facts:
    broken, dead = member.health_status != "Healthy", member.instance.state in DEAD
    return Facts(
        machine=member.instance.state,
        hooked=bool(_hooks(group, member)) and not group.dropped,
        answer=_answer(group, member, now),
        replaced=broken and not group.suspended("ReplaceUnhealthy", "Terminate"),
        draining=not dead and not group.dropped and HEALTH.is_draining(member.instance_id),
    )


def _enter(group: Group, member: Member, before: Life, now: float) -> None:
    """Do what belongs to a new state."""
    match member.life:
        case Life.PENDING_WAIT | Life.TERMINATING_WAIT:
            member.waiting = {
                hook.name: Waiting(
                    deadline=now + hook.heartbeat_timeout, default=hook.default_result
                )
                for hook in _hooks(group, member)
            }
            for hook in _hooks(group, member):
                notify(group, hook, member.instance_id)
            _progress(member, "MidLifecycleAction", 60)
        case Life.IN_SERVICE:
            member.in_service_at, member.waiting = now, {}
            register(group, member)
            _finish(member)
        case Life.TERMINATING:
            why = member.why_unhealthy or "an abandoned lifecycle action"
            cause = f"an instance was taken out of service in response to {why}."
            _let_go(group, member, before, cause)
        case Life.TERMINATING_PROCEED:
            if member.instance.state not in {"shutting-down", "terminated"}:
                # Termination protection is against persons, not against Auto Scaling.
                member.instance.disable_api_termination = False
                group.ec2_backend.terminate_instances([member.instance_id])
        case Life.GONE:
            _finish(member)
        case _:
            pass


def register(group: Group, member: Member) -> None:
    """Let the load balancers know an instance, unless that is suspended."""
    if group.suspended("AddToLoadBalancer") or member.instance.state != "running":
        return
    for target_group in group.attached:
        target_group.register([{"Id": member.instance_id, "Port": target_group.port}])


def deregister(target_groups: list[FakeTargetGroup], member: Member) -> None:
    """Let load balancers let go of an instance that they may not know."""
    for target_group in target_groups:
        try:
            target_group.deregister([{"Id": member.instance_id, "Port": target_group.port}])
        except InvalidTargetError:
            continue  # it was never registered, or somebody was quicker


def leave(group: Group, member: Member, cause: str) -> None:
    """Let an instance go: load balancers first.

    Args:
        group: Its group.
        member: Not leaving yet.
        cause: A sentence without its time.
    """
    before, member.lifecycle_state = member.life, Life.TERMINATING.value
    _let_go(group, member, before, cause)


def _let_go(group: Group, member: Member, before: Life, cause: str) -> None:
    if member.activity and before in COMING:
        member.activity.finish("Cancelled", _why_cancelled(member, before))
    member.activity, member.waiting = None, {}
    group.to_replace += bool(member.why_unhealthy)
    deregister(group.attached, member)
    member.activity = group.begin(f"Terminating EC2 instance: {member.instance_id}", cause)
    if HEALTH.is_draining(member.instance_id):
        _progress(member, "WaitingForELBConnectionDraining", 50)


def _why_cancelled(member: Member, before: Life) -> str:
    if member.health_status != "Healthy":
        return "Instance became unhealthy while waiting for instance to be in InService state."
    if before is Life.PENDING_WAIT and member.waiting:
        return "Instance failed to complete user's Lifecycle Action."
    return "The instance is not needed any more."


def _progress(member: Member, status: str, percent: int) -> None:
    if member.activity:
        member.activity.status_code, member.activity.progress = status, percent


def _finish(member: Member) -> None:
    if member.activity:
        member.activity.finish()


def _hooks(group: Group, member: Member) -> list[Any]:
    kind = LAUNCHING if member.life in COMING else TERMINATING
    hooks = group.autoscaling_backend.lifecycle_hooks.values()
    mine = [hook for hook in hooks if hook.auto_scaling_group_name == group.name]
    return [hook for hook in mine if hook.lifecycle_transition == kind]


def _answer(group: Group, member: Member, now: float) -> Answer:
    """Return what all hooks together say; one that was deleted says nothing against it."""
    if member.life not in {Life.PENDING_WAIT, Life.TERMINATING_WAIT}:
        return Answer.NONE
    if group.dropped:
        return Answer.CONTINUE
    names = {hook.name for hook in _hooks(group, member)}
    asked = [waiting for name, waiting in member.waiting.items() if name in names]
    answers = {w.result or (w.default if now >= w.deadline else "") for w in asked}
    if "ABANDON" in answers:
        return Answer.ABANDON
    return Answer.NONE if "" in answers else Answer.CONTINUE


def _balance(group: Group, now: float) -> None:
    """Launch what is missing, or let go of what is too much."""
    missing = (group.desired_capacity or 0) - len(group.live)
    if missing > 0 and not group.suspended("Launch") and now >= group.quiet_until:
        _launch(group, missing, now)
    if missing < 0 and not group.suspended("Terminate"):
        _shrink(group, -missing)
    if len(group.live) == group.desired_capacity:
        group.request, group.to_replace = "", 0


def _shrink(group: Group, number: int) -> None:
    before = len(group.live)
    peers = (member.peer for member in group.live)
    for instance_id in victims(peers, number, policies=group.termination_policies):
        member = group.member(instance_id)
        if member is not None:
            leave(
                group,
                member,
                "an instance was taken out of service in response to a difference between"
                f" desired and actual capacity, shrinking the capacity from {before} to"
                f" {group.desired_capacity}. At {moment()} instance {instance_id} was selected"
                " for termination.",
            )


def _launch(group: Group, number: int, now: float) -> None:
    for _ in range(number):
        before = len(group.live)
        cause = (
            "an instance was launched in response to an unhealthy instance needing to be replaced."
            if group.to_replace
            else "an instance was started in response to a difference between desired and actual"
            f" capacity, increasing the capacity from {before} to {before + 1}."
        )
        try:
            member = _launch_one(group, now)
        except ServiceException as error:
            _failed(group, cause, str(error.message), now)
            return
        group.failures, group.to_replace = 0, max(0, group.to_replace - 1)
        member.activity = group.begin(f"Launching a new EC2 instance: {member.instance_id}", cause)
        _progress(member, "InProgress", 30)


def _failed(group: Group, cause: str, why: str, now: float) -> None:
    """Remember a launch that failed, and be quiet for a while."""
    group.failures += 1
    group.quiet_until = now + pause_s(group.failures)
    message = f"{why.rstrip('.')}. Launching EC2 instance failed."
    activity = group.begin(f"Launching a new EC2 instance.  Status Reason: {message}", cause)
    activity.finish("Failed", message)
    log.warning("group %s: %s", group.name, message)


def _launch_one(group: Group, now: float) -> Member:
    instance = _run(group)
    instance.autoscaling_group = group  # type: ignore[attr-defined]  # moto's own place for it
    member = Member(
        instance,
        lifecycle_state=Life.PENDING.value,
        protected_from_scale_in=group.new_instances_protected_from_scale_in,
    )
    member.born = now
    if version := group.version:
        member.template = {
            "LaunchTemplateId": version.template.id,
            "LaunchTemplateName": version.template.name,
            "Version": str(version.number),
        }
    group.instance_states.append(member)
    return member


def _run(group: Group) -> Instance:
    """Launch by the group's template; what it leaves open is EC2's to say.

    Raises:
        ServiceException: EC2 refused.
    """
    version, subnet_id = group.version, place(group.subnets, [m.peer for m in group.live])
    own = group.get_propagated_tags() | {ASG_NAME_TAG: group.name}
    if version is None:
        source: dict[str, Any] = {
            "launch_config": group.launch_config,
            "instance_type": group.launch_config.instance_type,
            "associate_public_ip": group.launch_config.associate_public_ip_address,
        }
    else:
        template = {"LaunchTemplateId": version.template.id, "Version": str(version.number)}
        only = [version.instance_type or "m1.small"]
        source = {
            "launch_template": template,
            "instance_type": (group.instance_types or only)[0],
            "instance_market_options": "spot" if group.next_is_spot else {},
        }
    made = group.ec2_backend.run_instances(
        group.image_id if version is None else version.image_id,
        1,
        group.user_data,
        group.security_groups,
        is_instance_type_default=False,
        region_name=group.region,
        subnet_id=subnet_id,
        tags={"instance": own},
        **source,
    )
    return made.instances[0]


def forget(group: Group) -> None:
    """Drop a group without instances, with all that is kept for it."""
    backend: AutoScalingBackend = group.autoscaling_backend
    backend.autoscaling_groups.pop(group.name, None)
    for name, hook in list(backend.lifecycle_hooks.items()):
        if hook.auto_scaling_group_name == group.name:
            del backend.lifecycle_hooks[name]
    keeps: tuple[dict[str, Any], ...] = (backend.policies, backend.scheduled_actions)
    for kept in keeps:
        for name, thing in list(kept.items()):
            if thing.auto_scaling_group_name == group.name:
                del kept[name]
