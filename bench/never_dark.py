"""How many states of a cluster are tried, and none is dark: `python -m bench never_dark`.

The model is `tests/never_dark`: the real planners and the real stage on a small AWS that is
late, fails and lies, with crashes at any action and other people's hands. A state that is dark
by our own doing ends it with the steps that lead there.
"""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.never_dark.machine import Counted, NeverDark

AT_ONCE = 50  # runs of the model between two looks at the clock


def tried(seconds: float) -> Counted:
    """Run the model for so long, and return what was tried.

    Raises:
        AssertionError: A state broke what must hold; its notes have the steps.
    """
    only = settings(
        max_examples=AT_ONCE,
        stateful_step_count=60,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run_state_machine_as_test(NeverDark, settings=only)
    return NeverDark.counted


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench never_dark")
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args(sys.argv[1:])
    print(f"Never dark: {tried(asked.seconds)}")


if __name__ == "__main__":
    main()
