"""Instances without machines are found healthy after a while, and leave at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ovenbird.sandbox import balancer_rules, machineless
from ovenbird.sandbox.machineless import Checks
from ovenbird.sandbox.targets import HEALTH, NOT_IN_USE, REGISTERING, TargetHealth

KEY = ("arn:machineless", "i-1", 80)
BACKEND: Any = SimpleNamespace(target_groups={"one": None})


class Look:
    """One check that is due."""

    key = KEY

    def __init__(self, health: TargetHealth) -> None:
        self.health = health


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the accounts' target groups have to be checked."""
    found: list[Any] = []
    monkeypatch.setattr(balancer_rules, "checks", lambda _backend: found)
    monkeypatch.setattr(balancer_rules, "keys", lambda _group: [KEY])
    HEALTH.forget(*KEY)
    return found


def test_a_target_is_healthy_when_it_was_looked_at_for_long_enough(looked: list[Any]) -> None:
    now = [100.0]
    checks = Checks(healthy_after_s=3.0, clock=lambda: now[0])
    looked.append(Look(REGISTERING))

    checks._look(BACKEND)
    early = HEALTH.find(*KEY)
    now[0] += 3
    checks._look(BACKEND)
    late = HEALTH.find(*KEY)
    HEALTH.forget(*KEY)

    assert early is None
    assert late is not None
    assert late.state == "healthy"


def test_a_target_that_no_rule_uses_is_never_healthy(looked: list[Any]) -> None:
    now = [100.0]
    checks = Checks(healthy_after_s=3.0, clock=lambda: now[0])
    looked.append(Look(NOT_IN_USE))

    for _ in range(3):
        checks._look(BACKEND)
        now[0] += 3

    assert HEALTH.find(*KEY) is None


def test_nobody_waits_for_requests_of_a_target_that_leaves() -> None:
    HEALTH.drain(*KEY, within_s=300.0)

    machineless.Checks(healthy_after_s=3.0).tick()

    assert KEY not in HEALTH.draining()
