from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ovenbird.aws.waiting import await_state
from ovenbird.domain.errors import Unhealthy


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def wait(states: list[str]) -> str:
    return await_state(
        "Snapshot `snap-1`",
        lambda: states.pop(0) if len(states) > 1 else states[0],
        done=lambda state: state == "completed",
        within=timedelta(seconds=10),
        every=timedelta(seconds=3),
        clock=Clock(),
    )


def test_it_looks_until_it_is_done() -> None:
    assert wait(["pending", "pending", "completed"]) == "completed"


def test_it_says_what_it_saw_last() -> None:
    with pytest.raises(Unhealthy, match="Snapshot `snap-1` is still `pending` after 10 s"):
        wait(["pending"])
