from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.reading.inspection import inspect
from ovenbird.packaging.writing import nfpm_contents
from ovenbird.packaging.writing.contents import Entry
from tests.unit.packaging.writing import content, spec, written

MANY = nfpm_contents.MOST + 30


def entry(path: str, *, source: str = "", kind: str = "", mode: int = 0o644) -> Entry:
    return Entry(
        path=path, kind=kind, source=source, mode=mode, owner="root", group="root", place="here"
    )


def test_files_that_are_alike_share_a_pattern() -> None:
    found = [
        entry("/opt/a", kind="dir", mode=0o755),
        entry("/opt/a/.one", source="/src/.one"),
        entry("/opt/a/two", source="/src/two"),
        entry("/opt/a/link", source="two words", kind="symlink", mode=0),
        entry("/opt/a/run", source="/src/run", mode=0o755),
        entry("/opt/a/other", source="/src/name"),
        entry("/etc/a", source="/src/a", kind="config"),
    ]

    assert nfpm_contents.contents(found) == {
        "contents": [
            {"dst": "/opt/a", "file_info": {"mode": 0o755}, "type": "dir"},
            {
                "dst": "/opt/a/link", "file_info": {"mode": 0o777}, "type": "symlink",
                "src": "two words",
            },
            {"dst": "/opt/a/other", "file_info": {"mode": 0o644}, "src": "/src/name"},
            {"dst": "/etc/a", "file_info": {"mode": 0o644}, "type": "config", "src": "/src/a"},
            {"dst": "/opt/a/", "file_info": {"mode": 0o644}, "src": "/src/{.one,two}"},
            {"dst": "/opt/a/run", "file_info": {"mode": 0o755}, "src": "/src/run"},
        ]
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a,b", "[x]", "{y}", "st*r", "wh?t", "back\\slash", "a b", "é"])
def test_a_name_that_a_pattern_may_not_hold_turns_patterns_off(name: str) -> None:
    found = [entry(f"/opt/{name}", source=f"/src/{name}"), entry("/opt/b", source="/src/b")]

    said = nfpm_contents.contents(found)
    assert said["disable_globbing"] is True
    assert [each["src"] for each in said["contents"]] == [f"/src/{name}", "/src/b"]


def tree(top: Path) -> Path:
    """Make directories with files of each kind, many and one, and what the package leaves out."""
    for path in (
        ".hidden",
        "mixed/one",
        "mixed/run",
        "mixed/deeper/one",
        "single/f",
        "a.b+c~d@e=f",
    ):
        (top / "t" / path).parent.mkdir(parents=True, exist_ok=True)
        (top / "t" / path).write_text(path)
    (top / "t/mixed/run").chmod(0o755)
    (top / "t/mixed/link").symlink_to("one")
    (top / "t/mixed/directory").symlink_to("deeper")
    (top / "t/many").mkdir()
    for number in range(MANY):
        (top / f"t/many/f{number}").write_text(str(number))
    (top / "part").mkdir()
    for name in ("one", "two", "three"):
        (top / "part" / name).write_text(name)
    return top


@pytest.mark.parametrize("format_", list(PackageFormat))
def test_patterns_give_the_bytes_that_a_list_gives(
    format_: PackageFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(
        contents=(
            content("t", "/opt/hello", "tree"),
            content("part/one", "/opt/part/one"),
            content("part/two", "/opt/part/two"),
        )
    )
    top = tree(tmp_path / "checkout")
    short = written(asked, format_, top, tmp_path / "patterns")
    monkeypatch.setattr(nfpm_contents, "MOST", 1)  # a group of one file is listed
    long = written(asked, format_, top, tmp_path / "list")

    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (short, long)}
    paths = {file.path for file in inspect(short)[1].files}
    assert len(digests) == 1
    assert {"/opt/hello/.hidden", "/opt/hello/mixed/directory", "/opt/part/two"} <= paths
    assert len([path for path in paths if path.startswith("/opt/hello/many/")]) == MANY
    assert "/opt/part/three" not in paths
