"""Packages built alone, from what a person has."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.operations.opening import Installation
from ovenbird.operations.packages import Built, Wanted, build_packages
from ovenbird.system.commands import run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello"
    run(["python3", ROOT / "examples/hello/make_repository.py", path], timeout_s=60)
    return path


def built(hello: Path, *, allow_dirty: bool = False) -> Built:
    wanted = Wanted(app=str(hello), allow_dirty=allow_dirty, lint=False)
    into = hello / "packages"
    return build_packages(Installation(), wanted, into=into, progress=lambda _: None)


def test_building_again_beside_the_packages_gives_the_same_bytes(hello: Path) -> None:
    first, second = built(hello), built(hello)

    assert [p.version for p in first.packages] == ["1.2.0"]
    assert first == second
    assert first.branch == "main"
    assert first.facts[0].relations["Depends"] == ("python3", "nginx")


def test_what_no_commit_has_is_refused_or_shows_in_the_version(hello: Path) -> None:
    (hello / "new").write_text("x")
    with pytest.raises(InvalidRequest, match=r"Not committed.*`new`") as caught:
        built(hello)

    assert "--allow-dirty" in caught.value.hint
    assert built(hello, allow_dirty=True).packages[0].version == "1.2.0+dirty"


def test_an_app_below_the_top_of_its_repository(hello: Path, tmp_path: Path) -> None:
    person = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER")
              for what in ("NAME", "EMAIL")}  # fmt: skip
    many = tmp_path / "many"
    run(["git", "clone", "--quiet", hello, many / "apps/hello"], timeout_s=60)
    run(["rm", "-r", many / "apps/hello/.git"], timeout_s=60)
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "x"]):
        run(["git", "-C", many, *words], timeout_s=60, env=person)

    found = built(many / "apps/hello")

    assert (found.source.directory, found.source.url) == ("apps/hello", str(many))
    assert found.packages[0].version.startswith("0.0.0+1.g")
