from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, OvenbirdError
from ovenbird.system.caches import forget_idle, full_disk_errors, refuse_full_disk
from ovenbird.system.locks import file_lock

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def entry(path: Path, *, idle: timedelta) -> Path:
    path.write_text("x")
    used = (NOW - idle).timestamp()
    os.utime(path, (used, used))
    return path


def test_what_is_idle_goes_but_the_newest_stay(tmp_path: Path) -> None:
    disks = [entry(tmp_path / f"{days}.raw", idle=timedelta(days=days)) for days in (3, 1, 2)]

    forget_idle(disks, keep=2, now=NOW)

    assert sorted(path.name for path in tmp_path.glob("*.raw")) == ["1.raw", "2.raw"]


def test_what_was_used_lately_or_is_locked_stays(tmp_path: Path) -> None:
    lately = entry(tmp_path / "lately.raw", idle=timedelta(hours=1))
    locked = entry(tmp_path / "locked.raw", idle=timedelta(days=9))

    with file_lock(locked.with_suffix(".lock")):
        forget_idle([lately, locked], keep=0, now=NOW)

    assert lately.exists()
    assert locked.exists()


def test_a_directory_goes_with_all_in_it(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    entry(tmp_path / "lists/index", idle=timedelta(0))
    old = (NOW - timedelta(days=1)).timestamp()
    os.utime(tmp_path / "lists", (old, old))

    forget_idle([tmp_path / "lists"], keep=0, now=NOW)

    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_to_be_full(number: int, tmp_path: Path) -> None:
    with pytest.raises(OvenbirdError, match="is full") as caught, full_disk_errors(tmp_path):
        raise OSError(number, "no")

    assert str(tmp_path) in caught.value.hint


def test_a_program_that_met_a_full_disk_gets_the_same_hint(tmp_path: Path) -> None:
    words = "cp: error writing 'disk.raw': No space left on device"

    with pytest.raises(CommandFailed, match="no space left") as caught, full_disk_errors(tmp_path):
        raise CommandFailed("`cp` exited with status 1", status=1, stderr=words)

    assert (caught.value.facts["status"], caught.value.facts["stderr"]) == (1, words)
    assert str(tmp_path) in caught.value.hint


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(CommandFailed, match=r"^no$"), full_disk_errors(tmp_path):
        raise CommandFailed("no", stderr="other")


def test_a_disk_without_room_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    refuse_full_disk(tmp_path / "to" / "come", needed_mib=1)

    with pytest.raises(OvenbirdError, match="MiB are free, 1000000000 are needed") as caught:
        refuse_full_disk(tmp_path / "to" / "come", needed_mib=1_000_000_000)
    assert f"`{tmp_path}`" in caught.value.hint


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    with (
        pytest.raises(CommandFailed) as caught,
        full_disk_errors(tmp_path / "outer"),
        full_disk_errors(tmp_path / "inner"),
    ):
        raise CommandFailed("`cp` failed", stderr="No space left on device")

    assert str(caught.value) == "`cp` failed: no space left"
    assert "inner" in caught.value.hint
