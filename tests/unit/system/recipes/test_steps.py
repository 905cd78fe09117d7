from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import FromDistribution, RecipeStep, Shell
from tests.unit.system.recipes.here import Kitchen

STEP = RecipeStep(work=Shell(lines=("echo one", 'echo "$LEVEL"')), variables={"LEVEL": "high"})


def test_lines_run_in_order_with_the_variables_and_are_kept(kitchen: Kitchen) -> None:
    kitchen.do(STEP)

    assert kitchen.said == ["$ echo one", "one", '$ echo "$LEVEL"', "high"]
    kept = [line[10:] for line in kitchen.log.read_text().splitlines()]
    assert kept == kitchen.said


def test_a_line_that_fails_ends_the_step_and_names_the_log(kitchen: Kitchen) -> None:
    with pytest.raises(CommandFailed) as caught:
        kitchen.do(RecipeStep(work=Shell(lines=("echo why; exit 7", "echo never"))))

    assert str(caught.value) == "The bake failed: `echo why; exit 7` exited with status 7"
    assert caught.value.hint.endswith(f"; all of it is in `{kitchen.log}`")
    assert caught.value.facts == {"status": 7, "stderr": "why", "log": str(kitchen.log)}
    assert "never" not in kitchen.said


def test_a_step_with_a_name_is_called_by_it(kitchen: Kitchen) -> None:
    with pytest.raises(CommandFailed) as caught:
        kitchen.do(RecipeStep(work=Shell(lines=("exit 7",)), name="breaks"))

    assert str(caught.value) == "The bake failed: `exit 7` exited with status 7, in step `breaks`"


@pytest.mark.parametrize(
    ("when", "does"),
    [("", True), ("true", True), ('test "$LEVEL" = high', True), ("test -e /no/where", False)],
)
def test_when_decides(kitchen: Kitchen, when: str, does: bool) -> None:  # noqa: FBT001 - a case
    kitchen.do(replace(STEP, when=when))

    assert ("one" in kitchen.said) is does
    assert does or kitchen.said == [f"Leaving out `echo one`: `{when}` says no"]


def test_when_that_is_a_mistake_fails_the_bake(kitchen: Kitchen) -> None:
    with pytest.raises(CommandFailed, match="`when` of `hello`, `exit 3`, exited with status 3"):
        kitchen.do(replace(STEP, name="hello", when="exit 3"))

    assert kitchen.said == []


def test_the_time_is_for_all_lines_together(kitchen: Kitchen) -> None:
    step = RecipeStep(
        work=Shell(lines=("sleep 0.2", "sleep 0.2", "sleep 60")), name="slow", timeout_s=0.3
    )

    with pytest.raises(CommandFailed) as caught:
        kitchen.do(step)

    assert str(caught.value) == "The bake failed: `slow` ran past 0.3 s, in `sleep 0.2`"
    assert caught.value.facts["within_s"] == "0.3"
    assert "longer `timeout_s`" in caught.value.hint


def test_a_full_disk_is_called_by_its_name(kitchen: Kitchen) -> None:
    line = "echo 'dd: writing: No space left on device'; exit 1"

    with pytest.raises(CommandFailed) as caught:
        kitchen.do(RecipeStep(work=Shell(lines=(line,))))

    assert str(caught.value).startswith("The image's root file system is full: The bake failed: ")
    assert "a larger root" in caught.value.hint


def test_packages_are_installed_by_what_the_image_has(kitchen: Kitchen) -> None:
    kitchen.program("apt-get", 'echo "apt-get $*"')

    kitchen.do(RecipeStep(work=FromDistribution(names=("nginx", "curl=7.88"))))

    assert kitchen.said[0] == "$ apt-get install nginx curl=7.88"
    assert kitchen.said[1].endswith(" curl=7.88 nginx")
    assert "--no-install-recommends" in kitchen.said[1]
