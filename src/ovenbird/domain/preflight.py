"""What would keep a rollout from working, told before anything is changed.

facts, as AWS told them ─▶ problems: all of them at once, each with what to do
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.plans import CreateServerGroup, Plan, Resize


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and what to do about it."""

    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """What a rollout will launch in one environment.

    Args:
        wanted: The new server group.
        instances: Its size at most while the rollout runs.
        guards: Names of alarms that others made.
        shared: Whether the account has the image already.
    """

    wanted: CreateServerGroup
    instances: int
    guards: tuple[str, ...] = ()
    shared: bool = True


class Preflight(Protocol):
    """Looks for what would keep a rollout from working; nothing is changed."""

    def check(self, planned: Launching) -> tuple[Problem, ...]:
        """Return all problems; none when it can work as far as AWS lets it be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet; *free* is the number of its free addresses."""

    subnet_id: str
    vpc_id: str
    zone: str
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image: architecture as ``x86_64``, size of its root volume in GiB."""

    architecture: str
    size_gib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much of something there may be, and how much there is."""

    what: str
    used: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What AWS told; what could not be asked is empty.

    Args:
        subnets: Those into which the group would go.
        networks: Security group, or load balancer, in words → its network.
        types: Instance type → architectures that it runs.
        offered: Pairs of instance type and zone; None when nobody was asked.
        missing_guards: Alarms that are not there.
        unhealthy: What the load balancer says of the targets of the group before, which is
            asked the same health path.
    """

    subnets: tuple[Subnet, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    image: ImageFacts | None = None
    types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offered: frozenset[tuple[str, str]] | None = None
    missing_guards: tuple[str, ...] = ()
    unhealthy: tuple[str, ...] = ()
    quotas: tuple[Quota, ...] = ()


def launching(plan: Plan, guards: tuple[str, ...], *, shared: bool = True) -> Launching | None:
    """Return what a plan launches first, or None when it launches nothing."""
    created = next((a for a in plan.actions if isinstance(a, CreateServerGroup)), None)
    if created is None:
        return None
    sizes = [
        action.capacity.desired
        for action in plan.actions
        if isinstance(action, CreateServerGroup | Resize) and action.name == created.name
    ]
    return Launching(wanted=created, instances=max(sizes), guards=guards, shared=shared)


def find_problems(planned: Launching, facts: Facts, *, vpc_id: str) -> tuple[Problem, ...]:
    """Return everything that would keep a server group from being made, or from working.

    Args:
        planned: What is to be launched.
        facts: What AWS told.
        vpc_id: The environment's network.
    """
    return (
        *_capacity(planned),
        *_networks(facts, vpc_id),
        *_addresses(planned, facts),
        *_image(planned.wanted, facts),
        *_offers(planned.wanted, facts),
        *_health(planned.wanted, facts),
        *(
            Problem(text=f"No alarm `{name}`", hint="Look at `guards` in the manifest")
            for name in facts.missing_guards
        ),
        *(
            Problem(
                text=f"The account has {quota.used} of {quota.most} {quota.what}",
                hint="Remove some, or have the quota raised",
            )
            for quota in facts.quotas
            if quota.used >= quota.most
        ),
    )


def refuse(environment: str, problems: Iterable[Problem]) -> None:
    """Raise if there are problems, with all of them.

    Raises:
        InvalidRequest: There are some; each is a line.
    """
    found = tuple(problems)
    if found:
        lines = "\n".join(f"- {problem}" for problem in found)
        raise InvalidRequest(
            f"A rollout in `{environment}` cannot work:\n{lines}",
            hint="Nothing was changed: mend this and start again",
        )


def _capacity(planned: Launching) -> Iterable[Problem]:
    capacity = planned.wanted.capacity
    if not 0 <= capacity.min <= capacity.desired <= capacity.max:
        yield Problem(
            text=f"Capacity {capacity} (desired / min / max) cannot be",
            hint="Needed: `min` <= `desired` <= `max`",
        )


def _networks(facts: Facts, vpc_id: str) -> Iterable[Problem]:
    everything = {
        **{f"Subnet `{subnet.subnet_id}`": subnet.vpc_id for subnet in facts.subnets},
        **facts.networks,
    }
    for what, network in everything.items():
        if network != vpc_id:
            yield Problem(
                text=f"{what} is in network `{network}`, not in `{vpc_id}`",
                hint="Look at `vpc_id` and what is named beside it in the settings",
            )


def _addresses(planned: Launching, facts: Facts) -> Iterable[Problem]:
    """Auto Scaling keeps zones even, so each subnet needs room for its share."""
    if not facts.subnets:
        return
    share = math.ceil(planned.instances / len(facts.subnets))
    for subnet in facts.subnets:
        if subnet.free < share:
            yield Problem(
                text=f"Subnet `{subnet.subnet_id}` in {subnet.zone} has {subnet.free} free"
                f" addresses; {share} of {planned.instances} instances would go there",
                hint="Free some, add a subnet to the settings, or lower `capacity`",
            )


def _image(wanted: CreateServerGroup, facts: Facts) -> Iterable[Problem]:
    image, volume = facts.image, wanted.launch.root_volume
    if image is None:
        return
    for kind, architectures in facts.types.items():
        if architectures and image.architecture not in architectures:
            yield Problem(
                text=f"Image `{wanted.image_id}` is for {image.architecture};"
                f" `{kind}` runs {' and '.join(architectures)}",
                hint="Choose another instance type, or another base image",
            )
    if volume and volume.size_gib and volume.size_gib < image.size_gib:
        yield Problem(
            text=f"A root volume of {volume.size_gib} GiB is smaller than the image's"
            f" {image.size_gib} GiB",
            hint="Raise `launch.root_volume.size_gib`, or leave it out",
        )


def _offers(wanted: CreateServerGroup, facts: Facts) -> Iterable[Problem]:
    if facts.offered is None:
        return
    types = wanted.launch.types(wanted.instance_type)
    for zone in sorted({subnet.zone for subnet in facts.subnets}):
        if not any((kind, zone) in facts.offered for kind in types):
            yield Problem(
                text=f"No {' or '.join(f'`{kind}`' for kind in types)} is offered in {zone}",
                hint="Name other types, or leave the zone out with `launch.zones`",
            )


def _health(wanted: CreateServerGroup, facts: Facts) -> Iterable[Problem]:
    codes = {code for text in facts.unhealthy for code in re.findall(r"\b3\d\d\b", text)}
    if codes:
        yield Problem(
            text=f"The health path `{wanted.health.path}` redirects: targets of the group before"
            f" answer {' and '.join(sorted(codes))}",
            hint="Set `health.path` to one that answers 200 itself",
        )
