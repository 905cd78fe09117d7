"""The main job, told by the demo through the command line alone."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Kept

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


def test_three_releases_end_as_they_must_and_no_request_is_lost(kept: Kept) -> None:
    found = kept.findings

    assert kept.status == 0, kept.said
    assert [(r["version"], r["outcome"]) for r in found["releases"]] == [
        ("1.0.0", "promoted"), ("1.1.0", "promoted"), ("1.2.0", "rolled_back"),
    ]  # fmt: skip
    assert found["requests_lost"] == 0, found["losses"]
    assert found["requests_failed"] > 0  # 1.2.0's own, while it was a canary
    assert found["requests_sent"] > 100 * 30
    assert found["rollback"]["seconds"] < 30


def test_only_changed_blocks_are_uploaded(kept: Kept) -> None:
    blocks = [(r["blocks_uploaded"], r["blocks_total"]) for r in kept.findings["releases"]]

    assert all(0 < uploaded < 80 < total for uploaded, total in blocks), blocks


def test_the_canary_was_judged_by_numbers(kept: Kept) -> None:
    release = kept.findings["releases"][2]
    (prod,) = (r for r in release["rollouts"] if r["environment"] == "prod")
    verdict = prod["verdicts"][-1]

    assert verdict["outcome"] == "fail"
    assert verdict["canary_requests"] >= 40
    assert verdict["reasons"] != []


def test_after_the_rollback_the_first_version_serves_and_the_second_rests(kept: Kept) -> None:
    groups = {group["name"]: group for group in kept.cluster["groups"]}

    assert {name: group["weight"] for name, group in groups.items()} == {
        "hello-prod-v001": 100, "hello-prod-v002": 0,
    }  # fmt: skip
    assert groups["hello-prod-v002"]["disabled_at"]


def test_what_exists_can_be_asked_for(kept: Kept) -> None:
    releases = kept.ask("release", "list")
    images = kept.ask("image", "list")
    entries = kept.ask("catalog", "list")

    assert {release["version"] for release in releases} >= {"1.0.0", "1.1.0", "1.2.0"}
    assert {image["version"] for image in images} >= {"1.0.0", "1.1.0", "1.2.0"}
    assert len(entries) >= 3
    assert "v1.2.0" in kept.run("release", "logs", releases[0]["release_id"]).stdout + str(releases)
