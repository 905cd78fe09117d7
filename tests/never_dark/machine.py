"""Random plans, faults, crashes and other people's hands on a small AWS; what always holds.

The planners and the stage are the real ones; this stands in for the workflow engine: an action
that a process died in is done again, one that fails leads to the way back, which is a plan too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ovenbird.domain.apps import AllAtOnce, BlueGreen, Canary, Highlander, Rolling, Strategy
from ovenbird.domain.clusters import CLUSTER_TAG, Capacity, Cluster
from ovenbird.domain.drift import recorded
from ovenbird.domain.errors import Aborted, OvenbirdError, Throttled, Unhealthy
from ovenbird.domain.images import ImageId
from ovenbird.domain.janitor import Kind, Leftover, Records, plan_cluster, plan_leftovers
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import (
    Action,
    AwaitWord,
    CreateServerGroup,
    Disable,
    Judge,
    Observe,
    Plan,
    SetWeights,
    describe,
)
from ovenbird.domain.reconciling import plan_reconcile
from ovenbird.domain.releases import ActionDone, Phase, Rollout
from ovenbird.domain.resting import previous
from ovenbird.domain.retreats import plan_retreat
from ovenbird.domain.rollbacks import plan_disable, plan_enable, plan_resize, plan_rollback
from ovenbird.domain.rollouts import plan_rollout
from ovenbird.stages.deploy import carry_out, check
from tests.never_dark.aws import Died, Group, SmallAws
from tests.unit.domain.clusters_model import HELLO, WARM_UP, app, environment

ATTEMPTS = 4
LONG = timedelta(days=30)
WAITS = (Judge, Observe, AwaitWord)


@dataclass(kw_only=True)
class Run:
    """One workflow under way: a rollout, its way back, or a change that a person confirmed."""

    owner: str
    kind: str
    actions: tuple[Action, ...]
    promoted: int = 0  # of a rollout: so many actions until nobody retreats any more
    failed: ServerGroupName | None = None
    had_old: bool = False
    lied_to: bool = False  # it was planned on what AWS said, which was not so
    at: int = 0
    retreats: bool = False
    done: list[str] = field(default_factory=list)


@dataclass
class Counted:
    """What was tried, over all runs of the machine."""

    states: set[int] = field(default_factory=set)
    actions: int = 0
    runs: int = 0
    crashes: int = 0
    faults: int = 0
    hands: int = 0

    def __str__(self) -> str:
        return (
            f"{len(self.states)} states, {self.actions} actions in {self.runs} runs of the model,"
            f" {self.crashes} crashes, {self.faults} faults and lies of AWS, {self.hands} hands"
        )


STRATEGIES: tuple[Strategy, ...] = (
    AllAtOnce(),
    BlueGreen(look_s=0.0, manual=True),
    Canary(steps_percent=(10, 50), observe_s=180.0),
    Canary(steps_percent=(30,), observe_s=180.0, baseline=True),
    Rolling(steps_percent=(50,), observe_s=0.0),
    Highlander(confirm=str(HELLO)),
)
places = st.integers(0, 4)


class NeverDark(RuleBasedStateMachine):
    """A cluster, and everybody who may change it."""

    counted: ClassVar[Counted] = Counted()
    looks = True  # once more before each action

    def __init__(self) -> None:
        super().__init__()
        self.aws = SmallAws()
        self.run: Run | None = None
        self.history: list[Rollout] = []
        self.ended: dict[str, datetime | None] = {}
        self.promoted: set[str] = set()
        self.number = 0
        self.hands = False  # whether people may come
        self.harmed = False  # people took something that served, or moved traffic
        self.has_served = False
        self.counted.runs += 1

    # What we do

    @initialize(size=st.integers(1, 3), twice=st.booleans(), hands=st.booleans())
    def begin(self, size: int, *, twice: bool, hands: bool) -> None:
        """Let something serve, and something rest beside it or not; with other people or not."""
        self.hands = hands
        for _ in range(2 if twice else 1):
            self.roll_out(AllAtOnce(), size, sick=False, percent=100)
            self._to_the_end()
        assert self.aws.serves

    @precondition(lambda self: self.run is None)
    @rule(
        strategy=st.sampled_from(STRATEGIES),
        size=st.integers(1, 4),
        sick=st.sampled_from([False, False, False, True]),
        percent=st.sampled_from([50, 100]),
    )
    def roll_out(self, strategy: Strategy, size: int, *, sick: bool, percent: int) -> None:
        self.number += 1
        owner, image_id = f"r{self.number}", ImageId(f"ami-{self.number}")
        if sick:
            self.aws.sick.add(image_id)
        spec = environment(strategy, size=size, min_healthy_percent=percent)
        spec_of_app = app(spec)
        health = replace(spec_of_app.health, startup_s=8.0)
        seen = self.aws.get_cluster(HELLO, "prod")
        self._start(
            owner,
            "rollout",
            lambda: plan_rollout(
                seen,
                image_id=image_id,
                version=f"1.{self.number}",
                release_id=owner,
                spec=replace(spec_of_app, health=health),
                environment=spec,
                period_s=60.0,
                now=self.aws.at,
            ),
        )
        self.aws.waived = isinstance(strategy, Highlander)

    @precondition(lambda self: self.run is None)
    @rule(
        kind=st.sampled_from(["rollback", "resize", "enable", "disable", "reconcile", "janitor"]),
        place=places,
        size=st.integers(0, 4),
        back=st.booleans(),
    )
    def change(self, kind: str, place: int, size: int, *, back: bool) -> None:
        seen = self.aws.get_cluster(HELLO, "prod")
        capacity = Capacity(min=0, desired=size, max=max(size, 4))
        name = seen.groups[place % len(seen.groups)].name if seen.groups else None
        plans: dict[str, Callable[[], Plan]] = {
            "rollback": lambda: plan_rollback(seen, warm_up=WARM_UP),
            "reconcile": lambda: self._reconciliation(back=back),
            "janitor": lambda: plan_cluster(seen, self._records(), now=self.aws.at),
        }
        if name is not None:
            plans |= {
                "resize": lambda: plan_resize(seen, capacity=capacity, warm_up=WARM_UP, name=name),
                "enable": lambda: plan_enable(seen, name=name, warm_up=WARM_UP),
                "disable": lambda: plan_disable(seen, name=name),
            }
        if kind in plans:
            self._change(kind, plans[kind])

    @precondition(lambda self: self.run is not None)
    @rule(well=st.sampled_from([True, True, True, False]))
    def step(self, *, well: bool) -> None:
        self._step(well=well)

    @precondition(lambda self: self.run is not None)
    @rule(actions=st.integers(2, 12))
    def go_on(self, actions: int) -> None:
        for _ in range(actions):
            self._step(well=True)

    @precondition(lambda self: self.run is not None and self.run.kind == "rollout")
    @rule()
    def abort(self) -> None:
        assert self.run is not None
        if not self.run.retreats and self.run.at < self.run.promoted:
            self._failed(Aborted("a person's word"))

    # What may go wrong

    @precondition(lambda self: self.run is not None)
    @rule(
        fault=st.sampled_from(["refused", "lost", "throttled", "dies", "dies"]),
        parts=st.integers(1, 6),
    )
    def break_next(self, fault: str, parts: int) -> None:
        self.aws.fault, self.aws.parts = fault, parts
        self.counted.faults += 1
        self._step(well=True)

    @rule(lies=st.integers(0, 3), seconds=st.sampled_from([0, 1, 60, 4000, 90_000]))
    def pass_time(self, lies: int, seconds: int) -> None:
        """Let time pass, after which AWS may lie for so many reads."""
        self.aws.at += timedelta(seconds=seconds)
        self.aws.turn(min(seconds, 5))
        self.aws.lies = lies
        self.counted.faults += lies > 0

    # Other people's hands

    @precondition(lambda self: self.hands and self.aws.groups)
    @rule(
        what=st.sampled_from(["kill", "kill all", "resize", "move", "delete", "suspend"]),
        place=places,
        number=st.integers(0, 5),
    )
    def touch(self, what: str, place: int, number: int) -> None:
        group = self._group(place)
        self.harmed = True
        self.counted.hands += 1
        self.aws.by_hand |= set(self.aws.groups)
        match what:
            case "kill":
                for one in group.machines[number % 3 :][:1]:
                    one.dead = True
            case "kill all":
                for one in group.machines:
                    one.dead = True
            case "resize" if group.scaling:
                group.capacity = Capacity(min=min(1, number), desired=number, max=max(number, 4))
            case "move":
                self._move(place, number * 20)
            case "delete":
                group.scaling, group.machines = False, []
                group.capacity = Capacity(min=0, desired=0, max=0)
                group.disabled_at = group.pinned_min = group.pinned_desired = None
            case _:
                group.suspended = True
        self.aws.turn()

    def _move(self, place: int, share: int) -> None:
        groups = [group for group in self.aws.groups.values() if group.in_rule]
        if groups:
            for group in groups:
                group.weight = 0
            groups[place % len(groups)].weight = share
            groups[-1].weight += 100 - share

    # What always holds

    @invariant()
    def never_dark(self) -> None:
        seen = self.aws.truth()
        self.counted.states.add(hash((_shape(seen), self.run and (self.run.kind, self.run.at))))
        self.has_served = self.has_served or self.aws.serves
        if self.has_served and not self.harmed:
            assert self.aws.serves, "dark"
            assert sum(group.weight for group in seen.groups) == 100
            assert all(group.healthy for group in seen.groups if group.enabled)

    def teardown(self) -> None:
        """When all has come to rest, nothing is left that nobody needs, and somebody serves."""
        self.aws.fault, self.aws.lies, self.aws.waived = "", 0, True
        while self.run is not None:
            self._step(well=True)
        self.aws.turn(10)
        for _ in range(4):
            self._change("reconcile", lambda: self._reconciliation(back=False))
            self._to_the_end()
            self.aws.turn(10)
        fit = [g for g in self.aws.truth().groups if g.healthy and g.disabled_at is not None]
        assert self.aws.serves or not fit, "somebody could serve"
        self.aws.at += LONG
        for _ in range(3):
            seen = self.aws.truth()
            plan = plan_cluster(seen, self._records(), now=self.aws.at)
            self._start(f"last-{self.number}", "janitor", partial(_same, plan))
            self._to_the_end()
            self._remove_leftovers()
        self._nothing_left()

    # The rest stands in for the engine

    def _start(self, owner: str, kind: str, plan: Callable[[], Plan]) -> None:
        try:
            found = plan()
        except OvenbirdError:
            return
        if not found.actions:
            return
        made = (a.name for a in found.actions if isinstance(a, CreateServerGroup))
        moves = (SetWeights, Disable)
        ends = (n for n, a in enumerate(found.actions, 1) if isinstance(a, moves))
        old = self.aws.truth().serving
        self.ended[owner] = None
        self.run = Run(
            owner=owner,
            kind=kind,
            actions=found.actions,
            failed=next(made, None),
            promoted=max(ends, default=0),
            had_old=old is not None and old.healthy > 0,
            lied_to=self.aws.lied,
        )
        self._begun(self.run)

    def _begun(self, run: Run) -> None:
        """Let a worse planner change what was planned."""

    def _change(self, kind: str, plan: Callable[[], Plan]) -> None:
        self.number += 1
        self._start(f"c{self.number}", kind, plan)

    def _reconciliation(self, *, back: bool) -> Plan:
        seen = self.aws.get_cluster(HELLO, "prod")
        details = self.aws.details([group.name for group in seen.groups])
        known = recorded(self.history)
        return plan_reconcile(seen, known, details, warm_up=WARM_UP, traffic_back=back)

    def _step(self, *, well: bool) -> None:
        run = self.run
        if run is None:
            return
        if run.at >= len(run.actions):
            self._finish(run)
            return
        action = run.actions[run.at]
        self.counted.actions += 1
        try:
            self._perform(action, well=well)
        except Died:
            self.counted.crashes += 1  # the next process does it again
        except OvenbirdError as error:
            self._failed(error)
        else:
            run.done.append(describe(action))
            run.at += 1
        if self.run is run and run.at >= len(run.actions):
            self._finish(run)

    def _perform(self, action: Action, *, well: bool) -> None:
        for attempt in range(ATTEMPTS):
            try:
                if self.looks:
                    check(action, self.aws.get_cluster(HELLO, "prod"))
                if isinstance(action, WAITS):
                    if not well:
                        raise Unhealthy("the canary is worse")
                    return
                carry_out(action, groups=self.aws, clock=self.aws, progress=lambda _: None)
            except Throttled:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def _failed(self, error: OvenbirdError) -> None:
        del error
        run = self.run
        assert run is not None
        if run.kind != "rollout" or run.retreats or run.failed is None:
            self._end(run, promoted=False)
        elif run.at >= run.promoted:
            run.at += 1  # left for the next time
        else:
            seen = self.aws.get_cluster(HELLO, "prod")
            back = plan_retreat(seen, failed=run.failed, release_id=run.owner)
            run.actions, run.at, run.retreats = back.actions, 0, True

    def _finish(self, run: Run) -> None:
        if run.kind == "rollout" and not run.retreats and run.had_old:
            calm = not (self.harmed or self.aws.waived or self.aws.lied or run.lied_to)
            assert not calm or previous(self.aws.truth()) is not None, "there is no way back"
        self._end(run, promoted=not run.retreats)

    def _end(self, run: Run, *, promoted: bool) -> None:
        self.ended[run.owner] = self.aws.at
        if promoted and run.kind == "rollout":
            self.promoted.add(run.owner)
        texts = tuple(ActionDone(text=text, seconds=0.0) for text in run.done)
        phase = Phase.PROMOTED if promoted else Phase.ROLLED_BACK
        self.history.append(
            Rollout(
                rollout_id=run.owner, release_id="", kind=run.kind, environment="prod",
                cluster=str(HELLO), image_id="", version="", actor="ann", phase=phase,
                started_at=self.aws.at, actions=texts,
            )
        )  # fmt: skip
        self.run = None

    def _to_the_end(self) -> None:
        while self.run is not None:
            self._step(well=True)

    def _records(self) -> Records:
        return Records(ended=dict(self.ended), promoted=frozenset(self.promoted))

    def _group(self, place: int) -> Group:
        return list(self.aws.groups.values())[place % len(self.aws.groups)]

    def _remove_leftovers(self) -> None:
        found = list(self._leftovers(self.aws.groups.values()))
        choices = plan_leftovers(found, self._records(), now=self.aws.at)
        for choice in choices:
            group = self.aws.groups.get(ServerGroupName.parse(choice.leftover.name))
            if choice.goes and group is not None:
                if choice.leftover.kind is Kind.ALARM:
                    group.alarms = False
                elif choice.leftover.kind is Kind.LAUNCH_TEMPLATE:
                    group.template = False
                else:
                    group.target_group = False
                if group.is_nothing:
                    del self.aws.groups[group.name]

    def _leftovers(self, groups: Iterable[Group]) -> Iterable[Leftover]:
        for group in groups:
            parts = {
                Kind.ALARM: group.alarms,
                Kind.LAUNCH_TEMPLATE: group.template,
                Kind.TARGET_GROUP: group.target_group,
            }
            for kind, is_there in parts.items():
                used = group.scaling or (kind is Kind.TARGET_GROUP and group.in_rule)
                if is_there:
                    yield Leftover(
                        kind=kind,
                        ident=f"{kind} {group.name}",
                        name=str(group.name),
                        environment="prod",
                        tags={**group.wanted.tags, CLUSTER_TAG: str(HELLO)},
                        used_by="its group" if used else "",
                    )

    def _nothing_left(self) -> None:
        seen = self.aws.truth()
        assert not any(g.enabled and g.pinned_min is not None for g in seen.groups), "pinned"
        parts = [group for group in self.aws.groups.values() if not group.is_nothing]
        loose = [str(group.name) for group in parts if not (group.scaling or group.in_rule)]
        assert not loose, f"left: {loose}"
        if self.aws.serves:
            idle = [str(group.name) for group in seen.groups if not group.enabled]
            assert not idle, f"left: {idle}"


def _same(plan: Plan) -> Plan:
    return plan


def _shape(seen: Cluster) -> tuple[object, ...]:
    return tuple(
        (
            group.weight,
            group.healthy,
            len(group.instances),
            group.capacity,
            group.disabled_at is not None,
            group.pinned_min,
            group.is_baseline,
        )
        for group in seen.groups
    )
