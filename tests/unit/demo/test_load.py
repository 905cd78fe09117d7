from __future__ import annotations

import pytest

from demo.load import outcome_of
from demo.report import chart


@pytest.mark.parametrize(
    ("status", "version", "served", "outcome"),
    [
        (200, "1.0.0", True, "ok"),
        (404, "", False, "none"),
        (503, "", False, "none"),
        (503, "", True, "lost"),
        (500, "1.2.0", True, "failed"),
    ],
)
def test_an_answer_counts_by_who_gave_it(
    status: int, version: str, *, served: bool, outcome: str
) -> None:
    assert outcome_of(status, version=version, served=served) == outcome


def test_the_chart_shows_shares_by_version() -> None:
    lines = chart([(0, "1.0.0", "ok", 75), (1, "1.1.0", "ok", 25)], [(2, "release v1.1.0")])

    assert lines[0].count("█") == 50
    assert lines[0].endswith("release v1.1.0")
    assert "1.1.0" in lines[-1]
