"""What is kept for bases goes when it was not used for long, the least recently used first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ovenbird.system.rooms import package_caches
from ovenbird.system.rooms.package_caches import PackageCaches

HOUR_S = 3600.0


@pytest.fixture
def bases(tmp_path: Path) -> Path:
    """A directory with caches of four bases, used 1, 10, 20 and 30 hours ago, and tools."""
    top = tmp_path / "apt"
    for hours in (1, 10, 20, 30):
        used = top / f"{hours}h/used"
        used.parent.mkdir(parents=True)
        used.touch()
        at = time.time() - hours * HOUR_S
        os.utime(used, (at, at))
    (top / "tools").mkdir()
    return top


def opened(bases: Path, name: str) -> set[str]:
    (bases / name).mkdir(exist_ok=True)
    PackageCaches(bases / name, place=bases, root=bases).forget_unused()
    return {path.name for path in bases.iterdir()}


def test_the_least_recently_used_goes(bases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_caches, "KEPT_BASES", 3)

    assert opened(bases, "new") == {"1h", "10h", "new", "tools"}


def test_what_a_bake_may_still_use_stays(bases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_caches, "KEPT_BASES", 1)

    assert opened(bases, "10h") == {"1h", "10h", "tools"}


def test_few_stay_however_old(bases: Path) -> None:
    assert opened(bases, "30h") == {"1h", "10h", "20h", "30h", "tools"}
