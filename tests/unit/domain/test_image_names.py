"""Names of images: what EC2 takes, told apart, and always the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.image_names import clean, image_name, refuse_wrong

CASES = Path(__file__).parents[2] / "cases"
PACKER = json.loads((CASES / "ami_names.json").read_text())
ROSCO = json.loads((CASES / "rosco_image_names.json").read_text())
KEYS = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.mark.parametrize("case", PACKER["clean_resource_name"], ids=lambda case: case["in"])
def test_what_ec2_does_not_take_becomes_a_dash(case: dict[str, str]) -> None:
    assert clean(case["in"]) == case["out"]


@pytest.mark.parametrize("name", PACKER["valid_names"])
def test_names_that_packer_takes_are_taken(name: str) -> None:
    refuse_wrong(name)


@pytest.mark.parametrize("name", PACKER["invalid_names"])
def test_names_that_packer_refuses_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        refuse_wrong(name)


@pytest.mark.parametrize("case", ROSCO["app_version"], ids=lambda case: case["expect"])
def test_netflix_versions_are_names(case: dict[str, str]) -> None:
    name, _, version = case["deb"].partition("_")

    made = image_name(name, version, key="0123456789abcdef" * 4)

    assert made == f"{name}-{version}-0123456789ab"
    refuse_wrong(made)


@given(app=st.text(), version=st.text(), key=KEYS, release=st.text())
def test_any_app_and_version_give_a_name_that_ec2_takes(
    app: str, version: str, key: str, release: str
) -> None:
    name = image_name(app, version, key=key, fresh_for=release)

    refuse_wrong(name)
    assert name == image_name(app, version, key=key, fresh_for=release)
    assert key[:12] in name


@given(
    app=st.text(min_size=100),
    keys=st.lists(KEYS, min_size=2, max_size=2, unique_by=lambda k: k[:12]),
)
def test_long_names_are_still_told_apart(app: str, keys: list[str]) -> None:
    by_key = {image_name(app, "1.0", key=key) for key in keys}
    by_release = {image_name(app, "1.0", key=keys[0], fresh_for=f"{app}-{n}") for n in (1, 2)}

    assert len(by_key | by_release) == 4
