"""Lanes side by side: what stays together, and what a killed run leaves for the next."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import abandoned, groups


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/acceptance/test_story.py::test_a", "acceptance"),
        ("tests/acceptance/test_chaos.py::test_a", "acceptance"),
        ("tests/boot/test_bake.py::test_a", "boot"),
        ("tests/sandbox/test_groups.py::test_a[x::y/z]", "sandbox/test_groups.py"),
        ("tests/unit/store/test_records.py::test_a", "unit/store/test_records.py"),
        (
            "tests/pipeline/test_chaos.py::test_a[bake]",
            "tests/pipeline/test_chaos.py::test_a[bake]",
        ),
    ],
)
def test_tests_that_share_a_sandbox_or_a_module_stay_in_one_process(
    nodeid: str, group: str
) -> None:
    assert groups.group(nodeid) == group


def test_what_takes_longest_begins_and_what_carries_requests_goes_first() -> None:
    places = ["unit/a.py", "sandbox/a.py", "pipeline/a.py", "pipeline/test_chaos.py", "boot/a.py",
              "boot/test_bake.py", "acceptance/a.py"]  # fmt: skip
    nodeids = [f"tests/{place}::test_a" for place in places]

    assert sorted(nodeids, key=groups.rank) == nodeids[::-1]
    assert [groups.nice(nodeid) for nodeid in nodeids] == [groups.PATIENT_NICE] * 4 + [0] * 3


def test_modules_that_are_spread_or_have_a_place_in_the_order_exist() -> None:
    tests = Path(__file__).parents[1]

    assert [
        place for place in (*groups.SPREAD, *groups.ORDER) if not (tests / place).exists()
    ] == []


@contextmanager
def sleeping(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let a program work in a directory, until it is killed or the block ends."""
    directory.mkdir(parents=True)
    with subprocess.Popen(["/bin/sleep", "300"], cwd=directory) as process:
        try:
            yield process
        finally:
            process.kill()


def test_what_a_killed_run_left_is_removed_and_a_run_that_lives_keeps_all(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as dead:
        pass
    with (
        sleeping(tmp_path / "pytest-1/popen-gw0/sandbox") as orphan,
        sleeping(tmp_path / "pytest-2/popen-gw0/sandbox") as working,
    ):
        (tmp_path / "pytest-1/.lock").write_text(str(dead.pid))
        (tmp_path / "pytest-2/.lock").write_text(str(os.getpid()))
        (tmp_path / "pytest-3").mkdir()

        swept = abandoned.sweep(tmp_path)

        assert orphan.wait(10) != 0
        assert working.poll() is None
    assert swept == (f"directory {tmp_path / 'pytest-1'}",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pytest-2", "pytest-3"]
