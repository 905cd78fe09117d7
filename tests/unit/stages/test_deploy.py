"""Each action looks once more, is carried out, and waits no longer than it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ovenbird.domain.clusters import Capacity, Cluster, Details, Instance, InstanceId, InstanceState
from ovenbird.domain.errors import CloudError, Conflict, Unhealthy
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitHealthy,
    CreateServerGroup,
    Decommission,
    Disable,
    Enable,
    Judge,
    Mend,
    Pin,
    Resize,
    SetWeights,
    Unpin,
    Weight,
)
from ovenbird.domain.traffic import MarkedRequests
from ovenbird.stages.deploy import carry_out, check, needs_health
from tests.unit.domain.clusters_model import NOW, Shape, cluster, environment, name, rollout

SERVING = Shape(weight=100)
RESTING = Shape(rested=timedelta(minutes=1))
NONE = Capacity(min=0, desired=0, max=2)


@dataclass
class Turning:
    """A clock that goes on when somebody waits."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Groups:
    """Writes down what it is asked to do; one more instance is healthy at each look."""

    log: list[tuple[Any, ...]] = field(default_factory=list)
    most: int = 9
    console_text: str | None = None

    def list_instances(self, of: ServerGroupName) -> tuple[Instance, ...]:
        self.log.append(("list_instances", of))
        healthy = min(len(self.log) - 1, self.most)
        states = [InstanceState.HEALTHY] * healthy + [InstanceState.UNHEALTHY] * (3 - healthy)
        return tuple(
            Instance(instance_id=InstanceId(f"i-{n}"), state=state, reason="" if not n else "502")
            for n, state in enumerate(states)
        )

    def console(self, of: InstanceId) -> str:
        if self.console_text is None:
            raise CloudError("AWS refused")
        return f"{of}\r\n{self.console_text}"

    def create(self, wanted: CreateServerGroup) -> None:
        self.log.append(("create", wanted.name))

    def pin(self, of: ServerGroupName) -> None:
        self.log.append(("pin", of))

    def unpin(self, of: ServerGroupName) -> None:
        self.log.append(("unpin", of))

    def resize(self, of: ServerGroupName, capacity: Capacity) -> None:
        self.log.append(("resize", of, capacity))

    def set_weights(self, weights: Sequence[Weight], *, sticky_s: int = 0) -> None:
        self.log.append(("set_weights", *weights, *([sticky_s] if sticky_s else [])))

    def open_to_testers(self, name: ServerGroupName, testers: MarkedRequests) -> None:
        self.log.append(("open_to_testers", name, testers))

    def close_to_testers(self, name: ServerGroupName) -> None:
        self.log.append(("close_to_testers", name))

    def disable(self, of: ServerGroupName, *, at: datetime) -> None:
        self.log.append(("disable", of, at))

    def enable(self, of: ServerGroupName) -> None:
        self.log.append(("enable", of))

    def destroy(self, of: ServerGroupName, *, release_id: str = "") -> None:
        self.log.append(("destroy", of, *([release_id] if release_id else ())))

    def mend(self, wanted: Mend) -> None:
        self.log.append(("mend", wanted))

    def details(self, names: Sequence[ServerGroupName]) -> Mapping[ServerGroupName, Details]:
        raise AssertionError("no action needs them")

    def addresses(self, of: Sequence[InstanceId]) -> Mapping[InstanceId, str]:
        raise AssertionError("no action needs them")

    def launch_settings(self, of: ServerGroupName) -> Mapping[str, str]:
        raise AssertionError("they are looked at before anything is done")

    def settings_to_be(self, wanted: CreateServerGroup) -> Mapping[str, str]:
        raise AssertionError("they are looked at before anything is done")

    def get_cluster(self, of: ClusterName, environment: str, *, health: bool = True) -> Cluster:
        del health
        raise AssertionError("an action is carried out, the cluster is looked at by others")

    def list_clusters(self, environment: str) -> tuple[Cluster, ...]:
        raise AssertionError("an action knows its cluster and lists none")


def all_to(version: int) -> SetWeights:
    return SetWeights(weights=(Weight(name=name(version), percent=100),))


def create() -> CreateServerGroup:
    made = rollout(cluster(), environment()).actions[0]
    assert isinstance(made, CreateServerGroup)
    return made


def judge() -> Judge:
    actions = rollout(cluster(SERVING), environment()).actions
    return next(action for action in actions if isinstance(action, Judge))


def awaiting(instances: int) -> AwaitHealthy:
    return AwaitHealthy(name=name(1), instances=instances, within=timedelta(seconds=5))


@pytest.mark.parametrize(
    ("action", "done"),
    [
        (create(), ("create", name(1))),
        (Mend(name=name(1)), ("mend", Mend(name=name(1)))),
        (Pin(name=name(1)), ("pin", name(1))),
        (Unpin(name=name(1)), ("unpin", name(1))),
        (Resize(name=name(1), capacity=NONE), ("resize", name(1), NONE)),
        (all_to(1), ("set_weights", Weight(name=name(1), percent=100))),
        (Disable(name=name(1)), ("disable", name(1), NOW)),
        (Enable(name=name(1)), ("enable", name(1))),
        (Decommission(name=name(1)), ("destroy", name(1))),
        (Decommission(name=name(1), release_id="new"), ("destroy", name(1), "new")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_action_does_one_thing_and_says_it(action: Action, done: tuple[Any, ...]) -> None:
    groups, said = Groups(), list[str]()

    carry_out(action, groups=groups, clock=Turning(), progress=said.append)

    assert groups.log == [done]
    assert len(said) == 1


def test_a_judgement_is_not_deployed() -> None:
    with pytest.raises(Conflict, match="to be judged"):
        carry_out(judge(), groups=Groups(), clock=Turning(), progress=lambda _text: None)


def test_waiting_ends_with_the_last_instance_and_tells_each_that_comes() -> None:
    groups, clock, said = Groups(), Turning(), list[str]()

    carry_out(awaiting(2), groups=groups, clock=clock, progress=said.append)

    assert clock.at == NOW + timedelta(seconds=2)
    assert [text.rpartition(": ")[2] for text in said[1:]] == [
        f"{n} of 2 instances healthy" for n in (0, 1, 2)
    ]


def test_waiting_too_long_says_what_was_seen_and_names_the_instances() -> None:
    with pytest.raises(Unhealthy, match="has 1 of 2 instances healthy after 5 s: 502") as caught:
        carry_out(awaiting(2), groups=Groups(most=1), clock=Turning(), progress=lambda _text: None)

    assert caught.value.facts["instances"] == "i-0, i-1, i-2"


def test_what_a_sick_instance_wrote_is_told_before_it_is_destroyed() -> None:
    said = list[str]()
    written = "\x1b[31mFAILED\x1b[0m\r\n\x1b]0;title\x07\n\n   \nlogin: \x07"

    with pytest.raises(Unhealthy, match="has 1 of 2"):
        carry_out(
            awaiting(2),
            groups=Groups(most=1, console_text=written),
            clock=Turning(),
            progress=said.append,
        )

    assert said[-1] == "The end of the console of `i-1`:\ni-1\nFAILED\nlogin: "


@pytest.mark.parametrize(
    ("seen", "action", "words"),
    [
        (cluster(SERVING, Shape(healthy=0)), all_to(2), "dark"),
        (cluster(SERVING), all_to(2), "not there any more"),
        (cluster(SERVING), Decommission(name=name(1)), "in traffic"),
        (cluster(SERVING), Disable(name=name(1)), "in traffic"),
        (cluster(SERVING), Disable(name=name(2)), "not there any more"),
        (cluster(SERVING), Resize(name=name(1), capacity=NONE), "in traffic"),
        (cluster(SERVING), Resize(name=name(2), capacity=NONE), "not there any more"),
        (cluster(SERVING), Pin(name=name(2)), "not there any more"),
        (cluster(SERVING), Unpin(name=name(2)), "not there any more"),
        (cluster(SERVING), Enable(name=name(2)), "not there any more"),
        (cluster(), awaiting(1), "not there any more"),
        (cluster(SERVING), judge(), "not there any more"),
        (cluster(SERVING), create(), "belongs to release `old`"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_the_world_may_have_moved_since_the_plan(seen: Cluster, action: Action, words: str) -> None:
    with pytest.raises(Conflict, match=words) as caught:
        check(action, seen)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (cluster(Shape(weight=100, healthy=0), Shape(healthy=0)), all_to(2)),  # dark already
        (cluster(SERVING, RESTING), Decommission(name=name(2))),
        (cluster(SERVING), Decommission(name=name(2))),  # a second run finds it gone
        (cluster(SERVING, RESTING), Resize(name=name(2), capacity=NONE)),
        (cluster(Shape(release="new")), create()),  # a second run finds it made
    ],
)
def test_what_harms_nothing_may_be_done_again(seen: Cluster, action: Action) -> None:
    check(action, seen)


@pytest.mark.parametrize(
    ("healthy", "percent", "needs", "fits"),
    [(1, 25, 4, True), (1, 26, 4, False), (3, 100, 4, False), (4, 100, 4, True), (1, 100, 0, True)],
)
def test_no_group_gets_more_than_its_healthy_instances_can_take(
    *, healthy: int, percent: int, needs: int, fits: bool
) -> None:
    seen = cluster(Shape(weight=100, pinned=True), Shape(size=4, healthy=healthy))
    weights = (Weight(name=name(1), percent=100 - percent), Weight(name=name(2), percent=percent))
    action = SetWeights(weights=tuple(w for w in weights if w.percent), needs=needs)

    if fits:
        check(action, seen)
        return
    with pytest.raises(Conflict, match=f"cannot take {percent} %"):
        check(action, seen)


def test_the_old_group_takes_back_what_it_had() -> None:
    seen = cluster(Shape(weight=50, pinned=True, healthy=1), Shape(weight=50))
    shares = (Weight(name=name(1), percent=90), Weight(name=name(2), percent=10))

    check(SetWeights(weights=shares, needs=10), seen)


def test_without_a_load_balancer_a_group_is_emptied_when_another_serves() -> None:
    seen = replace(cluster(Shape(weight=50), Shape(weight=50)), balanced=False)
    alone = replace(cluster(SERVING), balanced=False)

    check(Resize(name=name(1), capacity=NONE), seen)
    check(Decommission(name=name(1)), seen)
    with pytest.raises(Conflict, match="in traffic"):
        check(Resize(name=name(1), capacity=NONE), alone)


def all_sick(seen: Cluster) -> Cluster:
    """Return the cluster with no healthy instance."""
    sick = [
        replace(
            one, instances=tuple(replace(i, state=InstanceState.STARTING) for i in one.instances)
        )
        for one in seen.groups
    ]
    return replace(seen, groups=tuple(sick))


def refusal(action: Action, seen: Cluster) -> str:
    """Return why an action is refused; empty when it is not."""
    try:
        check(action, seen)
    except Conflict as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "action",
    [
        create(),
        judge(),
        awaiting(1),
        Mend(name=name(1)),
        *(kind(name=name(n)) for kind in (Pin, Unpin, Enable, Disable) for n in (1, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_where_health_is_not_asked_for_the_look_decides_alike_without_it(action: Action) -> None:
    seen = (cluster(), cluster(SERVING), cluster(SERVING, RESTING), cluster(RESTING, SERVING))

    assert not needs_health(action)
    for one in seen:
        assert refusal(action, one) == refusal(action, all_sick(one))


@pytest.mark.parametrize(
    "action", [all_to(1), Decommission(name=name(1)), Resize(name=name(1), capacity=NONE)]
)
def test_what_could_leave_a_cluster_dark_is_looked_at_with_its_health(action: Action) -> None:
    assert needs_health(action)


@dataclass
class SlowGroups(Groups):
    """Each look takes long: many others look, too."""

    clock: Turning = field(default_factory=Turning)
    takes_s: float = 4.0

    def list_instances(self, of: ServerGroupName) -> tuple[Instance, ...]:
        self.clock.sleep(self.takes_s)
        return super().list_instances(of)


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.1, 1.0), (4.0, 4.0), (100.0, 15.0)])
def test_who_waits_looks_less_often_when_a_look_takes_long(takes_s: float, pause_s: float) -> None:
    groups = SlowGroups(takes_s=takes_s)
    waiting = AwaitHealthy(name=name(1), instances=2, within=timedelta(hours=1))

    carry_out(waiting, groups=groups, clock=groups.clock, progress=lambda _text: None)

    assert groups.clock.at - NOW == timedelta(seconds=3 * takes_s + 2 * pause_s)
