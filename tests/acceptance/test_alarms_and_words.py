"""What stops a rollout besides the judge: an alarm that fires, and a person's word."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Branch, Kept

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

LENIENT = (
    "judge: {max_error_rate_increase: 0.05, max_slow_share_increase: 0.1, min_requests: 40, "
    "slow_s: 0.3}"
)
ALARMED = """judge: {min_requests: 40, slow_s: 5, max_error_rate_increase: 1.0}
    approval: required
    alarms: [{name: errors, metric: error_rate_percent, threshold: 5, periods: 1}]"""
BREAKS = ('return f"{greeting}, world!\\n"', 'raise RuntimeError("broken")')


@pytest.mark.usefixtures("load")
def test_an_approved_canary_is_taken_back_when_its_alarm_fires(kept: Kept, branch: Branch) -> None:
    ref = branch("alarming", {"ovenbird.yaml": (LENIENT, ALARMED), "hello/greeting.py": BREAKS})
    asked = kept.run("release", "start", "--app", str(kept.app), "--ref", ref, "--yes")
    (release,) = (r for r in kept.ask("release", "list") if r["ref"] == ref)
    assert release["phase"] == "waiting"
    assert f"ovenbird release approve {release['release_id']}" in asked.stdout + asked.stderr

    said = kept.run("release", "approve", release["release_id"], status=6).stderr

    assert "Alarm `hello-prod-" in said
    assert "-errors` fires" in said
    shown = kept.ask("release", "show", release["release_id"])
    prod = next(r for r in shown["rollouts"] if r["environment"] == "prod")
    assert prod["phase"] == "rolled_back"
