from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.system.trees import digests


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    place = tmp_path / "app"
    (place / "conf/deep").mkdir(parents=True)
    (place / "conf/deep/a").write_text("a")
    (place / "conf/run").write_text("run")
    (place / "conf/run").chmod(0o755)
    (place / "conf/link").symlink_to("run")
    (place / "motd").write_text("motd")
    return place


def test_files_and_trees_have_digests_and_modes(app: Path) -> None:
    assert digests(app, ["conf/", "motd"]) == {
        "conf/deep/a": f"- {sha('a')}",
        "conf/link": f"l {sha('run')}",
        "conf/run": f"x {sha('run')}",
        "motd": f"- {sha('motd')}",
    }
    assert digests(app, ["./"]).keys() == digests(app, ["conf", "motd"]).keys()
    assert digests(app, []) == {}


def test_a_link_that_is_named_stands_for_what_it_leads_to(app: Path) -> None:
    (app / "one").symlink_to("motd")
    (app / "all").symlink_to("conf")

    assert digests(app, ["one"]) == {"motd": f"- {sha('motd')}", "one": f"l {sha('motd')}"}
    assert digests(app, ["all/"]).keys() == {"all", *digests(app, ["conf/"])}


@pytest.mark.parametrize("name", ["gone", "conf/gone", "dangling"])
def test_what_is_missing_is_named(app: Path, name: str) -> None:
    (app / "dangling").symlink_to("nowhere")

    with pytest.raises(NotFound, match=f"`{name}` is not in the commit"):
        digests(app, [name])


@pytest.mark.parametrize("name", ["out", "deep/passwd", "../app2"])
def test_what_leads_out_is_refused(app: Path, name: str) -> None:
    (app.parent / "app2").write_text("x")
    (app / "out").symlink_to("/etc/passwd")
    (app / "deep").symlink_to("/etc")

    with pytest.raises(InvalidRequest, match="out of the app's directory"):
        digests(app, [name])
