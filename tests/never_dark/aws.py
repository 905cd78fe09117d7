"""A small AWS for one cluster: late, failing, lying for a while, and with other people's hands.

It satisfies ``ServerGroups`` in parts, each of which may fail: a call may be refused, its answer
may be lost, the process may die in its middle, and what is read may be old. It watches itself:
no call of ours may turn a cluster that serves into one that does not, give traffic to a group
that has nobody healthy, or take what a rollback would need within its window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ovenbird.domain.clusters import (
    Capacity,
    Cluster,
    Details,
    Instance,
    InstanceId,
    InstanceState,
    ServerGroup,
)
from ovenbird.domain.errors import CloudError, Conflict, Throttled
from ovenbird.domain.images import ImageId
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import CreateServerGroup, Mend, Weight
from ovenbird.domain.resting import has_rested, previous, window_of
from ovenbird.domain.traffic import MarkedRequests
from tests.unit.domain.clusters_model import HELLO, NOW

HEALTHY_AFTER = 3  # looks of the group loop, from the launch on
MOST_TARGET_GROUPS = 5


class Died(BaseException):
    """The process was killed in the middle of a call."""


class Violated(AssertionError):
    """What must hold in every state does not."""


@dataclass(kw_only=True)
class Machine:
    """One instance."""

    ident: int
    age: int = 0  # looks of the group loop since its launch
    dead: bool = False


@dataclass(kw_only=True)
class Group:
    """What AWS has of one server group; each part may be there without the others."""

    name: ServerGroupName
    wanted: CreateServerGroup
    created_at: datetime
    target_group: bool = False
    template: bool = False
    alarms: bool = False
    scaling: bool = False
    in_rule: bool = False
    weight: int = 0
    capacity: Capacity = field(default_factory=lambda: Capacity(min=0, desired=0, max=0))
    machines: list[Machine] = field(default_factory=list)
    disabled_at: datetime | None = None
    pinned_min: int | None = None
    pinned_desired: int | None = None
    suspended: bool = False
    sick: bool = False

    @property
    def healthy(self) -> int:
        return sum(self.is_healthy(one) for one in self.machines)

    def is_healthy(self, one: Machine) -> bool:
        return self.in_rule and not self.sick and not one.dead and one.age >= HEALTHY_AFTER

    @property
    def is_nothing(self) -> bool:
        parts = (self.target_group, self.template, self.alarms, self.scaling, self.in_rule)
        return not any(parts)


class SmallAws:
    """The groups of one cluster, and a clock that lets Auto Scaling work while somebody waits."""

    def __init__(self) -> None:
        self.at = NOW
        self.groups: dict[ServerGroupName, Group] = {}
        self.sick: set[ImageId] = set()
        self.fault = ""  # what becomes of the next change: refused, throttled, lost, or dies at N
        self.parts = 0  # of changes, until the process dies
        self.lies = 0  # how many more reads are old
        self.old: Cluster | None = None
        self.lied = False  # whether something was decided by an old read
        self.waived = False  # whether a person gave up the way back
        self.by_hand: set[ServerGroupName] = set()  # groups that people have changed
        self.launched = 0

    # The clock

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.turn()

    def turn(self, times: int = 1) -> None:
        """Let Auto Scaling look: launch what lacks, end what is too much, replace what is dead."""
        for _ in range(times):
            for group in self.groups.values():
                if group.scaling:
                    self._scale(group)

    def _scale(self, group: Group) -> None:
        group.machines = [one for one in group.machines if not one.dead]
        extra = len(group.machines) - group.capacity.desired
        if extra > 0:  # the unhealthy ones first
            group.machines.sort(key=lambda one: (not group.is_healthy(one), -one.age))
            group.machines = group.machines[: group.capacity.desired]
            group.machines.sort(key=lambda one: one.ident)
        for one in group.machines:
            one.age = min(one.age + 1, HEALTHY_AFTER)
        while len(group.machines) < group.capacity.desired and not group.suspended:
            self.launched += 1
            group.machines.append(Machine(ident=self.launched))

    # What is

    @property
    def serves(self) -> bool:
        return any(group.weight and group.healthy for group in self.groups.values())

    def truth(self) -> Cluster:
        """Return the cluster as it is, as the product would see it without lies."""
        seen = [g for g in self.groups.values() if g.scaling or g.in_rule]
        found = sorted(map(self._seen, seen), key=lambda one: (one.created_at, one.name))
        rule = "arn:rule" if any(group.in_rule for group in seen) else ""
        return Cluster(name=HELLO, environment="prod", groups=tuple(found), rule=rule)

    def _seen(self, group: Group) -> ServerGroup:
        wanted = group.wanted
        return ServerGroup(
            name=group.name,
            image_id=wanted.image_id if group.scaling else ImageId(""),
            version=wanted.version,
            capacity=group.capacity,
            instances=tuple(self._instances(group)),
            weight=group.weight if group.in_rule else 0,
            target_group=f"arn:{group.name}",
            created_at=group.created_at if group.scaling else self.at,
            release_id=wanted.release_id,
            disabled_at=group.disabled_at,
            pinned_min=group.pinned_min,
            pinned_desired=group.pinned_desired,
            tags=wanted.tags,
        )

    def _instances(self, group: Group) -> Iterator[Instance]:
        for one in group.machines:
            state = InstanceState.HEALTHY if group.is_healthy(one) else InstanceState.STARTING
            yield Instance(
                instance_id=InstanceId(f"i-{one.ident}"),
                state=InstanceState.UNHEALTHY if one.dead else state,
            )

    # What is read

    def get_cluster(self, name: ClusterName, environment: str, *, health: bool = True) -> Cluster:
        del health  # the model always knows it
        now = self.truth()
        if self.lies > 0 and self.old is not None:
            self.lies -= 1
            self.lied = self.lied or self.old != now
            return self.old
        self.old, self.lied = now, False
        return now

    def list_clusters(self, environment: str) -> tuple[Cluster, ...]:
        return (self.truth(),)

    def list_instances(self, name: ServerGroupName) -> tuple[Instance, ...]:
        group = self.groups.get(name)
        return tuple(self._instances(group)) if group and group.scaling else ()

    def console(self, instance_id: InstanceId) -> str:
        return "login: "

    def details(self, names: Sequence[ServerGroupName]) -> Mapping[ServerGroupName, Details]:
        found = (self.groups[name] for name in names if name in self.groups)
        return {
            group.name: Details(
                template_version="1",
                first_version="1",
                template_image=group.wanted.image_id,
                alarms=(f"{group.name}-5xx",) if group.alarms else (),
                suspended=("Launch",) if group.suspended else (),
                tags=group.wanted.tags,
            )
            for group in found
            if group.scaling
        }

    def addresses(self, instances: Sequence[InstanceId]) -> Mapping[InstanceId, str]:
        return {}

    def launch_settings(self, name: ServerGroupName) -> Mapping[str, str]:
        return {}

    def settings_to_be(self, wanted: CreateServerGroup) -> Mapping[str, str]:
        return {}

    # What is changed

    def create(self, wanted: CreateServerGroup) -> None:
        there = self.groups.get(wanted.name)
        if there and there.scaling and there.wanted.release_id != wanted.release_id:
            raise Conflict(f"`{wanted.name}` belongs to another release")
        if there and not there.scaling and there.wanted.release_id != wanted.release_id:
            self._remove(there)
        made = self.groups.setdefault(
            wanted.name, Group(name=wanted.name, wanted=wanted, created_at=self.at)
        )
        made.sick = wanted.image_id in self.sick
        for part in self._calls("target group", "in rule", "template", "scaling", "alarms"):
            self._make(made, part)

    def _make(self, made: Group, part: str) -> None:
        """Make a part of a group, unless it is there."""
        if part == "target group":
            made.target_group = True
        elif part == "in rule":
            others = sum(group.in_rule and group is not made for group in self.groups.values())
            if others >= MOST_TARGET_GROUPS:
                raise CloudError("TooManyTargetGroups")
            made.in_rule = True
        elif part == "template":
            made.template = True
        elif part == "alarms":
            made.alarms = True
        elif not made.scaling:
            made.scaling, made.capacity, made.created_at = True, made.wanted.capacity, self.at

    def pin(self, name: ServerGroupName) -> None:
        group = self._existing(name)
        for part in self._calls("tag", "minimum"):
            if part == "tag" and group.pinned_min is None:
                group.pinned_min, group.pinned_desired = group.capacity.min, group.capacity.desired
            elif part == "minimum":
                group.capacity = replace(group.capacity, min=group.capacity.desired)

    def unpin(self, name: ServerGroupName) -> None:
        group = self._existing(name)
        for part in self._calls("minimum", "tag"):
            if group.pinned_min is None:
                continue
            if part == "minimum":
                low = min(group.pinned_min, group.capacity.desired)
                group.capacity = replace(group.capacity, min=low)
            else:
                group.pinned_min = group.pinned_desired = None

    def resize(self, name: ServerGroupName, capacity: Capacity) -> None:
        group = self._existing(name)
        assert capacity.min <= capacity.desired <= capacity.max
        for _ in self._calls("resize"):
            if group.weight and group.healthy and capacity.desired == 0:
                self._refuse(f"{name} was emptied in traffic")
            group.capacity = capacity

    def set_weights(self, weights: Sequence[Weight], *, sticky_s: int = 0) -> None:
        wanted = {weight.name: weight.percent for weight in weights}
        assert sum(wanted.values()) == 100
        rule = [group for group in self.groups.values() if group.in_rule]
        if not wanted.keys() <= {group.name for group in rule}:
            raise Conflict("not in the rule")
        served, before = self.serves, {group.name: group.weight for group in rule}
        for _ in self._calls("weights"):
            for group in rule:
                group.weight = wanted.get(group.name, 0)
            self._watch(served, "weights")
            # One whose instances were killed may keep a share that does not grow.
            empty = [g for g in rule if g.weight > before[g.name] and not g.healthy]
            if empty and served:  # in the dark all are alike: the load balancer tries all
                self._refuse(f"{empty[0].name} gets traffic, and nobody there is healthy")

    def open_to_testers(self, name: ServerGroupName, testers: MarkedRequests) -> None:
        self._existing(name)

    def close_to_testers(self, name: ServerGroupName) -> None:
        self._existing(name)

    def disable(self, name: ServerGroupName, *, at: datetime) -> None:
        group = self._existing(name)
        for _ in self._calls("tag"):
            group.disabled_at = group.disabled_at or at

    def enable(self, name: ServerGroupName) -> None:
        group = self._existing(name)
        for _ in self._calls("tag"):
            group.disabled_at = None

    def destroy(self, name: ServerGroupName, *, release_id: str = "") -> None:
        group = self.groups.get(name)
        if group is None or release_id not in {"", group.wanted.release_id}:
            return
        self._refuse_needed(group)
        served = self.serves
        for part in self._calls("empty", "scaling", "leave rule", "alarms", "template", "target"):
            self._take(group, part)
            if group.is_nothing:
                self.groups.pop(name, None)
            self._watch(served, f"destroying {name}")

    def mend(self, wanted: Mend) -> None:
        group = self._existing(wanted.name)
        for _ in self._calls("mend"):
            group.suspended = group.suspended and "Launch" not in wanted.processes

    def _take(self, group: Group, part: str) -> None:
        if part == "empty":
            group.capacity, group.machines = replace(group.capacity, min=0, desired=0), []
        elif part == "scaling":
            group.scaling, group.capacity = False, Capacity(min=0, desired=0, max=0)
            group.disabled_at = group.pinned_min = group.pinned_desired = None
        elif part == "leave rule":
            group.in_rule, group.weight = False, 0
        elif part == "alarms":
            group.alarms = False
        elif part == "template":
            group.template = False
        else:
            group.target_group = False

    def _remove(self, group: Group) -> None:
        """Remove what an earlier release left without an Auto Scaling group."""
        served = self.serves
        del self.groups[group.name]
        self._watch(served, f"clearing {group.name}")

    # Faults, and what must hold

    def _calls(self, *parts: str) -> Iterator[str]:
        """Yield the calls to AWS that a change consists of; one of them may fail."""
        fault, self.fault = self.fault, ""
        if fault == "refused":
            raise CloudError("AWS refused")
        if fault == "throttled":
            raise Throttled("Slow down")
        for number, part in enumerate(parts, 1):
            yield part
            self.turn()
            if fault == "dies" and number >= self.parts:
                raise Died
        if fault == "lost":
            raise CloudError("the answer was lost")

    def _existing(self, name: ServerGroupName) -> Group:
        group = self.groups.get(name)
        if group is None or not group.scaling:
            raise Conflict(f"`{name}` is not there any more")
        return group

    def _watch(self, served: bool, doing: str) -> None:  # noqa: FBT001 - what it was before
        if served and not self.serves:
            self._refuse(f"{doing} made it dark")

    def _refuse_needed(self, group: Group) -> None:
        """A group that a rollback would go to is not taken before its window has passed."""
        now = self.truth()
        back = previous(now)
        if back is None or back.name != group.name or back.enabled or back.disabled_at is None:
            return
        kept = not has_rested(back, now=self.at, window=window_of(now))
        if kept and back.healthy and not self.waived and not self.by_hand & {back.name}:
            self._refuse(f"{back.name} was destroyed, and a rollback would need it")

    def _refuse(self, why: str) -> None:
        if not self.lied:  # else it was decided by what AWS said
            raise Violated(why)
