from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.beginnings import Started, package_name, started

PATH = {"PATH": "/bin:/usr/local/bin:/usr/bin:/bin"}


def at_bin(word: str) -> str:
    return f"/bin/{word}"


@pytest.mark.parametrize(
    ("line", "command", "environment"),
    [
        ("web --port $PORT", "/bin/web --port 80", {}),
        ("exec web -b :${PORT:-5000}", "/bin/web -b :80", {}),
        ("A=1 B='x y' web", "/bin/web", {"A": "1", "B": "x y"}),
        ("web 'two words'", "/bin/web 'two words'", {}),
        ("web --log %h", "/bin/web --log %%h", {}),
        ("a && b $HOME", "/bin/sh -c 'a && b $$HOME'", PATH),
        ("a && b %h", "/bin/sh -c 'a && b %%h'", PATH),
        ("web 'open", "/bin/sh -c 'web '\"'\"'open'", PATH),
        ("A=1", "/bin/A=1", {}),
    ],
)
def test_a_start_line_becomes_what_a_unit_takes(
    line: str, command: str, environment: dict[str, str]
) -> None:
    found = started(line, program=at_bin, port=80, directory="/opt/x")

    assert found == Started(command=command, directory="/opt/x", environment=environment)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hello_World", "hello-world"), ("@team/web.app", "web.app"), ("a", "ax"),
        ("--x--", "xx"), ("\u00fc", "app"), ("C++ tool", "c++-tool"),
    ],
)  # fmt: skip
def test_names_are_made_fit(text: str, name: str) -> None:
    assert package_name(text) == name


@given(st.text(max_size=40))
def test_any_name_is_one_that_debian_takes(text: str) -> None:
    name = package_name(text)

    assert len(name) >= 2
    assert name[0] in string.ascii_lowercase + string.digits
    assert set(name) <= set(string.ascii_lowercase + string.digits + "+.-")
