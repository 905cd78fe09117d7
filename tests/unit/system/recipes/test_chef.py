"""Chef cannot be had here: a stand-in records what chef-solo is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import Chef, RecipeStep
from ovenbird.system.recipes import chef
from tests.unit.system.recipes.here import Kitchen

RECORDING = 'for one; do echo "> $one"; done; cp "$2" "$4" "$KEPT"; echo "license $CHEF_LICENSE"'
WORK = Chef(cookbooks="ops/books", run_list=("recipe[a::b]", "c"), attributes='{"a": {"port": 80}}')


@pytest.mark.parametrize("program", ["cinc-solo", "chef-solo"])
def test_chef_gets_cookbooks_attributes_and_run_list(kitchen: Kitchen, program: str) -> None:
    kitchen.write("ops/books/a/metadata.rb", "name 'a'")
    kitchen.program(program, RECORDING)
    variables = {"KEPT": str(kitchen.root), "CHEF_LICENSE": "accept-no-persist"}

    kitchen.do(RecipeStep(work=WORK, variables=variables))

    given = [line[2:] for line in kitchen.said if line.startswith("> ")]
    solo, attributes = Path(given[1]), Path(given[3])
    assert kitchen.said[0] == f"$ {program} recipe[a::b],c"
    assert given == [
        "--config", str(solo),
        "--json-attributes", str(attributes),
        "--no-color",
        "--no-fork",
        "--force-formatter",
        "--log_level", "warn",
    ]  # fmt: skip
    assert "license accept-no-persist" in kitchen.said
    work = str(solo.parent)
    assert (kitchen.root / "solo.rb").read_text().splitlines() == [
        f'cookbook_path ["{kitchen.app}/ops/books"]',
        f'chef_repo_path "{work}"',
        f'cache_path "{work}/cache_path"',
        f'checksum_path "{work}/checksum_path"',
        f'file_backup_path "{work}/file_backup_path"',
        f'file_cache_path "{work}/file_cache_path"',
        f'node_path "{work}/node_path"',
        'node_name "localhost"',
    ]
    assert json.loads((kitchen.root / "attributes.json").read_text()) == {
        "a": {"port": 80},
        "ovenbird": variables,
        "run_list": ["recipe[a::b]", "c"],
    }
    assert not solo.parent.exists()


def test_an_image_without_chef_is_said_to_be_one(kitchen: Kitchen) -> None:
    kitchen.write("ops/books/a/metadata.rb", "name 'a'")

    with pytest.raises(CommandFailed, match="needs chef-solo or cinc-solo in the image") as caught:
        kitchen.do(RecipeStep(work=WORK))

    assert "Install Cinc or Chef in a step before" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (
            "Error executing action `create` on resource 'file[/no/x]'",
            1,
            "exited with status 1, in `file[/no/x]`",
        ),
        ("nothing of use", 1, "exited with status 1"),
        ("Product 1 of 1", 172, "exited with status 172: no license"),
    ],
)
def test_a_failure_is_named(kitchen: Kitchen, said: str, status: int, words: str) -> None:
    kitchen.write("ops/books/a/metadata.rb", "name 'a'")
    kitchen.program("chef-solo", f'echo "    {said.replace("`", chr(92) + "`")}"; exit {status}')

    with pytest.raises(CommandFailed) as caught:
        kitchen.do(RecipeStep(work=WORK))

    assert str(caught.value).endswith(words)
    assert ("CHEF_LICENSE" in caught.value.hint) is (status in chef.UNLICENSED)
