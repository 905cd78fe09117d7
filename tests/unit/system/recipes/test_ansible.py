from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import Ansible, RecipeStep
from ovenbird.system.recipes import ansible, tools
from tests.unit.system.recipes.here import Kitchen

SAID = """\
PLAY [all] ***********
TASK [well] ****
ok: [localhost]
TASK [web : not [so] well] *****************************************
[ERROR]: Task failed: Module failed: no
Origin: /run/ovenbird/lent-6/ops/site.yml:2:10
fatal: [localhost]: FAILED! => {"changed": true}
...ignoring
RUNNING HANDLER [reload] ***
fatal: [localhost]: FAILED! => {"changed": true}
PLAY RECAP ***
localhost : ok=2 changed=0 unreachable=0 failed=1
""".splitlines()


@pytest.mark.parametrize(
    ("lines", "task"),
    [
        (SAID, "reload"),
        (SAID[:7], "web : not [so] well"),
        (SAID[:5], ""),
        (["TASK [each] **", 'failed: [localhost] (item=a) => {"rc": 1}'], "each"),
        ([], ""),
    ],
)
def test_the_task_that_failed_is_found(lines: list[str], task: str) -> None:
    assert ansible.failed_task(lines) == task


def test_options_are_those_of_one_local_host() -> None:
    assert ansible.options(Ansible(playbook="x", tags=("a", "b")), variables="/v") == [
        "--inventory", "localhost,",
        "--connection", "local",
        "--extra-vars", "@/v",
        "--tags", "a,b",
    ]  # fmt: skip
    assert "--tags" not in ansible.options(Ansible(playbook="x"), variables="/v")


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("- apt: {name: a}", True),
        ("- ansible.builtin.apt:\n    name: a", True),
        ("- ansible.builtin.package: {name: a}", True),
        ("- apt_repository: {repo: a}", True),
        ("- copy: {src: apt, dest: /a}", False),
    ],
)
def test_playbooks_that_use_apt_are_known(tmp_path: Path, *, text: str, uses: bool) -> None:
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles/main.yml").write_text(text)

    assert ansible.uses_apt(tmp_path) is uses


def test_the_lent_tree_is_pure_and_made_once(tmp_path: Path) -> None:
    tree = tools.ansible(tmp_path)

    assert {"ansible", "jinja2", "markupsafe", "packaging", "resolvelib", "yaml"} <= {
        path.name for path in tree.iterdir()
    }
    assert list(tree.rglob("*.so")) == []
    assert not (tree / "ansible_test").exists()
    mark = tree / "mark"
    mark.touch()
    assert tools.ansible(tmp_path) == tree
    assert mark.exists()


def test_a_half_made_tree_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "x.begun").mkdir()
    (tmp_path / "x.begun/half").touch()

    place = tools.ensured(tmp_path / "x", lambda place: (place / "whole").touch())

    assert [path.name for path in place.iterdir()] == ["whole"]


@pytest.mark.parametrize(
    ("pythons", "words"), [({"python3": "exit 1"}, "it has an older one"), ({}, "it has none")]
)
def test_an_image_without_a_python_that_fits_is_said_to_be_one(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch, pythons: dict[str, str], words: str
) -> None:
    kitchen.write("ops/site.yml", "- hosts: all\n")
    for name in ("sh", "env"):
        (kitchen.programs / name).symlink_to(f"/bin/{name}")
    for name, text in pythons.items():
        kitchen.program(name, f'[ "$1" = --version ] && echo Python 3.9.2 || {text}')
    monkeypatch.setenv("PATH", str(kitchen.programs))

    with pytest.raises(CommandFailed, match=r"needs Python 3\.11 in the image, and ") as caught:
        kitchen.do(RecipeStep(work=Ansible(playbook="ops/site.yml")))

    assert words in str(caught.value)
    assert "packages: [python3.11]" in caught.value.hint


def test_variables_reach_the_playbook_as_json(kitchen: Kitchen) -> None:
    kitchen.write("ops/site.yml", "- hosts: all\n")
    kitchen.program(
        "python3",
        "case $2 in *version_info*) exit 0;; esac; "
        'for one; do case $one in @*) cat "${one#@}";; esac; done; echo; '
        'echo "localhost : ok=1"; pwd; echo $ANSIBLE_HOME',
    )

    kitchen.do(RecipeStep(work=Ansible(playbook="ops/site.yml"), variables={"A": "x y"}))

    assert json.loads(kitchen.said[1]) == {"A": "x y"}
    assert kitchen.said[3] == str(kitchen.app / "ops")
    assert not Path(kitchen.said[4]).exists()
