"""Plans as people and programs read them."""

from __future__ import annotations

from typing import Any

from ovenbird.cli import output
from ovenbird.domain.plans import Action, Plan, describe


def plan_lines(plan: Plan) -> list[str]:
    """Return a plan as numbered lines, or why there is nothing to do."""
    if not plan.actions:
        return [f"  Nothing to do: {plan.reason}"]
    return [f"  {number}. {describe(action)}" for number, action in enumerate(plan.actions, 1)]


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return a plan for ``--json``: each action by its name, in words, and in full."""
    return {"actions": [_action_data(action) for action in plan.actions], "reason": plan.reason}


def _action_data(action: Action) -> dict[str, Any]:
    return {"action": type(action).__name__, "text": describe(action), **output.to_data(action)}
