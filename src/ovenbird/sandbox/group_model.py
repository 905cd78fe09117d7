"""Groups, their instances and activities, as Auto Scaling remembers them.

moto 5.2.5's group launches and terminates as soon as a number changes, in one zone only,
from the template's default version; it calls every instance InService at once, keeps no
activities, and turns a grace period of 0 into 300. Here a number is a number:
``group_loop`` makes the world follow it.

Source: moto/autoscaling/models.py; Auto Scaling API reference, AutoScalingGroup, Instance,
Activity; user guide, "Verify a scaling activity".
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import ValidationError
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.elbv2.models import FakeTargetGroup

from ovenbird.sandbox import image_model
from ovenbird.sandbox.group_decisions import LEAVING, Life, Peer, sizes

REMEMBERED = 200  # activities of one group


@dataclass(kw_only=True)
class Activity:
    """Something that a group did or tries to do; the names are moto's for the API's.

    Args:
        progress: Percent.
    """

    auto_scaling_group_name: str
    auto_scaling_group_arn: str
    description: str
    cause: str
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start_time: datetime = field(default_factory=utcnow)
    end_time: datetime | None = None
    status_code: str = "InProgress"
    status_message: str = ""
    progress: int = 0
    details: str = "{}"

    def finish(self, status: str = "Successful", message: str = "") -> None:
        """End it, once."""
        if self.end_time is None:
            self.status_code, self.status_message = status, message
            self.progress, self.end_time = 100, utcnow()


@dataclass(kw_only=True)
class Waiting:
    """A lifecycle action that waits for its answer.

    Args:
        deadline: Unix seconds.
        default: What it comes to when nobody answers.
    """

    deadline: float
    default: str
    result: str = ""


class Member(models.InstanceState):
    """An instance of a group."""

    __module__ = "moto.autoscaling.models"

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self.born = time.time()
        self.in_service_at = self.born
        self.why_unhealthy = ""
        self.template: dict[str, str] | None = None
        self.activity: Activity | None = None
        self.waiting: dict[str, Waiting] = {}

    @property
    def life(self) -> Life:
        """Its lifecycle state."""
        return Life(self.lifecycle_state)

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out."""
        return self.life in LEAVING

    @property
    def launch_template(self) -> dict[str, Any] | None:
        """The template and version that it was launched from."""
        return self.template

    @property
    def peer(self) -> Peer:
        """What decides whether it goes when there are too many."""
        return Peer(
            instance_id=self.instance_id,
            zone=self.availability_zone or "",
            subnet=self.instance.subnet_id or "",
            version=int(self.template["Version"]) if self.template else 0,
            born=self.born,
            healthy=self.health_status == "Healthy",
            protected=bool(self.protected_from_scale_in),
        )

    def fail(self, why: str) -> None:
        """Call it unhealthy; the first reason counts."""
        if self.health_status == "Healthy":
            self.health_status, self.why_unhealthy = "Unhealthy", why


class Policy(models.FakeScalingPolicy):
    """A scaling policy: kept by group and name, and described with its alarms."""

    __module__ = "moto.autoscaling.models"
    enabled = True

    @property
    def key(self) -> str:
        """Where the backend keeps it."""
        return f"{self.auto_scaling_group_name}/{self.name}"

    @property
    def alarms(self) -> list[dict[str, str]]:
        """The alarms that set it off."""
        backend = self.autoscaling_backend
        found = cloudwatch_backends[backend.account_id][backend.region_name].alarms
        return [
            {"AlarmName": alarm.name, "AlarmARN": alarm.alarm_arn}
            for alarm in found.values()
            if self.arn in (alarm.alarm_actions or [])
        ]


class Group(models.FakeAutoScalingGroup):
    """A group whose numbers are wishes."""

    __module__ = "moto.autoscaling.models"

    def __init__(self, **named: Any) -> None:
        self.activities: deque[Activity] = deque(maxlen=REMEMBERED)  # newest first
        self.request = ""  # which asked for the present capacity, as a sentence
        self.to_replace = 0  # unhealthy instances that nothing was launched for yet
        self.failures = 0  # launches in a row
        self.quiet_until = 0.0  # Unix seconds; no launch before
        self.status: str | None = None
        self.dropped = False  # whether to terminate without draining and hooks
        self.provided_launch_template_version: str | None = None
        self.default_instance_warmup: int | None = None
        self.max_instance_lifetime: int | None = None
        super().__init__(**named)
        self.created_time = utcnow().isoformat()  # moto's is local
        self.ask("created an AutoScalingGroup", before=0)

    @property
    def members(self) -> list[Member]:
        """All instances, also those that are leaving."""
        return [state for state in self.instance_states if isinstance(state, Member)]

    @property
    def live(self) -> list[Member]:
        """The instances that count for the desired capacity."""
        return [m for m in self.members if not m.leaving and m.life is not Life.STANDBY]

    def member(self, instance_id: str) -> Member | None:
        """Return one of its instances, if it is there."""
        return next((m for m in self.members if m.instance_id == instance_id), None)

    def suspended(self, *processes: str) -> bool:
        """Tell whether one of these processes is suspended."""
        return not set(processes).isdisjoint(self._suspended_processes)

    @property
    def attached(self) -> list[FakeTargetGroup]:
        """Its target groups that exist."""
        known = self.autoscaling_backend.elbv2_backend.target_groups
        return [known[arn] for arn in self.target_group_arns or [] if arn in known]

    @property
    def subnets(self) -> dict[str, str]:
        """Subnet id → zone, in the group's order; the default subnets when it names zones."""
        if self.vpc_zone_identifier:
            named = self.vpc_zone_identifier.replace(" ", "").split(",")
            return {name: self.ec2_backend.get_subnet(name).availability_zone for name in named}
        defaults = self.ec2_backend.get_default_subnets()
        return {defaults[zone].id: zone for zone in self.availability_zones}

    @property
    def launch_template(self) -> dict[str, Any] | None:
        """The template, unless a mixed instances policy has it."""
        return None if self.mixed_instances_policy else super().launch_template

    @property
    def instance_types(self) -> list[str]:
        """The types of a mixed instances policy, the preferred one first."""
        policy = self.mixed_instances_policy or {}
        overrides = policy.get("LaunchTemplate", {}).get("Overrides", [])
        return [one["InstanceType"] for one in overrides if one.get("InstanceType")]

    @property
    def spot_percent(self) -> int:
        """Share of Spot Instances above the On-Demand base."""
        return 100 - self._share("OnDemandPercentageAboveBaseCapacity", 100)

    @property
    def next_is_spot(self) -> bool:
        """Whether the next instance is to be a Spot Instance."""
        base = self._share("OnDemandBaseCapacity", 0)
        above = len(self.live) + 1 - base
        wanted = int(above * self.spot_percent / 100) if above > 0 else 0
        spot = sum(m.instance.lifecycle == "spot" for m in self.live)
        return spot < wanted

    def _share(self, name: str, default: int) -> int:
        policy = self.mixed_instances_policy or {}
        return int(policy.get("InstancesDistribution", {}).get(name, default))

    @property
    def version(self) -> LaunchTemplateVersion | None:
        """The version of the launch template for the next instance, None without a template.

        Raises:
            EC2ClientError: The template or the version is gone.
        """
        if self.ec2_launch_template is None:
            return None
        template = self.ec2_backend.get_launch_template(self.ec2_launch_template.id)
        return template.get_version(self.launch_template_version)

    def ask(self, what: str, *, before: int) -> None:
        """Remember who changed the capacity, for the causes of what follows."""
        if self.desired_capacity != before:
            self.request = (
                f"At {moment()} a user request {what} changing the desired capacity"
                f" from {before} to {self.desired_capacity}. "
            )

    def begin(self, description: str, cause: str) -> Activity:
        """Begin an activity."""
        activity = Activity(
            auto_scaling_group_name=self.name,
            auto_scaling_group_arn=self.arn,
            description=description,
            cause=f"{self.request}At {moment()} {cause}",
        )
        self.activities.appendleft(activity)
        return activity

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Write the wish; moto would launch and terminate here."""
        self.desired_capacity = self.min_size if new_capacity is None else new_capacity

    def update(self, **named: Any) -> None:  # type: ignore[override]
        """Change the group, all or nothing.

        Without a desired capacity the present one moves into the new bounds.

        Raises:
            ValidationError: The numbers do not go together, or the template is not there.
        """
        self.refuse_if_deleted()
        before = self.desired_capacity or 0
        given = (named.get("min_size"), named.get("max_size"))
        low, high = (a if a is not None else b for a, b in zip(given, self.bounds, strict=True))
        desired = named.get("desired_capacity")
        if desired is None:
            desired = max(low, min(before, high))
        refuse_sizes(low, high, desired)
        if template := named.get("launch_template"):
            refuse_template(self.ec2_backend, template)
        mixed = self.mixed_instances_policy
        super().update(**{**named, "desired_capacity": desired})
        if not named.get("launch_template"):
            self.mixed_instances_policy = self.mixed_instances_policy or mixed  # moto forgets it
        words = f"min: {low}, max: {high}, desired: {desired}"
        self.ask(f"update of AutoScalingGroup constraints to {words}", before=before)
        self.failures, self.quiet_until = 0, 0.0  # what was wrong may be mended

    def refuse_if_deleted(self) -> None:
        """Let no number change that would keep a deleted group alive."""
        if self.status:
            raise ValidationError(f"AutoScalingGroup {self.name} is pending delete")

    @property
    def bounds(self) -> tuple[int, int]:
        """Minimum and maximum size."""
        return self.min_size or 0, self.max_size or 0


def refuse_sizes(minimum: int, maximum: int, desired: int | None) -> None:
    """Let only sizes through that go together."""
    try:
        sizes(minimum, maximum, desired)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def refuse_template(backend: EC2Backend, given: dict[str, Any]) -> None:
    """Let only a template through from which the account could launch."""
    try:
        if template_id := given.get("LaunchTemplateId"):
            template = backend.get_launch_template(template_id)
        else:
            template = backend.get_launch_template_by_name(given.get("LaunchTemplateName") or "")
        image_id = template.get_version(given.get("Version") or "$Default").image_id
    except EC2ClientError as error:
        raise ValidationError(_not_whole(error.message)) from error
    if image_id.startswith("ami-") and image_id not in image_model.visible(backend):
        raise ValidationError(_not_whole(f"The image id '[{image_id}]' does not exist"))


def _not_whole(why: str) -> str:
    return f"You must use a valid fully-formed launch template. {why}"


def moment() -> str:
    """Return the time as causes say it."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - for people to read
