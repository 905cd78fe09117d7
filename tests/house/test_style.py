"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "ovenbird"
MODULES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "core", "misc"}


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    total = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        total -= (first.end_lineno or 0) - first.lineno + 1
    return total


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert text.count("\n") <= MAX_FILE_LINES
    assert {f.name for f in functions if own_lines(f) > MAX_FUNCTION_LINES} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_have_a_docstring_and_a_telling_name(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in VAGUE


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_packages_hold_nothing_but_a_docstring(path: Path) -> None:
    assert len(ast.parse(path.read_text()).body) == 1


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_in_the_docs_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_decisions_are_numbered_without_gaps_or_doubles() -> None:
    numbers = sorted(int(p.name[:4]) for p in (ROOT / "docs/decisions").glob("[0-9]*.md"))

    assert numbers == list(range(1, len(numbers) + 1))


def test_what_to_open_exists() -> None:
    table = (ROOT / "docs/architecture.md").read_text().split("## To change X, open Y")[1]
    files = set(re.findall(r"`([a-z]+/[a-z_]+\.py)`", table))

    assert {name for name in files if not (SOURCE / name).exists()} == set()


def test_every_error_of_the_tree_is_drawn_once() -> None:
    text = (SOURCE / "domain/errors.py").read_text()
    drawn = re.findall(r"^ *[*+-] (\w+)", ast.get_docstring(ast.parse(text)) or "", re.MULTILINE)
    defined = re.findall(r"^class (\w+)", text, re.MULTILINE)

    assert sorted(drawn) == sorted(defined)
