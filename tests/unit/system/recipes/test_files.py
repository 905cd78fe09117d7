from __future__ import annotations

import os
import re
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.recipes import BroughtFile, RecipeStep, filled
from tests.unit.system.recipes.here import ME, MINE, Kitchen


def brought(kitchen: Kitchen, source: str, to: str, **more: object) -> BroughtFile:
    words = {"owner": ME, "group": MINE, **more}
    return BroughtFile(source=source, target=f"{kitchen.root}/{to}", **words)  # type: ignore[arg-type]


def test_a_file_comes_with_the_checkouts_mode_or_the_asked_one(kitchen: Kitchen) -> None:
    kitchen.write("ops/motd", "hello\n", mode=0o600)
    kitchen.write("ops/run", "#!/bin/sh\n", mode=0o750)

    kitchen.do(RecipeStep(work=brought(kitchen, "ops/motd", "etc/deep/motd")))
    kitchen.do(RecipeStep(work=brought(kitchen, "ops/run", "bin/run")))
    kitchen.do(RecipeStep(work=brought(kitchen, "ops/run", "bin/own", mode="4750")))

    assert kitchen.found() == {
        "bin/own": ("4750", "#!/bin/sh\n"),
        "bin/run": ("755", "#!/bin/sh\n"),
        "etc/deep/motd": ("644", "hello\n"),
    }


def test_a_tree_comes_as_a_whole_and_what_is_beside_it_stays(kitchen: Kitchen) -> None:
    kitchen.write("conf/a b/it's", "1")
    kitchen.write("conf/-x", "2")
    (kitchen.app / "conf/link").symlink_to("a b/it's")
    (kitchen.root / "etc").mkdir(mode=0o700)
    (kitchen.root / "etc/other").write_text("mine")
    (kitchen.root / "etc/-x").symlink_to("/etc/passwd")

    kitchen.do(RecipeStep(work=brought(kitchen, "conf/", "etc", mode="0640")))
    kitchen.do(RecipeStep(work=brought(kitchen, "conf/", "etc", mode="0640")))

    found = kitchen.found()
    assert found.pop("etc/link")[1] == "a b/it's"
    assert found == {
        "etc/-x": ("640", "2"),
        "etc/a b/it's": ("640", "1"),
        "etc/other": (found["etc/other"][0], "mine"),
    }
    assert (kitchen.root / "etc").stat().st_mode & 0o777 == 0o700
    assert (kitchen.root / "etc/a b").stat().st_mode & 0o777 == 0o750


def test_a_template_is_filled_in(kitchen: Kitchen) -> None:
    kitchen.write("t/a", "${WHO} costs $$5\r\n", mode=0o755)
    kitchen.write("t/b/c", "$WHO")
    step = RecipeStep(work=brought(kitchen, "t/", "t", is_template=True), variables={"WHO": "$me"})

    kitchen.do(step)

    assert (kitchen.root / "t/a").read_bytes() == b"$me costs $5\r\n"
    assert kitchen.found()["t/a"][0] == "755"
    assert kitchen.found()["t/b/c"] == ("644", "$me")


def test_a_template_with_an_unknown_variable_is_refused(kitchen: Kitchen) -> None:
    kitchen.write("motd", "hello\n${WHO} and ${WHOM}\n")
    step = RecipeStep(
        work=brought(kitchen, "motd", "motd", is_template=True), variables={"WHO": "me"}
    )

    with pytest.raises(InvalidRequest, match=r"`motd` has `\$\{WHOM\}` in line 2") as caught:
        kitchen.do(step)

    assert "variables" in caught.value.hint
    assert kitchen.found() == {}


def test_an_owner_that_is_missing_is_named(kitchen: Kitchen) -> None:
    kitchen.write("motd", "hello")

    with pytest.raises(CommandFailed, match=r"`file motd to .*/motd` exited") as caught:
        kitchen.do(RecipeStep(work=brought(kitchen, "motd", "motd", owner="nobody-knows")))

    assert "nobody-knows" in str(caught.value.facts["stderr"])
    assert "owner and group must exist" in caught.value.hint


def test_names_need_not_be_utf_8(kitchen: Kitchen) -> None:
    name = os.fsdecode(b"t/\xe9")
    kitchen.write(name, "x")

    kitchen.do(RecipeStep(work=brought(kitchen, "t/", "t")))

    assert (kitchen.root / name).read_text() == "x"


def test_a_directory_in_the_way_is_not_removed(kitchen: Kitchen) -> None:
    kitchen.write("motd", "hello")
    (kitchen.root / "motd/kept").mkdir(parents=True)

    with pytest.raises(CommandFailed, match="exited with status 1") as caught:
        kitchen.do(RecipeStep(work=brought(kitchen, "motd", "motd")))

    assert "directory" in str(caught.value.facts["stderr"])
    assert (kitchen.root / "motd/kept").is_dir()


@pytest.mark.parametrize("name", ["../outside", "link", "deep/passwd"])
def test_what_leads_out_of_the_app_is_refused(kitchen: Kitchen, name: str) -> None:
    (kitchen.app.parent / "outside").write_text("secret")
    (kitchen.app / "link").symlink_to("../outside")
    (kitchen.app / "deep").symlink_to("/etc")

    with pytest.raises(InvalidRequest, match="out of the app's directory"):
        kitchen.do(RecipeStep(work=brought(kitchen, name, "x")))


def test_what_is_missing_is_named(kitchen: Kitchen) -> None:
    with pytest.raises(InvalidRequest, match="`motd` is not in the commit"):
        kitchen.do(RecipeStep(work=brought(kitchen, "motd", "motd")))


SIGNS = st.sampled_from(["$", "{", "}", "$$", "${A}", "${B", "${", "é", "\n", " ", "1", "_"])


def reading(text: str) -> str:
    try:
        return filled(text, {"A": "1"}, shown="t")
    except InvalidRequest as error:
        return f"refused: {error}"


@given(st.lists(SIGNS, max_size=12).map("".join))
def test_any_text_is_filled_in_or_refused_in_words(text: str) -> None:
    found = reading(text)

    assert found.startswith("refused: `t` has ") is ("$" in re.sub(r"\$\$|\$\{A\}", "", text))


@given(text=st.text(), value=st.text())
def test_a_text_whose_dollars_are_doubled_stays_itself(text: str, value: str) -> None:
    assert filled(text.replace("$", "$$") + "${A}", {"A": value}, shown="t") == text + value


NAMES = st.text(
    st.sampled_from(string.ascii_letters + " '\"\\$`-*?[]#~!;&|<>()é\t"), min_size=1, max_size=8
)


@settings(max_examples=15, deadline=None)
@given(names=st.sets(NAMES, min_size=1, max_size=4))
def test_any_name_of_a_file_is_brought(names: set[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        kitchen = Kitchen(Path(place))
        for name in names:
            kitchen.write(f"t/{name}", name)

        kitchen.do(RecipeStep(work=brought(kitchen, "t/", "t")))

        assert {path.name for path in (kitchen.root / "t").iterdir()} == names
