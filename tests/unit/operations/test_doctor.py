from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.operations import doctor
from ovenbird.operations.doctor import examine
from ovenbird.operations.opening import Installation
from ovenbird.system.clock import SystemClock
from ovenbird.system.disks.disk_cache import DiskCache


def test_a_fresh_machine_has_no_settings_yet_which_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVENBIRD_HOME", str(tmp_path))
    monkeypatch.delenv("OVENBIRD_SETTINGS", raising=False)

    found = {finding.what: finding for finding in examine(Installation())}

    assert (found["settings"].ok, found["settings"].needed) == (False, False)
    assert "ovenbird sandbox up" in found["settings"].hint
    assert found["program `git`"].ok


def test_settings_that_are_wrong_are_a_fault_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("state_directory: relative\n")

    found = {finding.what: finding for finding in examine(Installation(file))}

    assert (found["settings"].ok, found["settings"].needed) == (False, True)
    assert f"{file}:1" in found["settings"].hint


def test_programs_that_are_missing_are_named_with_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ovenbird.operations.doctor._is_installed", lambda name: name != "haproxy")

    found = examine(Installation(tmp_path / "none.yaml"))

    missing = [finding for finding in found if "program" in finding.what and not finding.ok]
    assert [(one.what, one.hint) for one in missing] == [
        ("sandbox program `haproxy`", "`apt-get install haproxy`")
    ]


def test_kept_disks_are_read_on_demand(tmp_path: Path) -> None:
    def fill(part: Path) -> Mapping[int, bytes]:
        part.write_bytes(b"x" * BLOCK_BYTES)
        return {0: hashlib.sha256(b"x" * BLOCK_BYTES).digest()}

    cache = DiskCache(tmp_path / "cache/disks", limit_gib=1, clock=SystemClock())
    for name in ("damaged", "whole"):
        cache.get(name, fill)
    spoilt = tmp_path / "cache/disks/damaged.raw"
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"y" * BLOCK_BYTES)
    settings = SimpleNamespace(state_directory=tmp_path)
    installation = cast("Installation", SimpleNamespace(settings=settings))

    assert [(one.what, one.ok) for one in doctor._disks(installation)] == [
        ("disk `damaged.raw`", False), ("disk `whole.raw`", True),
    ]  # fmt: skip
    assert not any(
        "disk `" in one.what for one in examine(Installation(tmp_path / "n"), disks=True)
    )
