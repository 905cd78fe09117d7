"""The demo's numbers, as promised, and its chart."""

from __future__ import annotations

from demo.report import Findings, chart

RELEASE = {
    "version": "1.0.0", "phase": "promoted", "seconds": 9.0, "blocks_uploaded": 26,
    "blocks_total": 866, "stages": [{"name": "bake", "seconds": 4.0}], "rollouts": [],
}  # fmt: skip


def test_the_json_has_what_is_promised() -> None:
    findings = Findings(
        releases=[RELEASE], rollback_s=1.5, api_calls=7, seconds=99.0,
        answers=[(0, "-", "none", 3), (1, "1.0.0", "ok", 90), (2, "1.0.0", "failed", 4),
                 (3, "-", "lost", 1)],
    )  # fmt: skip

    written = findings.to_json()

    assert written["releases"][0]["outcome"] == "promoted"
    assert written["releases"][0]["stages"] == [{"name": "bake", "seconds": 4.0}]
    assert written["rollback"] == {"seconds": 1.5}
    assert (written["requests_sent"], written["requests_failed"], written["requests_lost"]) == (
        98, 4, 1,
    )  # fmt: skip
    assert (written["api_calls"], written["seconds"]) == (7, 99.0)


def test_the_chart_shows_shares_and_what_began() -> None:
    lines = chart([(0, "1.0.0", "ok", 100), (4, "1.0.0", "ok", 50), (4, "1.1.0", "ok", 50)],
                  [(4, "release v1.1.0")])  # fmt: skip

    assert lines[0].count("█") == 50
    assert (lines[1].count("█"), lines[1].count("▒")) == (25, 25)
    assert lines[1].endswith("release v1.1.0")
