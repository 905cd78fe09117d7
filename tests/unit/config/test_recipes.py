from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.config.manifest import load_manifest
from ovenbird.config.places import Places
from ovenbird.config.recipes import check_files
from ovenbird.domain.errors import InvalidRequest, OvenbirdError
from ovenbird.domain.images import BakeStrategy, BootCheck
from ovenbird.domain.recipes import (
    Ansible,
    BroughtFile,
    Chef,
    FromDistribution,
    Puppet,
    RecipeStep,
    Shell,
)
from ovenbird.domain.sources import Source

HEAD = """\
app: hello
maintainer: Hello Team <hello@example.com>
package: {depends: [python3]}
deploy: {port: 80, dev: {capacity: {min: 1, desired: 1, max: 2}}}
image:
  base: debian-12
"""
SOURCE = Source(url="u", ref="r", commit="c" * 40, committed_at_epoch_s=1)


def load(place: Path, recipe: str) -> tuple[RecipeStep, ...]:
    (place / "ovenbird.yaml").write_text(f"{HEAD}  recipe:\n{recipe}")
    return load_manifest(place, shown="ovenbird.yaml").image.recipe


@pytest.mark.parametrize(
    ("said", "work"),
    [
        ("shell: [a b, c]", Shell(lines=("a b", "c"))),
        ("packages: [nginx, g++, a=1:2~b]", FromDistribution(names=("nginx", "g++", "a=1:2~b"))),
        ("file: {from: ./a//b, to: /etc/}", BroughtFile(source="a/b", target="/etc/b")),
        ("file: {from: a, to: /}", BroughtFile(source="a", target="/a")),
        ("file: {from: a/, to: /}", BroughtFile(source="a/", target="/")),
        (
            "file: {from: a/, to: /etc/, owner: x, group: y, mode: '0640', template: true}",
            BroughtFile(
                source="a/", target="/etc", owner="x", group="y", mode="0640", is_template=True
            ),
        ),
        ("ansible: ops/site.yml", Ansible(playbook="ops/site.yml")),
        (
            "ansible: {playbook: site.yml, tags: [web, db]}",
            Ansible(playbook="site.yml", tags=("web", "db")),
        ),
        ("puppet: site.pp", Puppet(manifest="site.pp")),
        (
            "puppet: {manifest: site.pp, modules: ops/modules/}",
            Puppet(manifest="site.pp", modules="ops/modules"),
        ),
        (
            "chef: {cookbooks: books/, run_list: ['recipe[a::b]', c], attributes: {b: [1], a: x}}",
            Chef(
                cookbooks="books",
                run_list=("recipe[a::b]", "c"),
                attributes='{"a": "x", "b": [1]}',
            ),
        ),
    ],
)
def test_each_work_is_read(tmp_path: Path, said: str, work: object) -> None:
    assert load(tmp_path, f"    - {said}\n") == (RecipeStep(work=work),)  # type: ignore[arg-type]


def test_what_goes_for_every_step_is_read(tmp_path: Path) -> None:
    steps = load(
        tmp_path,
        "    - shell: [a]\n      name: first\n      when: test -e /x\n      timeout_s: 5\n"
        '      variables: {A: "1"}\n    - shell: [b]\n',
    )

    assert steps == (
        RecipeStep(
            work=Shell(lines=("a",)),
            name="first",
            when="test -e /x",
            timeout_s=5.0,
            variables={"A": "1"},
        ),
        RecipeStep(work=Shell(lines=("b",))),
    )


def test_how_an_image_is_made_and_looked_at_is_read(tmp_path: Path) -> None:
    (tmp_path / "ovenbird.yaml").write_text(f"{HEAD}  strategy: instance\n  boot_check: always\n")
    image = load_manifest(tmp_path).image

    assert (image.strategy, image.boot_check) == (BakeStrategy.INSTANCE, BootCheck.ALWAYS)
    (tmp_path / "ovenbird.yaml").write_text(HEAD)
    image = load_manifest(tmp_path).image
    assert (image.strategy, image.boot_check) == (BakeStrategy.AUTO, BootCheck.FIRST)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("shel: [a]", "`image.recipe[0].shel`: unknown key; did you mean `shell`?"),
        ("name: x", "`image.recipe[0]`: says nothing to do; known here: `shell`, `file`"),
        ("{shell: [a], puppet: x.pp}", "has `shell` and `puppet`: a step has one work"),
        ("shell: []", "should have at least 1 item"),
        ("shell: a", "`image.recipe[0].shell`: "),
        ("file: {from: ../a, to: /a}", "must stay inside of the app's directory, not `../a`"),
        ("file: {from: /a, to: /a}", "must stay inside of the app's directory, not `/a`"),
        ("file: {from: '', to: /a}", "must stay inside of the app's directory"),
        ("file: {from: a, to: b}", "is not an absolute path"),
        ("file: {from: a, to: /b/../c}", "must not hold `..`"),
        ("file: {from: a, to: /a, mode: 0644}", "needs quotes, as '0644'"),
        ("file: {form: a, to: /a}", "unknown key; did you mean `from`?"),
        ("packages: [nginx-]", "`nginx-` is not the name of a package"),
        ("packages: [--yes]", "is not the name of a package"),
        ("ansible: {playbok: a}", "did you mean `playbook`?"),
        ("ansible: {playbook: a, tags: ['a,b']}", "is not a tag"),
        ("ansible: a/../../b", "must stay inside of the app's directory"),
        ("puppet: {manifest: a, modules: /etc}", "must stay inside of the app's directory"),
        ("chef: {cookbooks: a, run_list: []}", "should have at least 1 item"),
        ("chef: {cookbooks: a, run_list: ['x y']}", "is not an item of a run list"),
        ("chef: {cookbooks: a, run_list: [x], attributes: {run_list: []}}", "its own"),
        ("chef: {cookbooks: a, run_list: [x], attributes: {a: .nan}}", "JSON does not know"),
        ("{shell: [a], timeout_s: 0}", "greater than 0"),
        ("{shell: [a], timeout_s: .inf}", "less than or equal to 86400"),
        ("{shell: [a], variables: {A: 1}}", "must be text: put `1` in quotes"),
        ("{shell: [a], variables: {A-B: x}}", "is not a variable's name"),
        ('{shell: [a], variables: {A: "\\0"}}', "must not hold a NUL"),
        ("{shell: [a], when: ''}", ""),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, said: str, words: str) -> None:
    if not words:
        assert load(tmp_path, f"    - {said}\n")[0].when == ""
        return
    with pytest.raises(InvalidRequest) as caught:
        load(tmp_path, f"    - {said}\n")

    assert "ovenbird.yaml:8: " in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("file: {from: a, to: /a}", "`image.recipe[0].file`: `a` is not in the commit"),
        ("file: {from: conf, to: /a}", "`conf` is a directory; for a tree, end it with `/`"),
        ("file: {from: motd/, to: /a}", "`motd/` is not a directory"),
        ("file: {from: out, to: /a}", "`out` leads out of the app's directory"),
        ("file: {from: conf/, to: /a, template: true}", "`conf/t` has `${WHO}` in line 2, which"),
        ("file: {from: blob, to: /a, template: true}", "`blob` is a template and not text"),
        ("ansible: conf", "`image.recipe[0].ansible`: `conf` is a directory"),
        ("puppet: {manifest: motd, modules: motd}", "`image.recipe[0].puppet.modules`: `motd` is"),
        ("puppet: x.pp", "`image.recipe[0].puppet`: `x.pp` is not in the commit"),
        ("chef: {cookbooks: x, run_list: [a]}", "`image.recipe[0].chef.cookbooks`: `x` is not in"),
    ],
)
def test_files_that_a_recipe_needs_are_looked_at(tmp_path: Path, said: str, words: str) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/t").write_text("a\n${WHO}\n")
    (tmp_path / "motd").write_text("hello")
    (tmp_path / "blob").write_bytes(b"\xff\xfe")
    (tmp_path / "out").symlink_to("/etc/hostname")
    steps = load(tmp_path, f"    - {said}\n")

    with pytest.raises(InvalidRequest) as caught, Places(SOURCE, tmp_path).named():
        check_files(steps, tmp_path)

    assert str(caught.value).startswith("ovenbird.yaml:8: `image.recipe[0]")
    assert words in str(caught.value)
    about = "leave out `template`" if "template: true" in said else "Commit it"
    assert about in caught.value.hint


def test_a_recipe_whose_files_are_there_passes(tmp_path: Path) -> None:
    for name in ("ops/modules/a", "conf"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("ops/site.pp", "ops/site.yml", "conf/a", "t"):
        (tmp_path / name).write_text("$$ ${A}")
    steps = load(
        tmp_path,
        "    - {file: {from: conf/, to: /a}}\n    - puppet: {manifest: ops, modules: ops/modules}\n"
        "    - {file: {from: t, to: /t, template: true}, variables: {A: x}}\n"
        "    - ansible: ops/site.yml\n    - shell: [a]\n",
    )

    check_files(steps, tmp_path)
    assert [step.sources for step in steps] == [
        ("conf/",), ("ops", "ops/modules"), ("t",), ("ops/",), (),
    ]  # fmt: skip


WORDS = st.sampled_from(
    ["shell", "file", "packages", "ansible", "chef", "puppet", "name", "when", "timeout_s",
     "variables", "from", "to", "playbook", "tags", "cookbooks", "run_list", "attributes",
     "manifest", "modules", "template", "mode", "x"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=9)
    | st.sampled_from(["/etc/a", "ops/site.yml", "../x", "0644", "recipe[a]", "nginx"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.dictionaries(WORDS, VALUES, max_size=4), max_size=3))
def test_any_recipe_is_understood_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, Any]]
) -> None:
    place = tmp_path_factory.getbasetemp()
    try:
        found = load(place, "".join(f"    - {json.dumps(step)}\n" for step in steps))
        check_files(found, place)
    except OvenbirdError as error:
        refused = str(error)
        assert "image.recipe[" in refused or "ovenbird.yaml" in refused
        return
    for step in found:
        assert all(not Path(name).is_absolute() and ".." not in name for name in step.sources)
