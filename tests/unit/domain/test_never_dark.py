"""A cluster under random plans, faults, crashes and hands is never dark by our own doing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ovenbird.domain.apps import AllAtOnce
from ovenbird.domain.plans import Action, AwaitHealthy, Decommission, SetWeights
from tests.never_dark.aws import Violated
from tests.never_dark.machine import Counted, NeverDark, Run

QUICK = settings(
    max_examples=80,
    derandomize=True,  # the bench looks elsewhere each time
    stateful_step_count=40,
    phases=[Phase.generate],
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_no_state_is_dark_and_nothing_is_left() -> None:
    before = replace(NeverDark.counted, states=set(NeverDark.counted.states))

    run_state_machine_as_test(NeverDark, settings=QUICK)

    assert NeverDark.counted.actions - before.actions > 200
    assert len(NeverDark.counted.states) > 60
    assert "states, " in str(NeverDark.counted)


class Careless(NeverDark):
    """One that plans worse than we do: this is what the model is for."""

    counted = Counted()

    def worse(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        return actions

    def _begun(self, run: Run) -> None:
        run.actions = self.worse(run.actions)


class Hasty(Careless):
    """Waits for nobody, and does not look before it acts."""

    looks = False

    def worse(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        return tuple(action for action in actions if not isinstance(action, AwaitHealthy))


class Tidy(Careless):
    """Destroys the old group as soon as it has no traffic."""

    def worse(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        seen = self.aws.truth().serving
        moves = [n for n, action in enumerate(actions, 1) if isinstance(action, SetWeights)]
        if seen is None or not moves:
            return actions
        return (*actions[: moves[-1]], Decommission(name=seen.name))


class Forgetful(Careless):
    """Never gives back what it pinned, nor destroys anything."""

    def worse(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        return tuple(action for action in actions if not isinstance(action, Decommission))


@pytest.mark.parametrize("worse", [Hasty, Tidy, Forgetful])
def test_the_model_finds_what_is_planned_worse(worse: type[NeverDark]) -> None:
    only = settings(QUICK, max_examples=300)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(worse, settings=only)


def test_a_violation_names_what_went_dark() -> None:
    machine = NeverDark()
    machine.begin(1, twice=False, hands=False)
    machine.roll_out(AllAtOnce(), 1, sick=False, percent=100)
    assert machine.run is not None
    machine.run.actions = (Decommission(name=machine.aws.truth().groups[0].name),)

    machine.looks = False
    with pytest.raises(Violated, match=r"destroying hello-prod-v001 made it dark"):
        machine.step(well=True)
