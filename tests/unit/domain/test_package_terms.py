"""What a package can be found by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.package_terms import Component, components_of, names_in


@pytest.mark.parametrize(
    ("relation", "names"),
    [
        ("nginx (>= 1.20)", ("nginx",)),
        ("nginx(>= 1.20)", ("nginx",)),
        ("nginx >= 1.20", ("nginx",)),
        ("nginx>=1.20", ("nginx",)),
        ("a (= 1) | b | c", ("a", "b", "c")),
        ("python3:any", ("python3",)),
        ("(a >= 1 or b)", ("a", "b")),
        ("((a or b) and libc(64bit))", ("a", "b", "libc(64bit)")),
        ("libc.so.6(GLIBC_2.4)(64bit)", ("libc.so.6(GLIBC_2.4)(64bit)",)),
        ("rpmlib(CompressedFileNames) <= 3.0.4-1", ("rpmlib(CompressedFileNames)",)),
        ("/usr/bin/python3", ("/usr/bin/python3",)),
        ("", ()),
    ],
)
def test_names_are_found_in_the_relations_of_every_format(
    relation: str, names: tuple[str, ...]
) -> None:
    assert names_in(relation) == names


@given(st.text(max_size=60))
def test_no_relation_is_too_strange(relation: str) -> None:
    assert all(names_in(relation))


@pytest.mark.parametrize(
    "sbom", ["", "no json", "[]", "null", '{"components": 3}', '{"components": [3, {"name": ""}]}']
)
def test_what_is_no_bill_of_materials_has_no_components(sbom: str) -> None:
    assert components_of(sbom) == ()


def test_components_are_named_once_with_their_group() -> None:
    sbom = (
        '{"components": [{"name": "b", "group": "g", "version": "1"}, {"name": "a"}, {"name":"a"}]}'
    )

    assert components_of(sbom) == (
        Component(name="a", version=""),
        Component(name="g/b", version="1"),
    )
