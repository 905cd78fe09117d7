from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import BuildKind, BuildSpec
from ovenbird.packaging.building import builders
from tests import repositories

PYTHON = BuildSpec(kind=BuildKind.PYTHON, into="/opt/hello/venv")
NODE = BuildSpec(kind=BuildKind.NODE, into="/opt/hello")
BINARY = BuildSpec(kind=BuildKind.BINARY, into="/usr/bin/hello", command="make", target="hello")


def said(spec: BuildSpec, app: Path) -> list[str]:
    return [step.said for step in builders.steps(spec, app, checkout="/c", home="/h")]


def test_a_command_is_one_shell_line_and_none_is_no_step(tmp_path: Path) -> None:
    (step,) = builders.steps(BuildSpec(command="a && b"), tmp_path, checkout="/c", home="/h")

    assert step.argv == ("sh", "-e", "-c", "a && b")
    assert said(BuildSpec(), tmp_path) == []


@pytest.mark.parametrize(
    ("target", "command", "steps"),
    [("dist", "", ["make dist"]), ("", "", ["make"]), ("dist", "cfg", ["cfg", "make dist"])],
)
def test_make_makes_its_target(target: str, command: str, steps: list[str], tmp_path: Path) -> None:
    spec = BuildSpec(kind=BuildKind.MAKE, target=target, command=command)

    assert said(spec, tmp_path) == steps


@pytest.mark.parametrize(
    ("files", "requirements", "wanted"),
    [
        ({"setup.py": ""}, "", ["."]),
        ({"pyproject.toml": "[project]"}, "", ["."]),
        ({"pyproject.toml": "[tool.poetry]"}, "", ["."]),
        ({"r.txt": ""}, "r.txt", ["--requirement r.txt"]),
        ({"r.txt": "", "pyproject.toml": "[tool.ruff]"}, "r.txt", ["--requirement r.txt"]),
        ({"r.txt": "", "setup.py": ""}, "r.txt", ["--requirement r.txt", "--no-deps ."]),
    ],
)
def test_pip_installs_requirements_and_the_project(
    files: dict[str, str], requirements: str, wanted: list[str], tmp_path: Path
) -> None:
    spec = dataclasses.replace(PYTHON, requirements=requirements)

    found = said(spec, repositories.write(tmp_path, files))

    assert found == [
        "/usr/bin/python3 -m venv /opt/hello/venv",
        *(f"pip install {words}" for words in wanted),
        "settle /opt/hello/venv",
    ]


def test_pip_runs_in_the_environment_and_keeps_nothing(tmp_path: Path) -> None:
    repositories.write(tmp_path, {"setup.py": ""})

    prepare, pip, settle = builders.steps(PYTHON, tmp_path, checkout="/c", home="/h")

    tree = "/c/dist/opt/hello/venv"
    program = ("/usr/bin/python3", "/h/relocation.py")
    assert prepare.argv == (*program, "prepare", tree, "/opt/hello/venv", "/usr/bin/python3")
    assert pip.argv == (
        f"{tree}/bin/python3", "/h/pip.pyz", "install", "--no-compile", "--no-cache-dir",
        "--no-input", "--disable-pip-version-check", ".",
    )  # fmt: skip
    assert settle.argv == (*program, "settle", tree, "/opt/hello/venv", "/c")


@pytest.mark.parametrize(
    ("files", "command", "steps"),
    [
        ({"package-lock.json": "{}"}, "", ["npm ci --omit=dev"]),
        ({"npm-shrinkwrap.json": "{}"}, "b", ["b", "npm ci --omit=dev"]),
        ({}, "", ["npm install --omit=dev --no-package-lock"]),
    ],
)
def test_npm_installs_what_is_locked(
    files: dict[str, str], command: str, steps: list[str], tmp_path: Path
) -> None:
    repositories.write(tmp_path, {"package.json": "{}", **files})

    found = said(dataclasses.replace(NODE, command=command), tmp_path)

    assert found == [*steps, "copy the app and node_modules to dist/opt/hello"]


def test_a_program_is_put_into_its_place(tmp_path: Path) -> None:
    assert said(BINARY, tmp_path) == [
        "make",
        "install -D --mode=755 -- hello dist/usr/bin/hello",
    ]


@pytest.mark.parametrize(
    ("spec", "files", "words"),
    [
        (PYTHON, {}, "has nothing to install"),
        (PYTHON, {"pyproject.toml": "[tool.x]"}, "has nothing to install"),
        (PYTHON, {"pyproject.toml": "= broken"}, "has nothing to install"),
        (dataclasses.replace(PYTHON, requirements="no.txt"), {}, "`no.txt` is not in the checkout"),
        (dataclasses.replace(PYTHON, into=""), {"setup.py": ""}, "needs `into`"),
        (dataclasses.replace(PYTHON, into="/"), {"setup.py": ""}, "needs `into`"),
        (dataclasses.replace(NODE, into="/a/../b"), {"package.json": "{}"}, "needs `into`"),
        (NODE, {}, "needs a package.json"),
        (dataclasses.replace(BINARY, target=""), {}, "needs `target`"),
    ],
)
def test_what_a_helper_lacks_is_named(
    spec: BuildSpec, files: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        said(spec, repositories.write(tmp_path, files))


def test_the_home_holds_a_pip_that_runs_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        builders.furnish(PYTHON, tmp_path / name)

    pips = [tmp_path / name / builders.PIP for name in ("a", "b")]
    assert pips[0].read_bytes() == pips[1].read_bytes()
    assert "pip/__main__.py" in zipfile.ZipFile(pips[0]).namelist()
    done = subprocess.run(  # noqa: S603 - our own line
        [sys.executable, "-I", pips[0], "--version"], check=True, capture_output=True, text=True
    )
    assert str(pips[0]) in done.stdout


def test_other_kinds_need_nothing_in_the_home(tmp_path: Path) -> None:
    builders.furnish(NODE, tmp_path)

    assert list(tmp_path.iterdir()) == []
