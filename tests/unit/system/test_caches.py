from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, OvenbirdError
from ovenbird.system.caches import full_disk_errors, refuse_full_disk


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
