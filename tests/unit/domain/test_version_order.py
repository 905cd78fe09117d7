"""The order of versions against the tables of dpkg's, apt's and rpm's own tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.version_order import compare_deb, rpmvercmp, split_debian
from ovenbird.system.commands import run

CASES = Path(__file__).parents[2] / "cases"
DEB: dict[str, Any] = json.loads((CASES / "deb_versions.json").read_text())
RPM: dict[str, Any] = json.loads((CASES / "rpmvercmp.json").read_text())
TEXTS = st.from_regex(r"[0-9][a-z0-9.+~]{0,6}(-[a-z0-9.+~]{1,3})?", fullmatch=True)


def test_dpkgs_table() -> None:
    wrong = [c for c in DEB["compare"] if compare_deb(c["a"], c["b"]) != c["expect"]]

    assert wrong == []
    assert len(DEB["compare"]) > 100


def test_other_peoples_tables_as_dpkg_sees_them() -> None:
    wrong = [c for c in DEB["less_than"] if (compare_deb(c["a"], c["b"]) < 0) != c["less_than"]]

    assert wrong == []


@pytest.mark.parametrize("text", DEB["parse_ok"])
def test_what_dpkg_takes_is_taken(text: str) -> None:
    assert split_debian(text)


@pytest.mark.parametrize("text", DEB["parse_must_fail"])
def test_what_dpkg_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        split_debian(text)


def test_rpms_table() -> None:
    wrong = [c for c in RPM["cases"] if rpmvercmp(c["a"], c["b"]) != c["expect"]]

    assert wrong == []
    assert len(RPM["cases"]) > 80


@given(TEXTS, TEXTS, TEXTS)
def test_the_order_is_one(a: str, b: str, c: str) -> None:
    assert compare_deb(a, b) == -compare_deb(b, a)
    if compare_deb(a, b) <= 0 and compare_deb(b, c) <= 0:
        assert compare_deb(a, c) <= 0


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=40, max_size=40))
def test_dpkg_agrees_on_what_nobody_thought_of(pairs: list[tuple[str, str]]) -> None:
    lines = "\n".join(f"{a} {b}" for a, b in pairs)
    script = (
        'while read -r a b; do if dpkg --compare-versions "$a" lt "$b"; then echo -1;'
        ' elif dpkg --compare-versions "$a" eq "$b"; then echo 0; else echo 1; fi; done'
    )

    said = run(["sh", "-c", script], stdin=f"{lines}\n", timeout_s=60).split()

    assert [compare_deb(a, b) for a, b in pairs] == [int(word) for word in said]
