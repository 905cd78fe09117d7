from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.system.commands import end_group, piped, run, spawn, stream


def test_run_returns_what_the_program_wrote(tmp_path: Path) -> None:
    assert run(["pwd"], timeout_s=10, cwd=tmp_path) == f"{tmp_path}\n"
    assert run(["cat"], timeout_s=10, stdin="in") == "in"


def test_programs_see_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")

    assert "hush" not in run(["env"], timeout_s=10)


def test_a_failing_program_is_named_with_its_status_and_its_last_words() -> None:
    with pytest.raises(CommandFailed, match="exited with status 3") as caught:
        run(["sh", "-c", "echo because >&2; exit 3"], timeout_s=10)

    assert caught.value.facts == {"status": 3, "stderr": "because\n"}


def test_expected_statuses_are_no_failure() -> None:
    assert run(["sh", "-c", "exit 1"], timeout_s=10, ok=frozenset({1})) == ""


def test_a_missing_program_is_said_to_be_missing() -> None:
    with pytest.raises(CommandFailed, match="is not installed"):
        run(["no-such-program"], timeout_s=1)


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(CommandFailed, match=r"ran past 0.2 s"):
        run(["sleep", "30"], timeout_s=0.2)


def test_a_streamed_program_that_hangs_is_ended() -> None:
    with pytest.raises(CommandFailed, match=r"ran past 0.2 s"):
        stream(["sleep", "30"], timeout_s=0.2, on_line=print)


def test_lines_are_handed_over_as_they_come() -> None:
    lines: list[str] = []

    stream(["printf", "a\\nb\\n"], timeout_s=10, on_line=lines.append)

    assert lines == ["a", "b"]


def test_what_a_streamed_program_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "(sleep 60; echo late) & echo $! >pid; (setsid sleep 2 &); seq 30000"
    stream(["sh", "-c", script], timeout_s=30, on_line=lines.append, cwd=tmp_path)

    assert lines == [str(number) for number in range(1, 30001)]
    gone = (  # a killed process needs a moment to go
        "for i in $(seq 100); do [ -e $0 ] && ! grep -q ') Z ' $0 || exit 0; sleep 0.02; done\n"
        "exit 1"
    )
    run(["sh", "-c", gone, f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat"], timeout_s=10)


def test_a_streamed_program_may_write_anything() -> None:
    lines: list[str] = []
    words = r"a\r\nb\rc\n\n\303\244\377\n"
    script = f"printf '{words}'; head -c 200000 /dev/zero | tr '\\0' x"
    stream(["sh", "-c", script], timeout_s=10, on_line=lines.append)

    assert lines == ["a", "b", "c", "", "\u00e4\ufffd", "x" * 200_000]


def test_a_streamed_program_ends_in_time_whoever_holds_its_output() -> None:
    with pytest.raises(CommandFailed, match=r"ran past 0\.2 s"):
        stream(["sh", "-c", "setsid sleep 3 & sleep 60"], timeout_s=0.2, on_line=print)


def test_a_streamed_failure_carries_the_last_lines() -> None:
    with pytest.raises(CommandFailed) as caught:
        stream(["sh", "-c", "echo one; echo two >&2; exit 5"], timeout_s=10, on_line=lambda _: None)

    assert caught.value.facts == {"status": 5, "stderr": "one\ntwo"}


def test_a_spawned_program_is_ended_with_its_children(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        process = spawn([sys.executable, "-c", "import time; time.sleep(60)"], output=output)
        end_group(process)

        assert process.wait(10) == -9


def test_bytes_are_piped_as_they_are_and_what_is_left_unread_is_no_failure(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "in").write_bytes(data)

    with (tmp_path / "in").open("rb") as file, piped(["cat"], timeout_s=10, stdin=file) as pipe:
        first = pipe.read(5)

    assert first == data[:5]
    with piped(["printf", r"\377\000"], timeout_s=10) as pipe:
        assert pipe.read() == b"\xff\x00"


def test_a_pipe_that_fails_says_so_after_its_bytes() -> None:
    with (
        pytest.raises(CommandFailed, match="exited with status 2") as caught,
        piped(["sh", "-c", "echo half; echo broken >&2; exit 2"], timeout_s=10) as pipe,
    ):
        assert pipe.read() == b"half\n"

    assert caught.value.facts["stderr"] == "broken\n"


def test_a_pipe_that_is_late_is_ended_whatever_its_reader_makes_of_that() -> None:
    def read(pipe: IO[bytes]) -> None:
        if not pipe.read():
            raise EOFError

    with (
        pytest.raises(CommandFailed, match=r"ran past 0\.1 s"),
        piped(["sleep", "60"], timeout_s=0.1) as pipe,
    ):
        read(pipe)


def test_a_reader_that_fails_ends_the_program() -> None:
    with pytest.raises(KeyError), piped(["yes"], timeout_s=60) as pipe:
        raise KeyError(pipe.read(2))

    with pytest.raises(CommandFailed, match="not installed"), piped(["no-such"], timeout_s=1):
        pass
