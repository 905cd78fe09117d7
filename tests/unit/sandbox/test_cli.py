from __future__ import annotations

from pathlib import Path

from ovenbird.sandbox.cli import _written_since


def test_a_log_is_followed_also_when_it_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("one\n")
    _, at = _written_since(log, 0)
    log.write_text("one\ntwo\n")

    assert _written_since(log, at) == (b"two\n", 8)
    log.rename(tmp_path / "server.log.1")
    assert _written_since(log, 8) == (b"", 0)
    log.write_text("new\n")
    assert _written_since(log, 8) == (b"new\n", 4)
