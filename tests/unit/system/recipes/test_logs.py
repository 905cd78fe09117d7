from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovenbird.system.recipes import logs


def test_lines_are_told_and_kept_with_their_time(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "logs/a.log"

    with logs.kept(path, tell=said.append) as log:
        log("one")
        log.turn_page()
        log("two \udcff")
        log("three")
        page, kept = log.page, path.read_text()

    assert said == ["one", "two \udcff", "three"]
    assert page == ("two \udcff", "three")
    assert [line.split(maxsplit=1)[1] for line in kept.splitlines()] == ["one", "two ?", "three"]
    assert all(float(line.split()[0]) >= 0 for line in kept.splitlines())


def test_a_name_that_comes_again_begins_anew(tmp_path: Path) -> None:
    for line in ("first", "second"):
        with logs.kept(tmp_path / "a.log", tell=lambda _: None) as log:
            log(line)

    assert (tmp_path / "a.log").read_text().split()[1:] == ["second"]


def test_the_newest_logs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT", 3)
    for age, name in enumerate("abcde"):
        (tmp_path / f"{name}.log").touch()
        os.utime(tmp_path / f"{name}.log", (1000 - age, 1000 - age))
    (tmp_path / "other.txt").touch()

    with logs.kept(tmp_path / "new.log", tell=lambda _: None):
        pass

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.log", "b.log", "new.log", "other.txt",
    ]  # fmt: skip
